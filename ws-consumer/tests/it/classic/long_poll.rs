//! The documentation's `LongPollConsumer`: a request that is answered by the next message. (The original cannot work: its consumer
//! ends before the message.)

use channel_layer::ChannelLayerExt;
use serde_json::{Value, json};
use ws_consumer::{Exchange, Input, Result, exchange, testing::TestApp};

async fn next_message(mut exchange: Exchange) -> Result<()> {
    exchange.group_add("chat").await?;
    exchange.body(0).await?;
    let Some(Input::Event(event)) = exchange.next().await? else { return Ok(()) };
    exchange.respond_json(event.map()).await
}

#[tokio::test(start_paused = true)]
async fn the_next_message_answers() {
    let app = TestApp::new(exchange(next_message));
    let mut poll = app.http("GET", "/");
    poll.send_request().await;
    poll.refute_any_sent().await;
    let event = json!({ "type": "chat.message", "text": "hello" });
    assert_eq!(app.layer().group_send_event("chat", &event).await.unwrap().local.delivered, 1);
    let response = poll.get_response().await;
    assert_eq!(serde_json::from_slice::<Value>(response.body()).unwrap(), event);
}
