//! The server: a correct chat, or one with a defect.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use channel_layer::{ChannelLayer, LayerConfig, Mailbox, MailboxOptions, MemoryLayer};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use turmoil::net::TcpListener;
use ws_consumer::{
    Close, Consumer, Frame, Limits, NotFound, Protocols, Result, Router, Socket, SocketService,
    serve_connection,
};

pub(crate) const PORT: u16 = 9000;

/// The server's defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    None,
    ForgetsDisconnect,
    GoesDeaf,
    LosesHalf,
    SaysTwice,
    StaysInTheGroup,
    Swaps,
    TellsAll,
}

/// A client's message.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Said {
    pub(crate) room: usize,
    pub(crate) by: String,
    pub(crate) n: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Event {
    #[serde(rename = "said")]
    Said(Said),
}

/// Counts of hooks, over all connections.
#[derive(Default)]
struct Counts {
    connects: AtomicUsize,
    disconnects: AtomicUsize,
    /// The mailboxes that a defect keeps.
    kept: std::sync::Mutex<Vec<Mailbox>>,
}

struct Chat {
    defect: Defect,
    counts: Arc<Counts>,
    group: String,
    held_back: Option<Said>,
    heard: usize,
}

impl Consumer for Chat {
    type Event = Event;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.counts.connects.fetch_add(1, Relaxed);
        self.group = match self.defect {
            Defect::TellsAll => "all".to_owned(),
            _ => format!("room_{}", socket.scope().param("room")?),
        };
        socket.group_add(&self.group).await?;
        if self.defect == Defect::StaysInTheGroup {
            let mailbox = socket.layer().open(MailboxOptions::default()).await?;
            socket.layer().group_add(&self.group.parse()?, mailbox.channel()).await?;
            self.counts.kept.lock().expect("no panic").push(mailbox);
        }
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        socket.group_send(&self.group, &Event::Said(frame.json()?)).await
    }

    async fn event(&mut self, socket: &mut Socket, event: &Event) -> Result<()> {
        let Event::Said(said) = event;
        self.heard += 1;
        match self.defect {
            Defect::SaysTwice if self.heard.is_multiple_of(7) => socket.send_json(said).await?,
            Defect::Swaps if self.held_back.is_none() && self.heard.is_multiple_of(7) => {
                self.held_back = Some(said.clone());
                return Ok(());
            }
            Defect::GoesDeaf if self.heard > 20 => return Ok(()),
            Defect::LosesHalf if said.n % 2 == 0 || said.by.starts_with('1') => return Ok(()),
            _ => {}
        }
        if self.defect == Defect::Swaps && self.held_back.as_ref().is_some_and(|held| held.by == said.by) {
            socket.send_json(said).await?;
            return match self.held_back.take() {
                Some(held) => socket.send_json(&held).await,
                None => Ok(()),
            };
        }
        socket.send_json(said).await
    }

    async fn disconnect(&mut self, _: &mut Socket, _: Close) {
        let forgets = self.defect == Defect::ForgetsDisconnect && self.heard > 10;
        self.counts.disconnects.fetch_add(usize::from(!forgets), Relaxed);
    }
}

pub(crate) struct Server {
    pub(crate) service: SocketService<NotFound>,
    layer: Arc<MemoryLayer>,
    counts: Arc<Counts>,
}

impl Server {
    pub(crate) fn new(defect: Defect) -> Self {
        let (layer, counts) =
            (Arc::new(MemoryLayer::new(LayerConfig::default())), Arc::new(Counts::default()));
        let made = counts.clone();
        let chat =
            move || Chat { defect, counts: made.clone(), group: String::new(), held_back: None, heard: 0 };
        let mut limits = Limits::default();
        (limits.ping_interval, limits.ping_timeout) = (Duration::from_secs(2), Duration::from_secs(2));
        let protocols = Protocols::new().websocket(Router::new().consumer("/{room}", chat)).limits(limits);
        let service = protocols.into_service(layer.clone() as Arc<dyn ChannelLayer>);
        Self { service, layer, counts }
    }

    /// Asserts that no connection and no group is left after all clients have gone.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (connects, disconnects) =
            (self.counts.connects.load(Relaxed), self.counts.disconnects.load(Relaxed));
        if connects != disconnects {
            return Err(format!("{disconnects} times disconnect for {connects} times connect"));
        }
        let hub = self.layer.hub();
        let left = (self.service.connections().len(), hub.group_count(), hub.mailbox_count());
        if left != (0, 0, 0) {
            return Err(format!("of sockets, groups and mailboxes {left:?} is left"));
        }
        Ok(())
    }
}

/// The server's host.
pub(crate) async fn run(service: SocketService<NotFound>) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve_connection(stream, service.clone()));
    }
}
