//! Keeps one server's connections alive, whatever happens to the server.
//!
//! # Reconnect
//! For ever, the first time at once, then after waits that double up to a second, with full jitter. A new
//! session is only used once its server is a master, every group is subscribed to again and confirmed, and a
//! message has gone through it and come back.
//!
//! # How a fault is found
//! The end of the connection is seen at once. A silent one is found by the heartbeat on both connections, a
//! demoted master by the same, a server that takes messages but does not hand them out by the probe, which
//! goes the way of every message. With sentinels, their word is followed too.
//!
//! # How commands are sent
//! Callers write into a shared batch (`outbox`), one task sends it in one write under one deadline (`publisher`), and
//! its answer is one for all of them (`answers`).
//!
//! # Cancel safety
//! A command that is queued is sent, whether its caller still waits or not.
//!
//! # What is not promised
//! A call that timed out, or whose connection broke, may have taken effect; nothing is sent twice on its own.

mod answers;
mod backoff;
mod outbox;
mod panics;
mod publisher;
mod run;
mod session;
mod subscriptions;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use channel_layer::EventSource;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

pub(crate) use self::{backoff::Backoff, outbox::Queued, session::Session};
use self::{outbox::Outbox, publisher::Sequences, subscriptions::Subscriptions};
use crate::{
    config::{Place, RedisConfig},
    error::Fault,
    link::client::{Command, Connection, Reply},
    stats::{Count, Counters},
};

/// What a link carries: names of channels, and what is done with messages.
pub(crate) trait Mode: std::fmt::Debug + Send + Sync + 'static {
    /// The name of this process.
    fn node(&self) -> &str;
    /// Subscribed to at all times.
    fn own_channels(&self) -> Vec<String>;
    /// Returns whether no mailbox here needs this channel of a group any more.
    fn is_empty(&self, channel: &str) -> bool;
    /// The first message of a new subscription may follow: what was before it was not missed.
    fn begins(&self, channel: &str);
    /// The receiver of the link's events.
    fn events(&self) -> &EventSource;
    /// Returns the commands that a new session runs before it is announced: for everything that Redis holds
    /// for this process, or only for what was added in the meantime. `None` in modes where Redis holds no
    /// state.
    fn restore(&self, all: bool) -> Option<Restoration>;
    /// Returns the commands that the mode requires in addition to Pub/Sub, by name. They answer at once and
    /// change nothing.
    fn needed(&self) -> Vec<(&'static str, Command)>;
    /// Returns whether published messages are envelopes whose sequence the publisher fills in.
    fn is_sequenced(&self) -> bool;
    /// A message that comes back to this process.
    fn probe(&self) -> Probe;
    /// A message came in. Runs inside the connection's task: it must not wait.
    fn received(&self, channel: &[u8], payload: &[u8]);
}

/// Commands that give Redis what it holds for this process.
pub(crate) struct Restoration {
    pub(crate) commands: Vec<Command>,
    /// Run once Redis has accepted all of them. What it refuses is tried again by the mode.
    pub(crate) done: Box<dyn FnOnce() + Send>,
}

/// A message to oneself.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) channel: String,
    pub(crate) envelope: Vec<u8>,
    /// Told when it has come back.
    pub(crate) back: oneshot::Receiver<()>,
}

/// The way to one server, through all its outages. Ends with its last owner.
#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug)]
struct Shared {
    place: Place,
    config: Arc<RedisConfig>,
    mode: Arc<dyn Mode>,
    counters: Arc<Counters>,
    subscriptions: Subscriptions,
    outbox: Arc<Outbox>,
    /// The session in use, if any. Written by the supervisor only.
    session: watch::Sender<Option<Arc<Session>>>,
    /// Set while there is a session. Read at the start of every call. Relaxed: a call that reads it a moment
    /// late is refused by the queue instead.
    up: AtomicBool,
    /// Set with the first session. Relaxed: set once, and no other data depends on it.
    known: AtomicBool,
    /// The reason why there is no session, or was none until the present one.
    trouble: watch::Sender<Option<Fault>>,
    /// The faults already warned about since the last session. Locked by the supervisor only.
    troubles: Mutex<HashSet<String>>,
}

impl Link {
    /// Starts to connect, and goes on for ever.
    pub(crate) fn start(
        place: Place,
        config: Arc<RedisConfig>,
        mode: Arc<dyn Mode>,
        counters: Arc<Counters>,
    ) -> Self {
        let subscriptions = Subscriptions::new(config.linger);
        let outbox = Arc::new(Outbox::new(publisher::BATCH, config.timeout));
        let shared = Arc::new(Shared {
            place,
            config,
            mode,
            counters,
            subscriptions,
            outbox,
            session: watch::Sender::new(None),
            up: AtomicBool::new(false),
            known: AtomicBool::new(false),
            trouble: watch::Sender::new(None),
            troubles: Mutex::default(),
        });
        let supervisor = tokio::spawn(run::run(shared.clone()));
        let (config, counters) = (shared.config.clone(), shared.counters.clone());
        let session = shared.session.subscribe();
        let sequences = shared.mode.is_sequenced().then(Sequences::default);
        let publisher =
            tokio::spawn(publisher::run(shared.outbox.clone(), session, config, counters, sequences));
        Self { shared, tasks: [supervisor, publisher] }
    }

