//! A member that sends all the time, records the messages it receives, and reconnects when it is closed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use channels_tests::Server;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// The interval between two messages of a member.
const PAUSE: Duration = Duration::from_secs(1);
/// The wait before a member reconnects.
const BEFORE_RETURN: Duration = Duration::from_millis(100);
const HANDSHAKE: Duration = Duration::from_secs(5);

/// An observation of a member.
#[derive(Clone, Debug)]
pub(crate) enum Noticed {
    /// Its connection ended, with this code if there was one.
    Closed(Option<u16>),
    /// An error came: one of the member's messages could not be sent.
    Error(String),
    /// A message came: its sender, and its number among that sender's.
    Heard { speaker: usize, number: u64 },
    /// A notice of a gap came.
    Notice,
    /// The connection was accepted.
    Opened,
    /// The connection was refused.
    Refused,
    /// The message of this number was sent.
    Said(u64),
}

/// The observations of all members, each in the order of time. A std lock: never held over an await.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<Vec<(Instant, Noticed)>>>);

impl Log {
    fn add(&self, member: usize, noticed: Noticed) {
        let mut members = self.0.lock().expect("no holder of this lock panics");
        if members.len() <= member {
            members.resize(member + 1, Vec::new());
        }
        members[member].push((Instant::now(), noticed));
    }

    /// Takes the observations since the last call.
    pub(crate) fn take(&self) -> Vec<Vec<(Instant, Noticed)>> {
        let mut members = self.0.lock().expect("no holder of this lock panics");
        let empty = vec![Vec::new(); members.len()];
        std::mem::replace(&mut members, empty)
    }

    /// Reads the observations without taking them.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&[Vec<(Instant, Noticed)>]) -> T) -> T {
        look(&self.0.lock().expect("no holder of this lock panics"))
    }
}

/// Starts members alternately in either chat, a fixed number per room. They send while `speak` is true, and
/// end with the set.
pub(crate) fn gather(
    chats: [&Server; 2],
    count: usize,
    to_a_room: usize,
    speak: &watch::Receiver<bool>,
) -> (Arc<Log>, JoinSet<()>) {
    let log = Arc::new(Log::default());
    let mut members = JoinSet::new();
    for id in 0..count {
        let chat = chats[id % 2];
        let url = chat.ws(&format!("/ws/chat/room-{}/", id / to_a_room));
        let member = Member { id, url, log: log.clone(), speak: speak.clone(), said: 0 };
        let address = chat.address;
        members.spawn(async move { member.live(address).await });
    }
    (log, members)
}

struct Member {
    id: usize,
    url: String,
    log: Arc<Log>,
    speak: watch::Receiver<bool>,
    said: u64,
}

impl Member {
    async fn live(mut self, address: std::net::SocketAddr) {
        loop {
            match timeout(HANDSHAKE, self.open(address)).await {
                Ok(Some(socket)) => {
                    self.notice(Noticed::Opened);
                    let code = self.talk(socket).await;
                    self.notice(Noticed::Closed(code));
                }
                _ => self.notice(Noticed::Refused),
            }
            sleep(BEFORE_RETURN).await;
        }
    }

    async fn open(&self, address: std::net::SocketAddr) -> Option<WebSocketStream<TcpStream>> {
        let stream = TcpStream::connect(address).await.ok()?;
        Some(client_async(&self.url, stream).await.ok()?.0)
    }

    /// Sends and receives until the connection ends, and returns the close code.
    async fn talk(&mut self, mut socket: WebSocketStream<TcpStream>) -> Option<u16> {
        // Spread, so that not all members send at the same moment.
        sleep(PAUSE.mul_f64(fastrand::f64())).await;
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                next = socket.next() => match next {
                    Some(Ok(Message::Text(text))) => self.hear(&text),
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                },
                // Also while sending is paused, so that members do not send all at once afterwards.
                _ = ticks.tick() => {
                    if !*self.speak.borrow() {
                        continue;
                    }
                    self.said += 1;
                    let text = json!({ "message": format!("{} {}", self.id, self.said) }).to_string();
                    self.notice(Noticed::Said(self.said));
                    if socket.send(Message::text(text)).await.is_err() {
                        return None;
                    }
                }
            }
        }
    }

    fn hear(&self, text: &str) {
        let value: Value = serde_json::from_str(text).expect("the chat speaks JSON");
        if let Some(message) = value["message"].as_str() {
            let (speaker, number) = message.split_once(' ').expect("only members speak here");
            let [speaker, number] = [speaker, number].map(|text| text.parse::<u64>().expect("a number"));
            let speaker = usize::try_from(speaker).expect("there are not that many");
            self.notice(Noticed::Heard { speaker, number });
        } else if value.get("notice").is_some() {
            self.notice(Noticed::Notice);
        } else if let Some(error) = value["error"].as_str() {
            self.notice(Noticed::Error(error.to_owned()));
        } else {
            panic!("neither a message nor a notice nor an error: {text}");
        }
    }

    fn notice(&self, noticed: Noticed) {
        self.log.add(self.id, noticed);
    }
}
