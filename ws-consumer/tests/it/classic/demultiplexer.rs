//! Several consumers on one WebSocket, as `channelsmultiplexer` has them by name.

use serde_json::json;
use ws_consumer::{
    Application, Consumer, Frame, Multiplexer, NoEvents, Result, Router, Socket, testing::TestApp,
};

fn routing() -> impl Application {
    Multiplexer::new(Router::new().consumer("/echo", || Echo).consumer("/other", || Other))
}

#[tokio::test(start_paused = true)]
async fn topics_have_their_consumers() {
    let mut client = TestApp::new(routing()).websocket("/");
    client.connect().await.unwrap();
    for (topic, answer) in [("/echo", json!("hello")), ("/other", json!({ "other": true }))] {
        client.send_json_to(&json!({ "op": "join", "topic": topic, "ref": 1 })).await;
        client.assert_sent(json!({ "op": "joined", "topic": topic, "ref": 1 })).await;
        client.send_json_to(&json!({ "op": "send", "topic": topic, "payload": "hello" })).await;
        client.assert_sent(json!({ "op": "message", "topic": topic, "payload": answer })).await;
    }
    client.send_json_to(&json!({ "op": "join", "topic": "/none", "ref": 2 })).await;
    client.assert_sent(json!({ "op": "refused", "topic": "/none", "ref": 2, "status": 404 })).await;
}

struct Echo;

impl Consumer for Echo {
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        socket.send(frame).await
    }
}

struct Other;

impl Consumer for Other {
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut Socket, _: Frame) -> Result<()> {
        socket.send_json(&json!({ "other": true })).await
    }
}