    /// Waits for the first session, or for the reason why there is none.
    pub(crate) async fn connected(&self) -> Result<(), Fault> {
        let mut session = self.shared.session.subscribe();
        let mut trouble = self.shared.trouble.subscribe();
        // One for each step of a session's beginning, and one to spare.
        let limit = self.shared.config.connect_timeout * 2 + self.shared.config.timeout * 5;
        let outcome = async {
            tokio::select! {
                biased;
                _ = session.wait_for(Option::is_some) => Ok(()),
                reason = trouble.wait_for(Option::is_some) => {
                    Err(reason.ok().and_then(|reason| reason.clone()).unwrap_or(Fault::Closed))
                }
            }
        };
        timeout(limit, outcome).await.unwrap_or(Err(Fault::Deadline(limit)))
    }

    /// Publishes an envelope, or whatever the mode publishes; says how many processes took it.
    pub(crate) async fn publish(&self, channel: String, envelope: Vec<u8>) -> Result<u64, Fault> {
        if !self.is_up() {
            self.shared.counters.one(Count::PublishFailed);
            return Err(self.shared.away());
        }
        let published = self.shared.outbox.publish(channel, envelope).await;
        if published == Err(Fault::Crowded) {
            self.shared.counters.one(Count::PublishFailed); // the others are counted where they are answered
        }
        published
    }

    /// Any command that answers at once.
    pub(crate) async fn call(&self, command: Command) -> Result<Reply, Fault> {
        self.queue(command).await?.reply().await
    }

    /// Queues a command as [`call`](Self::call) does, without waiting for the reply. Later commands are sent after it.
    pub(crate) async fn queue(&self, command: Command) -> Result<Queued, Fault> {
        if !self.is_up() {
            return Err(self.shared.away());
        }
        self.shared.outbox.queue(command).await
    }

    /// Subscribes to a channel if need be, and then runs `join`, which says whether it added a member.
    ///
    /// In an outage it does not wait: the channel is wanted from now on, and the next session is not told of before it is
    /// subscribed to. Before the first session there is nothing to come back to, and it fails.
    pub(crate) async fn join(&self, channel: &str, join: impl FnOnce() -> bool) -> Result<(), Fault> {
        // One for a command under way, one for ours.
        let limit = self.shared.config.timeout * 2;
        let deadline = Instant::now() + limit;
        let hold = loop {
            if !self.is_known() {
                return Err(self.shared.away());
            }
            let (hold, answer) = self.shared.subscriptions.acquire(channel);
            // Looked at after it was asked for: a session that has come up since has either seen it, or is seen here.
            let Some(answer) = answer.filter(|_| self.is_up()) else { break hold };
            let answer = timeout_at(deadline, answer).await.map_err(|_| Fault::Deadline(limit))?;
            match answer.unwrap_or(Err(Fault::Closed)) {
                Ok(()) => break hold,
                Err(fault) if fault.is_outage() && Instant::now() < deadline => {}
                Err(fault) => return Err(fault),
            }
        };
        if join() {
            hold.joined();
        }
        Ok(())
    }

    /// The channel has lost its last member here.
    pub(crate) fn emptied(&self, channel: &str) {
        self.shared.subscriptions.emptied(channel);
    }

    /// Do the channel's messages come in?
    pub(crate) fn is_subscribed(&self, channel: &str) -> bool {
        self.shared.subscriptions.is_live(channel)
    }

    /// Returns the fault with which calls fail at once at present.
    pub(crate) fn away(&self) -> Fault {
        self.shared.away()
    }

    /// Returns whether it has ever been connected.
    pub(crate) fn is_known(&self) -> bool {
        self.shared.known.load(Relaxed)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.shared.up.load(Relaxed)
    }

    /// How long a message takes through Redis and back.
    pub(crate) async fn round_trip(&self) -> Result<Duration, Fault> {
        run::round_trip(&self.shared).await
    }

    /// The session in use, now and later; nothing while there is none.
    pub(crate) fn sessions(&self) -> watch::Receiver<Option<Arc<Session>>> {
        self.shared.session.subscribe()
    }

    /// Is there a session in use, and is it so of it?
    pub(crate) fn is_session(&self, is_so: impl FnOnce(&Session) -> bool) -> bool {
        self.shared.session.borrow().as_deref().is_some_and(is_so)
    }

    /// A further connection to the server of a session, for commands that block.
    pub(crate) async fn connect_beside(&self, session: &Session) -> Result<Connection, Fault> {
        Connection::open(&session.server, &self.shared.config, Arc::new(|_| {})).await
    }

    /// Sends what is queued, and ends the connections. Later calls find it down.
    pub(crate) async fn close(&self) {
        if self.is_up() {
            // It stands last in the queue, so its answer means that the others have theirs.
            let _ = timeout(self.shared.config.timeout * 2, self.call(Command::new("PING"))).await;
        }
        self.end();
    }

    fn end(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.shared.outbox.close();
        self.shared.leave(&Fault::Closed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end();
    }
}
