//! The task that takes messages out of Redis, on a connection of its own, where nothing else waits behind a
//! blocking pop.
//!
//! Messages for mailboxes are taken as they come, those for general channels when somebody waits for one. Python
//! keeps a copy of what it is about to receive (`$inflight`); what is popped here is popped once and for all, so
//! nobody receives it again.

use std::{
    sync::{Arc, LazyLock, Weak},
    time::Duration,
};

use channel_layer::{
    ChannelName, Deliveries, GroupName, Map, Message, RESERVED_KEY, Value,
    mailbox::{Delivery, Refusal},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{
    bus::{Bus, run},
    clock,
};
use crate::{
    codec::CodecError,
    error::Fault,
    link::client::{Command, Connection, Reply, Script},
    native::named::{
        self,
        blocking::{self, Blocking},
    },
    stats::Count,
    supervisor::{Backoff, Link, Session},
};

static RETURN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("return.lua")));

/// How long one pop blocks, as in Python. Whatever happens meanwhile ends it.
const BLOCK: Duration = Duration::from_secs(5);
/// How often a blocked pop is asked to end, until it does: the first time may come before it has begun.
const UNBLOCK: Duration = Duration::from_millis(20);
/// Most messages of one key in one go.
const MOST: usize = 128;

/// Members that are looked at to find out which group a message was for.
const COMPARED: usize = 8;

/// The reader of one host, and what it needs.
pub(super) struct Reader {
    pub(super) bus: Arc<Bus>,
    /// Not the links themselves: they end with the layer.
    pub(super) links: Weak<[Link]>,
    pub(super) at: usize,
}

/// A message of a general channel, and how to give it back.
#[derive(Debug)]
pub(super) struct Kept {
    message: Message,
    member: Vec<u8>,
    score: f64,
}

impl named::Kept for Kept {
    fn message(&self) -> Option<Message> {
        Some(self.message.clone())
    }
}

/// What is to be taken now.
pub(super) struct Wishes {
    pub(super) inboxes: Vec<String>,
    pub(super) general: Vec<(ChannelName, usize)>,
}

type Sessions = watch::Receiver<Option<Arc<Session>>>;

