//! The tutorial's first consumer: it sends a message back.

use serde_json::{Value, json};
use ws_consumer::{Consumer, Frame, NoEvents, Result, Socket, consumer, testing::TestApp};

struct Chat;

impl Consumer for Chat {
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let message = &frame.json::<Value>()?["message"];
        socket.send_json(&json!({ "message": message })).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_comes_back() {
    let mut client = TestApp::new(consumer(|| Chat)).websocket("/ws/chat/lobby/");
    client.connect().await.unwrap();
    client.send_json_to(&json!({ "message": "hello", "more": 1 })).await;
    client.assert_sent(json!({ "message": "hello" })).await;
    client.send_to("no JSON").await;
    assert!(client.receive_json_from::<Value>().await["error"].is_string());
}
