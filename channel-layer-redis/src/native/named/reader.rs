//! The task that takes messages from named channels: it owns the blocking pop, on a connection of its own, so
//! that a receiver that is cancelled never takes a message with it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use channel_layer::ChannelName;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    super::bus::Bus,
    blocking::{self, Blocking},
    desk::Desk,
    store::{self, Stored},
};
use crate::{
    config::Server,
    error::Fault,
    link::client::{Command, Connection, Reply},
    stats::{Count, Counters},
    supervisor::{Backoff, Link, Session},
};

/// How long one pop blocks: so long may a message be popped for nobody after the last receiver has left.
const BLOCK: Duration = Duration::from_secs(1);

/// How often a blocked pop is asked to end, until it does: the first time may come before it has begun.
const UNBLOCK: Duration = Duration::from_millis(20);

/// Most messages in one go.
const MOST: usize = 64;

/// The reader of one link, and what it needs.
pub(in super::super) struct Reader {
    pub(in super::super) bus: Arc<Bus>,
    /// Not the links themselves: they end with the layer.
    pub(in super::super) links: Weak<[Link]>,
    pub(in super::super) at: usize,
    pub(in super::super) desk: Arc<Desk<Stored>>,
}

impl Reader {
    /// Until the desk is closed; it leaves nothing behind then.
    pub(in super::super) async fn run(self) {
        let mut backoff = Backoff::default();
        while !self.desk.is_closed() {
            self.wait_for_wishes().await;
            if self.desk.is_closed() {
                break;
            }
            let began = Instant::now();
            if let Err(fault) = self.serve().await {
                tell(&self.bus.counters, &fault);
                backoff.connected_for(began.elapsed());
                sleep(backoff.next()).await;
            }
        }
        self.give_back().await;
    }

