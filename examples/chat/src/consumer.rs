//! The chat.

use std::time::Duration;

use channel_layer::LayerEvent;
use serde::{Deserialize, Serialize};
use ws_consumer::{Consumer, Frame, NoEvents, Result, Socket};

/// A member of a room. Messages travel as events through the members' consumers.
#[derive(Default)]
pub(crate) struct Chat {
    group: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum ChatEvent {
    #[serde(rename = "chat.message")]
    Message { message: String },
}

/// A frame from or to a client.
#[derive(Serialize, Deserialize)]
struct Said<T> {
    message: T,
}

impl Consumer for Chat {
    type Event = ChatEvent;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.group = format!("chat_{}", socket.scope().param("room")?);
        socket.group_add(&self.group).await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let Said { message } = frame.json()?;
        // Not awaited: if the layer gives no answer, the sender gets an error later.
        socket.group_send_pipelined(&self.group, &ChatEvent::Message { message }).await
    }

    async fn event(&mut self, socket: &mut Socket, event: &ChatEvent) -> Result<()> {
        let ChatEvent::Message { message } = event;
        socket.send_json(&Said { message }).await
    }

    async fn layer_event(&mut self, socket: &mut Socket, event: LayerEvent) -> Result<()> {
        warn(socket, event).await
    }
}

/// A notice that messages of others may have been missed.
#[derive(Serialize)]
struct Warning {
    notice: String,
}

async fn warn(socket: &mut Socket, event: LayerEvent) -> Result<()> {
    let notice = match event {
        LayerEvent::Reconnected { gap } => {
            let seconds = gap.max(Duration::from_secs(1)).as_secs();
            format!("Messages of the last {seconds} s may have been missed.")
        }
        LayerEvent::Lost { .. } => "Messages may have been missed.".to_owned(),
        _ => return Ok(()),
    };
    socket.send_json(&Warning { notice }).await
}

/// A member whose messages go to the members' connections as encoded frames: for rooms where every member receives the
/// same frame, so that no consumer has to handle it.
#[derive(Default)]
pub(crate) struct FrameChat {
    group: String,
}

impl Consumer for FrameChat {
    type Event = NoEvents;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.group = format!("chat_{}", socket.scope().param("room")?);
        socket.group_add(&self.group).await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let said: Said<String> = frame.json()?;
        socket.group_send_json_pipelined(&self.group, &said).await
    }

    async fn layer_event(&mut self, socket: &mut Socket, event: LayerEvent) -> Result<()> {
        warn(socket, event).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use ws_consumer::{Router, testing::TestApp};

    use super::*;

    async fn hear_each_other(app: TestApp) {
        let mut ann = app.websocket("/ws/chat/lobby/");
        let mut bob = app.websocket("/ws/chat/lobby/");
        let mut eve = app.websocket("/ws/chat/attic/");
        for member in [&mut ann, &mut bob, &mut eve] {
            member.connect().await.unwrap();
        }
        ann.send_json_to(&json!({ "message": "hello" })).await;
        ann.assert_sent(json!({ "message": "hello" })).await;
        bob.assert_sent(json!({ "message": "hello" })).await;
        eve.refute_sent(json!({ "message": "hello" })).await;
    }

    #[tokio::test(start_paused = true)]
    async fn messages_stay_in_their_room() {
        hear_each_other(TestApp::new(Router::new().consumer("/ws/chat/{room}/", Chat::default))).await;
    }

    #[tokio::test(start_paused = true)]
    async fn so_they_do_past_their_consumers() {
        hear_each_other(TestApp::new(Router::new().consumer("/ws/chat/{room}/", FrameChat::default))).await;
    }
}