impl Reader {
    /// Until the desk is closed; it leaves nothing behind then.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::default();
        while !self.bus.desks[self.at].is_closed() {
            self.wait_for_wishes().await;
            let began = Instant::now();
            if let Err(fault) = self.serve().await {
                named::tell(&self.bus.counters, &fault);
                backoff.connected_for(began.elapsed());
                sleep(backoff.next()).await;
            }
        }
        self.give_back().await;
    }

    /// Waits until there is something to take; meanwhile, gives back what nobody came for.
    async fn wait_for_wishes(&self) {
        let desk = &self.bus.desks[self.at];
        loop {
            let changed = desk.changed.notified();
            let next = self.give_back().await;
            if desk.is_closed() || !self.wishes().is_empty() {
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

    /// Serves over one connection, until it breaks or the session that it belongs to has ended.
    async fn serve(&self) -> Result<(), Fault> {
        let desk = &self.bus.desks[self.at];
        let mut sessions = self.links.upgrade().ok_or(Fault::Closed)?[self.at].sessions();
        let blocking = self.connect(&mut sessions).await?;
        while !desk.is_closed() {
            self.give_back().await;
            let wishes = self.wishes();
            if wishes.is_empty() {
                self.wait_for_wishes().await;
            } else if !self.take(&blocking.connection, &wishes).await? {
                self.block(&blocking, &wishes, &mut sessions).await?;
            }
        }
        Ok(())
    }

    /// Takes what is there. True if there was something.
    async fn take(&self, connection: &Connection, wishes: &Wishes) -> Result<bool, Fault> {
        let keys = wishes.keys(&self.bus);
        let counts = wishes.inboxes.iter().map(|_| MOST).chain(wishes.general.iter().map(|(_, n)| *n));
        let commands =
            keys.iter().zip(counts).map(|(key, count)| Command::new("ZPOPMIN").arg(key).arg(count.min(MOST)));
        let replies = connection.call_all(commands.collect(), self.bus.config.timeout).await?;
        let (mut any, mut refused) = (false, Ok(()));
        for (key, reply) in keys.iter().zip(replies) {
            // One that is refused, say because its key holds something else, takes nothing from the others.
            match reply {
                Ok(reply) => any |= self.popped(wishes, key, &reply),
                Err(fault) => refused = Err(fault),
            }
        }
        refused.map(|()| any)
    }

    /// What one pop brought. True if it was anything.
    fn popped(&self, wishes: &Wishes, key: &str, reply: &Reply) -> bool {
        let mut any = false;
        // Some versions answer pairs, and some one list.
        for pair in reply.leaves().chunks(2) {
            let score = pair.get(1).and_then(|score| score.score());
            match pair[0].bytes().zip(score) {
                Some((member, score)) => {
                    self.taken(wishes, key.as_bytes(), member, score);
                    any = true;
                }
                None => reply.note_unreadable("ZPOPMIN", &self.bus.counters),
            }
        }
        any
    }

    /// Waits for the next message.
    async fn block(
        &self,
        blocking: &Blocking,
        wishes: &Wishes,
        sessions: &mut Sessions,
    ) -> Result<(), Fault> {
        let mut keys = wishes.keys(&self.bus);
        // In turn: the pop prefers the first.
        let first = fastrand::usize(..keys.len());
        keys.rotate_left(first);
        let Some(id) = blocking.id() else {
            tokio::select! {
                // As below.
                _ = sessions.changed() => return Err(Fault::Down),
                () = blocking::pause(self.unwanted(wishes, Duration::ZERO)) => return Ok(()),
            }
        };
        // In whole seconds: servers before Redis 6 know no others.
        let command = Command::new("BZPOPMIN").arg(&keys).arg(BLOCK.as_secs());
        let pop = blocking.connection.call(&command, Some(BLOCK + self.bus.config.timeout));
        tokio::pin!(pop);
        let mut pause = Duration::ZERO;
        let reply = loop {
            tokio::select! {
                biased;
                reply = &mut pop => break reply?,
                // The supervisor has found this server dead, or no master.
                _ = sessions.changed() => return Err(Fault::Down),
                () = self.unwanted(wishes, pause) => {
                    blocking::end(&self.links, self.at, id).await;
                    pause = UNBLOCK;
                }
            }
        };
        if let Some((key, member, score)) = reply.read("BZPOPMIN", &self.bus.counters, popped_one)? {
            self.taken(wishes, key, member, score);
        }
        Ok(())
    }

    pub(super) fn taken(&self, wishes: &Wishes, key: &[u8], member: &[u8], score: f64) {
        let counters = &self.bus.counters;
        counters.one(Count::Received);
        let lifetime = clock::left(score, self.bus.config.layer.expiry);
        if lifetime.is_zero() {
            return; // Python looks after that when it sends, and never here
        }
        if let Some(((message, members), back)) = self.bus.own.take(key, member) {
            let _ = back.send(self.hand_to(members, &message, Instant::now() + lifetime)); // its sender may have gone
            return;
        }
        let general = self.bus.keys.channel_of(key);
        let general = general.filter(|channel| wishes.general.iter().any(|(known, _)| known == channel));
        let read = self.decode(member).and_then(|map| match general {
            Some(channel) => self.hand_out(&channel, map, member, score),
            None => self.deliver(map, Instant::now() + lifetime),
        });
        if let Err(error) = read {
            counters.note_unreadable("a message", error);
        }
    }

    fn decode(&self, member: &[u8]) -> Result<Map, CodecError> {
        if member.len() > self.bus.config.max_message {
            return Err(CodecError::TooLong);
        }
        self.bus.payload.decode(member)
    }

    fn hand_out(
        &self,
        channel: &ChannelName,
        mut map: Map,
        member: &[u8],
        score: f64,
    ) -> Result<(), CodecError> {
        map.remove(RESERVED_KEY); // a group's message names its member also where there is only one
        let message = Message::try_from(map).map_err(|_| CodecError::Message)?;
        self.bus.counters.one(Count::Taken);
        self.bus.desks[self.at].hand_out(channel, vec![Kept { message, member: member.to_vec(), score }]);
        Ok(())
    }

    /// To the mailboxes that it names: one from `send`, a list from `group_send`. Those that are gone are passed
    /// over, and nothing is kept for them.
    fn deliver(&self, mut map: Map, expires: Instant) -> Result<(), CodecError> {
        let to = map.remove(RESERVED_KEY).ok_or(CodecError::Message)?;
        let message = Message::try_from(map).map_err(|_| CodecError::Message)?;
        let names = match &to {
            Value::List(names) => &names[..],
            one => std::slice::from_ref(one),
        };
        let known: Vec<_> = names.iter().filter_map(|name| ChannelName::new(name.as_str()?).ok()).collect();
        let is_complete = known.len() == names.len();
        let deliveries = self.hand_to(known.iter().cloned(), &message, expires);
        if deliveries.full > 0 && matches!(to, Value::List(_)) {
            self.bus.hub.warn_of_full(&self.groups_of_all(&known), &deliveries);
        }
        if is_complete { Ok(()) } else { Err(CodecError::Message) }
    }

    /// The groups that all of these mailboxes are in: the message does not say which of them it was sent to.
    fn groups_of_all(&self, members: &[ChannelName]) -> Vec<GroupName> {
        let mut open = members.iter().filter(|member| self.bus.hub.contains(member));
        let mut groups = open.next().map(|member| self.bus.hub.groups_of(member)).unwrap_or_default();
        for member in open.take(COMPARED) {
            let others = self.bus.hub.groups_of(member);
            groups.retain(|group| others.contains(group));
        }
        groups.sort_unstable();
        groups
    }

    fn hand_to(
        &self,
        members: impl IntoIterator<Item = ChannelName>,
        message: &Message,
        expires: Instant,
    ) -> Deliveries {
        let mut deliveries = Deliveries::default();
        for member in members {
            deliveries.matched += 1;
            match self.bus.hub.send(&member, Delivery { message: message.clone(), expires }) {
                Some(Ok(())) => deliveries.delivered += 1,
                Some(Err(Refusal::Full)) => deliveries.full += 1,
                _ => deliveries.closed += 1,
            }
        }
        self.bus.counters.add(Count::Full, deliveries.full as u64);
        deliveries
    }

    /// Waits until a pop for these keys is no longer what is needed.
    async fn unwanted(&self, wishes: &Wishes, pause: Duration) {
        let desk = &self.bus.desks[self.at];
        sleep(pause).await;
        loop {
            let changed = desk.changed.notified();
            let is_extended = desk.wants_other_than(&wishes.general)
                || self.bus.inboxes(self.at).len() != wishes.inboxes.len();
            if desk.is_closed() || is_extended || self.is_forsaken(wishes).await {
                return;
            }
            changed.await;
        }
    }

    /// Does nobody wait any more for one of the general channels?
    async fn is_forsaken(&self, wishes: &Wishes) -> bool {
        let is_so = || {
            let wanted = self.bus.desks[self.at].wanted();
            wishes.general.iter().any(|(channel, _)| !wanted.iter().any(|(known, _)| known == channel))
        };
        if !is_so() {
            return false;
        }
        // A receiver in a loop comes back at once, and a new pop for it would be wasted.
        sleep(named::GRACE).await;
        is_so()
    }

    /// Gives back what nobody came for, and says when to look again.
    async fn give_back(&self) -> Option<Instant> {
        let desk = &self.bus.desks[self.at];
        let (leftovers, next) = desk.leftovers(Instant::now());
        let links = self.links.upgrade()?;
        let mut again = None;
        for (channel, messages) in leftovers {
            match self.put_back(&links[self.at], &channel, &messages).await {
                Ok(()) => self.bus.counters.add(Count::GivenBack, messages.len() as u64),
                // Surely not sent: tried again.
                Err(fault) if fault.is_unsent() => {
                    desk.keep(&channel, messages);
                    again = Some(Instant::now() + Duration::from_secs(1));
                }
                Err(fault) => {
                    self.bus.counters.add(Count::Lost, messages.len() as u64);
                    if let Some(times) = self.bus.counters.warning_due("lost messages", &fault.clone().into())
                    {
                        let count = messages.len();
                        tracing::warn!(%channel, count, %fault, times, "lost messages of a general channel");
                    }
                }
            }
        }
        [next, again].into_iter().flatten().min()
    }

    async fn put_back(&self, link: &Link, channel: &ChannelName, messages: &[Kept]) -> Result<(), Fault> {
        let lifetime = self.bus.expiry_millis();
        let scores: Vec<_> = messages.iter().map(|kept| kept.score.to_string()).collect();
        let mut arguments = vec![lifetime.as_bytes()];
        for (kept, score) in messages.iter().zip(&scores) {
            arguments.extend([score.as_bytes(), kept.member.as_slice()]);
        }
        run(link, &RETURN, &[self.bus.keys.messages(channel.as_str())], &arguments).await.map(drop)
    }

    async fn connect(&self, sessions: &mut Sessions) -> Result<Blocking, Fault> {
        let desk = &self.bus.desks[self.at];
        let session = loop {
            let changed = desk.changed.notified();
            if desk.is_closed() {
                return Err(Fault::Closed);
            }
            tokio::select! {
                session = sessions.wait_for(Option::is_some) => {
                    break session.ok().and_then(|session| session.clone()).ok_or(Fault::Closed)?;
                }
                () = changed => {}
            }
        };
        let links = self.links.upgrade().ok_or(Fault::Closed)?;
        let connection = links[self.at].connect_beside(&session).await?;
        Blocking::new(connection, &links[self.at], self.bus.config.timeout, &self.bus.counters).await
    }

    fn wishes(&self) -> Wishes {
        let inboxes = self.bus.inboxes(self.at).clone();
        Wishes { inboxes, general: self.bus.desks[self.at].wanted() }
    }
}

/// A key, a member and its score.
type Popped<'a> = (&'a [u8], &'a [u8], f64);

/// Reads the reply to a blocking pop of one member. The inner value is `None` if none came in time, the outer
/// one if the reply is malformed.
fn popped_one(reply: &Reply) -> Option<Option<Popped<'_>>> {
    match &reply.leaves()[..] {
        [] => Some(None),
        [key, member, score] => Some(Some((key.bytes()?, member.bytes()?, score.score()?))),
        _ => None,
    }
}

impl Wishes {
    fn is_empty(&self) -> bool {
        self.inboxes.is_empty() && self.general.is_empty()
    }

    fn keys(&self, bus: &Bus) -> Vec<String> {
        let inboxes = self.inboxes.iter().map(String::as_str);
        let general = self.general.iter().map(|(channel, _)| channel.as_str());
        inboxes.chain(general).map(|name| bus.keys.messages(name)).collect()
    }
}
