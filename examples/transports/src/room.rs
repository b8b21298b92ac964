//! The room. It does not depend on its members' transports; it asks for their names only to show them.

use serde::{Deserialize, Serialize};
use ws_consumer::{Close, Consumer, Error, Frame, Result, Resumed, Socket, Transport};

use crate::counts::{Counts, Seat};

const GROUP: &str = "room";
const LONGEST_TEXT: usize = 1000;
const LONGEST_PAGE: usize = 64;

/// A member.
pub(crate) struct Room {
    counts: Counts,
    seat: Option<Seat>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum RoomEvent {
    #[serde(rename = "room.said")]
    Said { from: String, words: Words },
}

/// A frame from a page.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Words {
    text: String,
    /// The sending page and its clock, from which that page computes the round-trip time.
    page: String,
    at: f64,
}

/// An event to all members.
#[derive(Serialize)]
struct Said<'a> {
    from: &'a str,
    #[serde(flatten)]
    words: &'a Words,
}

impl Room {
    pub(crate) fn new(counts: Counts) -> Self {
        Self { counts, seat: None }
    }

    fn sit(&mut self, transport: Transport) {
        self.seat = None;
        self.seat = Some(self.counts.enter(transport));
    }
}

impl Consumer for Room {
    type Event = RoomEvent;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.sit(socket.scope().transport);
        socket.group_add(GROUP).await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let words: Words = frame.json()?;
        if words.text.len() > LONGEST_TEXT || words.page.len() > LONGEST_PAGE {
            return Err(Error::bad_input(format!("a text has at most {LONGEST_TEXT} bytes")));
        }
        let transport = self.seat.as_ref().map_or(Transport::WebSocket, Seat::transport);
        let from = transport.name().to_owned();
        socket.group_send(GROUP, &RoomEvent::Said { from, words }).await
    }

    async fn event(&mut self, socket: &mut Socket, event: &RoomEvent) -> Result<()> {
        let RoomEvent::Said { from, words } = event;
        socket.send_json(&Said { from, words }).await
    }

    async fn resumed(&mut self, _: &mut Socket, resumed: Resumed) -> Result<()> {
        self.sit(resumed.transport);
        Ok(())
    }

    async fn disconnect(&mut self, _: &mut Socket, _: Close) {
        self.seat = None;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use ws_consumer::testing::TestApp;

    use super::*;
    use crate::sockets;

    #[tokio::test(start_paused = true)]
    async fn broadcasts_name_user_and_transport() {
        let app = TestApp::new(sockets(Counts::default()));
        let mut ann = app.websocket("/ws/room/");
        let mut bob = app.websocket("/ws/room/");
        ann.connect().await.unwrap();
        bob.connect().await.unwrap();
        ann.send_json_to(&json!({ "text": "hello", "page": "a", "at": 1.5 })).await;
        let expected = json!({ "from": "websocket", "text": "hello", "page": "a", "at": 1.5 });
        ann.assert_sent(expected.clone()).await;
        bob.assert_sent(expected).await;
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_long_texts() {
        let app = TestApp::new(sockets(Counts::default()));
        let mut ann = app.websocket("/ws/room/");
        ann.connect().await.unwrap();
        ann.send_json_to(&json!({ "text": "x".repeat(LONGEST_TEXT + 1), "page": "a", "at": 0 })).await;
        let answer: Value = ann.receive_json_from().await;
        assert!(answer["error"].as_str().unwrap().contains("at most 1000"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn counts_live_sessions() {
        let counts = Counts::default();
        let app = TestApp::new(sockets(counts.clone()));
        let mut ann = app.websocket("/ws/room/");
        let mut bob = app.websocket("/ws/room/");
        ann.connect().await.unwrap();
        bob.connect().await.unwrap();
        assert_eq!(counts.now().get("websocket"), Some(&2));
        ann.disconnect().await;
        assert_eq!(counts.now().get("websocket"), Some(&1));
    }
}
