//! The basic chat: a consumer on a room's URL that joins its group, sends to it, and leaves it.

use channel_layer::{ChannelLayerExt, Message};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ws_consumer::{Consumer, Frame, Result, Router, Socket, consumer, testing::TestApp};

/// Handles `xx.oo` and `xx_oo` in the same way, in the group that the URL names.
#[derive(Default)]
struct Classic {
    group: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum ClassicEvent {
    #[serde(rename = "xx.oo")]
    XxOo { message: Value },
}

impl Consumer for Classic {
    type Event = ClassicEvent;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.group = socket.scope().param("group")?.to_owned();
        socket.group_add(&self.group).await?;
        socket.accept().await
    }
    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        match frame.text()? {
            "leave" => socket.group_discard(&self.group).await,
            text => {
                let message = json!(text);
                socket.group_send(&self.group, &json!({ "type": "xx.oo", "message": message })).await
            }
        }
    }
    async fn event(&mut self, socket: &mut Socket, event: &ClassicEvent) -> Result<()> {
        let ClassicEvent::XxOo { message } = event;
        socket.send_json(message).await
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_group_hears() {
    let app = TestApp::new(Router::new().re_path(r"room/(?P<group>\w+)/$", consumer(Classic::default)));
    let (mut ann, mut bob, mut eve) =
        (app.websocket("/room/a/"), app.websocket("/room/a/"), app.websocket("/ws/room/b/"));
    for client in [&mut ann, &mut bob, &mut eve] {
        client.connect().await.unwrap();
    }
    let mut group = app.broadcasts("a").await;
    ann.send_to("hello").await;
    group.assert_broadcast(&json!({ "type": "xx.oo", "message": "hello" })).await;
    for member in [&mut ann, &mut bob] {
        member.assert_sent(json!("hello")).await;
    }
    eve.refute_sent(json!("hello")).await;

    // In Python's spelling.
    let underscored = Message::new("xx_oo").with("message", "again");
    assert_eq!(app.layer().group_send_message("a", underscored).await.unwrap().local.delivered, 3);
    bob.assert_sent(json!("again")).await;

    bob.send_to("leave").await;
    bob.refute_sent(json!("x")).await;
    ann.send_to("without bob").await;
    ann.assert_sent(json!("without bob")).await;
    bob.refute_sent(json!("without bob")).await;
}
