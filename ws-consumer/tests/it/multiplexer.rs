//! Several subscriptions on one socket.

use std::{sync::Arc, time::Duration};

use channel_layer::{ChannelLayerExt, MemoryLayer, Message};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ws_consumer::{
    Close, Consumer, Frame, Multiplexer, Result, Router, Socket,
    testing::{TestApp, WebsocketCommunicator},
};

#[derive(Default)]
struct Room {
    group: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum RoomEvent {
    #[serde(rename = "said")]
    Said { text: String },
}

impl Consumer for Room {
    type Event = RoomEvent;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.group = format!("room_{}", socket.scope().param("room")?);
        socket.group_add(&self.group).await?;
        match self.group.as_str() {
            "room_hang" => std::future::pending().await,
            "room_secret" => socket.refuse(http::StatusCode::UNAUTHORIZED).await,
            _ => socket.accept().await,
        }
    }
    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        match frame.json::<Value>()? {
            Value::String(text) if text == "close" => socket.close(Close::new(4001, "enough")).await,
            Value::String(text) => socket.group_send(&self.group, &RoomEvent::Said { text }).await,
            _ => socket.answer(&frame, Duration::from_secs(5), |n: u32| async move { Ok(n * 2) }).await,
        }
    }
    async fn event(&mut self, socket: &mut Socket, event: &RoomEvent) -> Result<()> {
        let RoomEvent::Said { text } = event;
        socket.send_json(text).await
    }
}

fn app() -> (TestApp, Arc<MemoryLayer>) {
    let layer = Arc::new(MemoryLayer::default());
    let topics = Router::new().consumer("/rooms/{room}/", Room::default);
    (TestApp::with_layer(Router::new().application("/ws", Multiplexer::new(topics)), layer.clone()), layer)
}

async fn connected(app: &TestApp) -> WebsocketCommunicator {
    let mut client = app.websocket("/ws").with_patience(Duration::from_secs(60));
    client.connect().await.expect("accepted");
    client
}

async fn say(client: &mut WebsocketCommunicator, request: Value, answer: Value) {
    client.send_json_to(&request).await;
    assert_eq!(client.receive_json_from::<Value>().await, answer);
}

async fn join(client: &mut WebsocketCommunicator, topic: &str) {
    let joined = json!({ "op": "joined", "topic": topic, "ref": 1 });
    say(client, json!({ "op": "join", "topic": topic, "ref": 1 }), joined).await;
}

#[tokio::test(start_paused = true)]
async fn one_socket_has_several_rooms() {
    let (app, layer) = app();
    let mut client = connected(&app).await;
    join(&mut client, "/rooms/a/").await;
    join(&mut client, "/rooms/b/").await;
    for room in ["a", "b"] {
        let topic = format!("/rooms/{room}/");
        let heard = json!({ "op": "message", "topic": topic, "payload": "hello" });
        say(&mut client, json!({ "op": "send", "topic": topic, "payload": "hello" }), heard).await;
    }
    let left = json!({ "op": "left", "topic": "/rooms/a/", "ref": "x", "code": 1000, "reason": "" });
    say(&mut client, json!({ "op": "leave", "topic": "/rooms/a/", "ref": "x" }), left).await;
    assert_eq!(layer.hub().group_count(), 1);
    let ready = layer.group_send_text("room_b", "[1]").await.unwrap();
    assert_eq!(ready.local.delivered, 1);
    client.assert_sent(json!({ "op": "message", "topic": "/rooms/b/", "payload": [1] })).await;
    client.disconnect().await;
    assert_eq!((layer.hub().group_count(), layer.hub().mailbox_count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn topic_requests_have_replies() {
    let (app, _) = app();
    let mut client = connected(&app).await;
    join(&mut client, "/rooms/a/").await;
    let payload = json!({ "ref": 7, "request": 21 });
    let reply = json!({ "op": "message", "topic": "/rooms/a/", "payload": { "ref": 7, "reply": 42 } });
    say(&mut client, json!({ "op": "send", "topic": "/rooms/a/", "payload": payload }), reply).await;
}

#[tokio::test(start_paused = true)]
async fn errors_carry_the_ref() {
    let (app, layer) = app();
    let mut client = connected(&app).await;
    for (topic, status) in [
        ("/nope", 404),
        ("/rooms/no spaces/", 400),
        ("/rooms/no%20spaces/", 400),
        ("rooms", 400),
        ("/rooms/secret/", 401),
        ("/rooms/hang/", 503),
    ] {
        let refused = json!({ "op": "refused", "topic": topic, "ref": 5, "status": status });
        say(&mut client, json!({ "op": "join", "topic": topic, "ref": 5 }), refused).await;
    }
    assert_eq!(layer.hub().group_count(), 0);
    join(&mut client, "/rooms/a/").await;
    for (op, topic, error) in [
        ("join", "/rooms/a/", "joined already"),
        ("send", "/rooms/b/", "not joined"),
        ("leave", "x", "not joined"),
    ] {
        let told = json!({ "op": "error", "topic": topic, "ref": 6, "error": error });
        say(&mut client, json!({ "op": op, "topic": topic, "ref": 6 }), told).await;
    }
    client.send_to("nonsense").await;
    let told: Value = client.receive_json_from().await;
    assert_eq!(told["op"], "error");
}

#[tokio::test(start_paused = true)]
async fn closing_one_topic_keeps_others() {
    let (app, _) = app();
    let mut client = connected(&app).await;
    join(&mut client, "/rooms/a/").await;
    join(&mut client, "/rooms/b/").await;
    let left = json!({ "op": "left", "topic": "/rooms/a/", "ref": null, "code": 4001, "reason": "enough" });
    say(&mut client, json!({ "op": "send", "topic": "/rooms/a/", "payload": "close" }), left).await;
    let heard = json!({ "op": "message", "topic": "/rooms/b/", "payload": "still here" });
    say(&mut client, json!({ "op": "send", "topic": "/rooms/b/", "payload": "still here" }), heard).await;
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_bounded() {
    let (app, _) = app();
    let mut client = connected(&app).await;
    for n in 0..100 {
        join(&mut client, &format!("/rooms/{n}/")).await;
    }
    let told = json!({ "op": "error", "topic": "/rooms/100/", "ref": 1, "error": "too many subscriptions" });
    say(&mut client, json!({ "op": "join", "topic": "/rooms/100/", "ref": 1 }), told).await;
    let _report =
        app.layer().group_send_message("room_7", Message::new("said").with("text", "x")).await.unwrap();
    client.assert_sent(json!({ "op": "message", "topic": "/rooms/7/", "payload": "x" })).await;
}
