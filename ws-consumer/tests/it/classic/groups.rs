//! A consumer of one group, as the documentation's page on channel layers has it.

use channel_layer::ChannelLayerExt;
use serde_json::{Value, json};
use ws_consumer::{Consumer, Frame, Result, Socket, consumer, testing::TestApp};

struct Chat;

impl Consumer for Chat {
    type Event = Value;
    const GROUPS: &'static [&'static str] = &["chat"];

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        socket.group_send("chat", &json!({ "type": "chat.message", "text": frame.text()? })).await
    }

    async fn event(&mut self, socket: &mut Socket, event: &Value) -> Result<()> {
        socket.send_text(event["text"].as_str().unwrap_or_default()).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_reached_from_anywhere() {
    let app = TestApp::new(consumer(|| Chat));
    let (mut ann, mut bob) = (app.websocket("/"), app.websocket("/"));
    ann.connect().await.unwrap();
    bob.connect().await.unwrap();
    ann.send_to("hello").await;
    ann.assert_sent("hello").await;
    bob.assert_sent("hello").await;
    let event = json!({ "type": "chat.system_message", "text": "from a view" });
    let report = app.layer().group_send_event("chat", &event).await.unwrap();
    assert_eq!(report.local.delivered, 2);
    bob.assert_sent("from a view").await;
}
