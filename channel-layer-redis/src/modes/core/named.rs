//! Messages in Redis: one sorted set for a general channel, or for all mailboxes of a process.
//!
//! Messages to mailboxes are taken as they arrive, those to general channels while a receiver waits. Python keeps a copy of
//! a message that it is about to receive (`$inflight`). Here a message is popped once, so no other process receives it again.

use std::{
    pin::pin,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use channel_layer::{
    BoxError, ChannelName, Deliveries, Error, GroupName, Map, Message, RESERVED_KEY, Result, Value,
    backbone::{Changed, Push, Pushed, Queues, Taken, Taker, Wanted},
    mailbox::{Delivery, Refusal},
};
use tokio::time::Instant;

use super::{
    clock::{self, score_before},
    state::CoreState,
};
use crate::{
    error::CallError,
    link::{
        BlockingConnection, CommandConnection,
        client::{Command, Reply, Script},
    },
    stats::Count,
};

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("push.lua")));
static RETURN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("return.lua")));

/// The longest wait of a pop, as in Python. A change ends it.
const WAIT: Duration = Duration::from_secs(5);

/// The most messages of one inbox in one pop.
const INBOX_BATCH: usize = 128;

/// The time for a reply in flight. A waiting pop is cancelled after it, because its mailboxes receive no message meanwhile.
const GRACE: Duration = Duration::from_millis(100);

/// The members that are compared to find the group of a message.
const COMPARED: usize = 8;

/// The sorted sets on the server of one link.
#[derive(Debug)]
pub(super) struct SortedSetQueues {
    pub(super) state: Arc<CoreState>,
    /// The index of the host.
    pub(super) at: usize,
    pub(super) commands: Arc<CommandConnection>,
}

#[async_trait]
impl Queues for SortedSetQueues {
    async fn push(&self, channel: &ChannelName, push: Push<'_>) -> Result<Pushed> {
        let key = self.state.keys.messages(channel.non_local());
        let (score, expired) = (self.state.clock.score(), score_before(push.expiry));
        let (expiry, capacity) = (push.expiry.as_millis().to_string(), push.capacity.to_string());
        let [score, expired, expiry, capacity] = [&score, &expired, &expiry, &capacity].map(String::as_bytes);
        let reply = self.commands.run(&PUSH, &[key], &[score, expired, expiry, capacity, push.body]).await?;
        match reply.read("a script", &self.state.counters, Reply::integer)? {
            0 => Err(Error::ChannelFull { channel: channel.to_string() }),
            _ => Ok(Pushed::Stored),
        }
    }

    async fn taker(&self) -> Result<Box<dyn Taker>> {
        let blocking = BlockingConnection::open(&self.commands).await?;
        Ok(Box::new(SortedSetTaker { state: self.state.clone(), at: self.at, blocking }))
    }

    async fn give_back(&self, channel: &ChannelName, messages: &[Taken]) -> Result<()> {
        let lifetime = self.state.expiry_millis();
        let mut arguments = vec![lifetime.as_bytes()];
        arguments.extend(messages.iter().flat_map(|taken| [&*taken.receipt, &*taken.body]));
        self.commands.run(&RETURN, &[self.state.keys.messages(channel.as_str())], &arguments).await?;
        Ok(())
    }

    async fn clear(&self) -> Result<()> {
        Ok(self.commands.clear(self.state.keys.prefix()).await?)
    }
}

/// Takes messages of general channels, and delivers those of mailboxes directly.
#[derive(Debug)]
struct SortedSetTaker {
    state: Arc<CoreState>,
    at: usize,
    blocking: BlockingConnection,
}

#[async_trait]
impl Taker for SortedSetTaker {
    async fn take(&mut self, wanted: &[Wanted], changed: Changed<'_>) -> Result<Vec<Taken>> {
        let inboxes = &self.state.inboxes[self.at];
        let added = inboxes.added.notified();
        let changed = pin!(async {
            tokio::select! {
                () = added => {}
                () = changed => {}
            }
        });
        let counts: Vec<_> = inboxes.names().into_iter().map(|name| (name, INBOX_BATCH)).collect();
        let general = wanted.iter().map(|wanted| (wanted.channel.to_string(), wanted.count));
        let mut keys: Vec<_> = counts.into_iter().chain(general).collect();
        keys.iter_mut().for_each(|(name, _)| *name = self.state.keys.messages(name));
        if keys.is_empty() {
            changed.await;
            return Ok(Vec::new());
        }
        match self.pop(&keys, wanted).await? {
            Some(taken) => Ok(taken),
            None => Ok(self.wait(keys, wanted, changed).await?.into_iter().collect()),
        }
    }

    fn grace(&self) -> Duration {
        GRACE
    }
}

impl SortedSetTaker {
    /// Takes messages that are already queued. Returns `None` if there are none.
    async fn pop(
        &self,
        keys: &[(String, usize)],
        wanted: &[Wanted],
    ) -> Result<Option<Vec<Taken>>, CallError> {
        let commands = keys.iter().map(|(key, count)| Command::new("ZPOPMIN").arg(key).arg(*count));
        let replies = self.blocking.call_all(commands.collect()).await?;
        let (mut all, mut refused) = (None, Ok(None));
        for ((key, _), reply) in keys.iter().zip(replies) {
            // A refused key, perhaps of another type, does not affect the others.
            let reply = match reply {
                Ok(reply) => reply,
                Err(error) => {
                    refused = Err(error);
                    continue;
                }
            };
            // Some versions reply with pairs, and some with one list.
            for pair in reply.leaves().chunks(2) {
                match pair[0].bytes().zip(pair.get(1).and_then(|score| score.score())) {
                    Some((member, score)) => all.get_or_insert_with(Vec::new).extend(self.state.taken(
                        wanted,
                        key.as_bytes(),
                        member,
                        score,
                    )),
                    None => reply.note_unreadable("ZPOPMIN", &self.state.counters),
                }
            }
        }
        if all.is_some() { Ok(all) } else { refused }
    }

