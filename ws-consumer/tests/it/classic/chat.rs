//! The tutorial's chat: a message goes to all clients of its room. Hooks are asynchronous, so there is one form of it.

use serde_json::{Value, json};
use ws_consumer::{Consumer, Frame, Result, Router, Socket, testing::TestApp};

#[derive(Default)]
struct Chat(String);

impl Consumer for Chat {
    type Event = Value;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.0 = format!("chat_{}", socket.scope().param("room_name")?);
        socket.group_add(&self.0).await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let message = &frame.json::<Value>()?["message"];
        socket.group_send(&self.0, &json!({ "type": "chat.message", "message": message })).await
    }

    async fn event(&mut self, socket: &mut Socket, event: &Value) -> Result<()> {
        socket.send_json(&json!({ "message": event["message"] })).await
    }
}

#[tokio::test(start_paused = true)]
async fn messages_stay_in_their_room() {
    let app = TestApp::new(
        Router::new().re_path(r"ws/chat/(?P<room_name>\w+)/$", ws_consumer::consumer(Chat::default)),
    );
    let [mut ann, mut bob, mut eve] =
        ["lobby", "lobby", "attic"].map(|room| app.websocket(&format!("/ws/chat/{room}/")));
    for client in [&mut ann, &mut bob, &mut eve] {
        client.connect().await.unwrap();
    }
    let mut room = app.broadcasts("chat_lobby").await;
    ann.send_json_to(&json!({ "message": "hello" })).await;
    room.assert_broadcast(&json!({ "type": "chat.message", "message": "hello" })).await;
    ann.assert_sent(json!({ "message": "hello" })).await;
    bob.assert_sent(json!({ "message": "hello" })).await;
    eve.refute_any_sent().await;

    bob.disconnect().await;
    ann.send_json_to(&json!({ "message": "bob?" })).await;
    ann.assert_sent(json!({ "message": "bob?" })).await;
    eve.refute_any_sent().await;
}
