//! The chat itself.

use serde::{Deserialize, Serialize};
use ws_consumer::{Consumer, Frame, NoEvents, Result, Socket};

/// One member of a room. Messages travel as events through the members' consumers.
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

/// What clients send and receive.
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
        socket.group_send(&self.group, &ChatEvent::Message { message }).await
    }

    async fn event(&mut self, socket: &mut Socket, event: &ChatEvent) -> Result<()> {
        let ChatEvent::Message { message } = event;
        socket.send_json(&Said { message }).await
    }
}

/// The same, with messages that go to the members' sockets as ready bytes: for rooms where every member is sent the
/// same, and a consumer would have nothing to add.
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
        socket.group_send_json(&self.group, &said).await
    }
}