    /// Waits for the next message.
    async fn wait(
        &self,
        mut keys: Vec<(String, usize)>,
        wanted: &[Wanted],
        changed: Changed<'_>,
    ) -> Result<Option<Taken>, CallError> {
        // Rotated, because the pop prefers the first key.
        let first = fastrand::usize(..keys.len());
        keys.rotate_left(first);
        let keys: Vec<_> = keys.into_iter().map(|(key, _)| key).collect();
        // In whole seconds: servers before Redis 6 accept no fractions.
        let command = Command::new("BZPOPMIN").arg(&keys).arg(WAIT.as_secs());
        let Some(reply) = self.blocking.pop(&command, WAIT, changed).await? else { return Ok(None) };
        let popped = reply.read("BZPOPMIN", &self.state.counters, popped)?;
        Ok(popped.and_then(|(key, member, score)| self.state.taken(wanted, key, member, score)))
    }
}

/// A key, a member and its score.
type PoppedMember<'a> = (&'a [u8], &'a [u8], f64);

/// Reads the reply to a blocking pop. The inner value is `None` if there was no member in time, the outer one if the reply is
/// malformed.
fn popped(reply: &Reply) -> Option<Option<PoppedMember<'_>>> {
    match &reply.leaves()[..] {
        [] => Some(None),
        [key, member, score] => Some(Some((key.bytes()?, member.bytes()?, score.score()?))),
        _ => None,
    }
}

impl CoreState {
    /// Delivers a popped message to its mailboxes, or returns it if it is one of a general channel.
    pub(super) fn taken(&self, wanted: &[Wanted], key: &[u8], member: &[u8], score: f64) -> Option<Taken> {
        self.counters.one(Count::Received);
        let lifetime = clock::remaining(score, self.config.hub.layer.expiry);
        if lifetime.is_zero() {
            return None; // Python checks this only when it sends
        }
        if let Some(((message, members), echo)) = self.echoes.take(key, member) {
            let deliveries = self.deliver_to(members, &message, Instant::now() + lifetime);
            let _ = echo.send(deliveries); // the caller may have been dropped
            return None;
        }
        let general = self.keys.channel_of(key);
        if let Some(channel) = general.filter(|channel| wanted.iter().any(|known| known.channel == *channel))
        {
            let (body, receipt) = (Bytes::copy_from_slice(member), Bytes::from(score.to_string()));
            return Some(Taken { channel, body, receipt });
        }
        if let Err(error) = self.deliver(member, Instant::now() + lifetime) {
            self.counters.note_unreadable("a message", error);
        }
        None
    }

    /// Reads a message of a general channel.
    pub(super) fn read(&self, member: &[u8]) -> Result<Message, BoxError> {
        let mut map = self.decode(member)?;
        map.remove(RESERVED_KEY); // group messages name their members even if there is only one
        Ok(Message::try_from(map)?)
    }

    fn decode(&self, member: &[u8]) -> Result<Map, BoxError> {
        if member.len() > self.config.hub.max_message {
            return Err("it is longer than the limit".into());
        }
        Ok(self.payload.decode(member)?)
    }

    /// Delivers to the mailboxes that a message names: one from `send`, a list from `group_send`. Closed ones are skipped.
    fn deliver(&self, member: &[u8], expires: Instant) -> Result<(), BoxError> {
        let mut map = self.decode(member)?;
        let to = map.remove(RESERVED_KEY).ok_or("it names no recipient")?;
        let message = Message::try_from(map)?;
        let names = match &to {
            Value::List(names) => &names[..],
            one => std::slice::from_ref(one),
        };
        let known: Vec<_> = names.iter().filter_map(|name| ChannelName::new(name.as_str()?).ok()).collect();
        let is_complete = known.len() == names.len();
        let deliveries = self.deliver_to(known.iter().cloned(), &message, expires);
        if deliveries.full > 0 && matches!(to, Value::List(_)) {
            self.hub.warn_of_full(&self.groups_of_all(&known), &deliveries);
        }
        if is_complete { Ok(()) } else { Err("a recipient is no channel's name".into()) }
    }

    fn deliver_to(
        &self,
        members: impl IntoIterator<Item = ChannelName>,
        message: &Message,
        expires: Instant,
    ) -> Deliveries {
        let mut deliveries = Deliveries::default();
        for member in members {
            deliveries.matched += 1;
            match self.hub.send(&member, Delivery { message: message.clone(), expires }) {
                Some(Ok(())) => deliveries.delivered += 1,
                Some(Err(Refusal::Full)) => deliveries.full += 1,
                _ => deliveries.closed += 1,
            }
        }
        self.counters.add(Count::Full, deliveries.full as u64);
        deliveries
    }

    /// The groups that all of these mailboxes are in: the message does not contain its group.
    fn groups_of_all(&self, members: &[ChannelName]) -> Vec<GroupName> {
        let mut open = members.iter().filter(|member| self.hub.contains(member));
        let mut groups = open.next().map(|member| self.hub.groups_of(member)).unwrap_or_default();
        for member in open.take(COMPARED) {
            let others = self.hub.groups_of(member);
            groups.retain(|group| others.contains(group));
        }
        groups.sort_unstable();
        groups
    }
}