    /// Waits until somebody waits for a message; meanwhile, gives back what nobody came for.
    async fn wait_for_wishes(&self) {
        loop {
            let changed = self.desk.changed.notified();
            let next = self.give_back().await;
            if self.desk.is_closed() || !self.desk.wanted().is_empty() {
                return;
            }
            match next {
                Some(next) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(next) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Serves receivers over one connection, until it breaks or nobody is left.
    async fn serve(&self) -> Result<(), Fault> {
        let session = self.session().await?;
        let blocking = self.connect(&session).await?;
        let server = session.server.clone();
        drop(session); // or its connections would last as long as this one
        while !self.desk.is_closed() {
            self.follow(&server)?;
            self.give_back().await;
            let mut wanted = self.desk.wanted();
            if wanted.is_empty() {
                self.wait_for_wishes().await;
                continue;
            }
            // In turn: the blocking pop prefers the first.
            let first = fastrand::usize(..wanted.len());
            wanted.rotate_left(first);
            wanted.iter_mut().for_each(|(_, count)| *count = (*count).min(MOST));
            if !self.take(&blocking.connection, &wanted).await? {
                self.block(&blocking, &wanted).await?;
            }
        }
        Ok(())
    }

    /// Fails once messages wait on another server. The one before may be alive and well, and know nothing of it.
    fn follow(&self, server: &Server) -> Result<(), Fault> {
        let links = self.links.upgrade().ok_or(Fault::Closed)?;
        let is_elsewhere = links[self.at].is_session(|session| session.server != *server);
        if is_elsewhere { Err(Fault::NotMaster(server.address.to_string())) } else { Ok(()) }
    }

    /// Takes what is there. True if there was something.
    async fn take(&self, connection: &Connection, wanted: &[(ChannelName, usize)]) -> Result<bool, Fault> {
        let (mut any, mut refused) = (false, Ok(()));
        for ((channel, _), taken) in wanted.iter().zip(store::take(&self.bus, connection, wanted).await?) {
            match taken {
                Ok(messages) => {
                    any |= !messages.is_empty();
                    self.bus.counters.add(Count::Taken, messages.len() as u64);
                    self.desk.hand_out(channel, messages);
                }
                Err(fault) => refused = Err(fault),
            }
        }
        refused.map(|()| any)
    }

    /// Waits for the next message on any of the channels. It is fresh, since they were empty just now.
    async fn block(&self, blocking: &Blocking, wanted: &[(ChannelName, usize)]) -> Result<(), Fault> {
        let keys: Vec<_> = wanted.iter().map(|(channel, _)| self.bus.keys.queue(channel)).collect();
        let Some(id) = blocking.id() else {
            blocking::pause(self.unwanted(wanted, Duration::ZERO)).await;
            return Ok(());
        };
        // In whole seconds: servers before Redis 6 know no others.
        let command = Command::new("BLPOP").arg(&keys).arg(BLOCK.as_secs());
        let pop = blocking.connection.call(&command, Some(BLOCK + self.bus.config.timeout));
        tokio::pin!(pop);
        let mut pause = Duration::ZERO;
        let reply = loop {
            tokio::select! {
                reply = &mut pop => break reply?,
                () = self.unwanted(wanted, pause) => {
                    blocking::end(&self.links, self.at, id).await;
                    pause = UNBLOCK;
                }
            }
        };
        let place = |key: &[u8]| keys.iter().position(|known| known.as_bytes() == key);
        let popped = |reply| popped(reply, place);
        if let Some((at, message)) = reply.read("BLPOP", &self.bus.counters, popped)? {
            self.bus.counters.one(Count::Taken);
            self.desk.hand_out(&wanted[at].0, vec![message]);
        }
        Ok(())
    }

    /// Waits until a pop for these channels is no longer what is needed.
    async fn unwanted(&self, wanted: &[(ChannelName, usize)], pause: Duration) {
        sleep(pause).await;
        loop {
            let changed = self.desk.changed.notified();
            if self.desk.is_closed() || self.desk.wants_other_than(wanted) {
                return;
            }
            changed.await;
        }
    }

    /// Gives back what nobody came for, and says when to look again.
    async fn give_back(&self) -> Option<Instant> {
        let (leftovers, next) = self.desk.leftovers(Instant::now());
        let links = self.links.upgrade()?;
        let mut again = None;
        for (channel, messages) in leftovers {
            match store::give_back(&self.bus, &links, &channel, &messages).await {
                Ok(()) => self.bus.counters.add(Count::GivenBack, messages.len() as u64),
                // Surely not sent: tried again.
                Err(fault) if fault.is_unsent() => {
                    self.desk.keep(&channel, messages);
                    again = Some(Instant::now() + BLOCK);
                }
                Err(fault) => {
                    self.bus.counters.add(Count::Lost, messages.len() as u64);
                    if let Some(times) = self.bus.counters.warning_due("lost messages", &fault.clone().into())
                    {
                        let count = messages.len();
                        tracing::warn!(%channel, count, %fault, times, "lost messages of a named channel");
                    }
                }
            }
        }
        [next, again].into_iter().flatten().min()
    }

    async fn session(&self) -> Result<Arc<Session>, Fault> {
        let mut sessions = self.links.upgrade().ok_or(Fault::Closed)?[self.at].sessions();
        loop {
            let changed = self.desk.changed.notified();
            if self.desk.is_closed() {
                return Err(Fault::Closed);
            }
            tokio::select! {
                session = sessions.wait_for(Option::is_some) => {
                    return session.ok().and_then(|session| session.clone()).ok_or(Fault::Closed);
                }
                () = changed => {}
            }
        }
    }

    async fn connect(&self, session: &Session) -> Result<Blocking, Fault> {
        let links = self.links.upgrade().ok_or(Fault::Closed)?;
        let connection = links[self.at].connect_beside(session).await?;
        Blocking::new(connection, &links[self.at], self.bus.config.timeout, &self.bus.counters).await
    }
}

/// Why a reader begins anew: a refusal will last until somebody does something.
pub(crate) fn tell(counters: &Counters, fault: &Fault) {
    match fault {
        Fault::Refused { .. } => {
            counters.warn("Redis refuses to hand out named channels", &fault.clone().into())
        }
        _ => tracing::debug!(%fault, "the reader of named channels begins anew"),
    }
}

/// The place of a key, and what was popped there; nothing if nothing came in time.
fn popped(reply: &Reply, place: impl Fn(&[u8]) -> Option<usize>) -> Option<Option<(usize, Stored)>> {
    match &reply.leaves()[..] {
        [] => Some(None),
        [key, message] => Some(Some((place(key.bytes()?)?, Stored(message.bytes()?.to_vec())))),
        _ => None,
    }
}
