//! Named channels in Redis: each is a list. An element is the expiry time, in milliseconds of the server's clock, and the
//! message.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use channel_layer::{
    ChannelName, Error, Result,
    backbone::{Changed, Push, Pushed, Queues, Taken, Taker, Wanted},
};

use super::keys::NativeKeys;
use crate::{
    error::CallError,
    link::{
        BlockingConnection, CommandConnection,
        client::{Command, Commands, Reply, Script},
    },
    stats::Counters,
};

/// The time for which the id of a message is kept, if several processes may push the message.
const ID_LIFETIME_MILLISECONDS: &str = "30000";

/// The longest wait of a pop, which may take a message for this long after the last receiver has left.
const WAIT: Duration = Duration::from_secs(1);

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("push.lua")));
static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("take.lua")));
static RETURN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("return.lua")));

/// The lists on the server of one link.
#[derive(Debug)]
pub(crate) struct ListQueues {
    commands: Arc<CommandConnection>,
    keys: NativeKeys,
}

impl ListQueues {
    pub(crate) fn new(commands: Arc<CommandConnection>, keys: NativeKeys) -> Self {
        Self { commands, keys }
    }

    /// Runs a script that returns a number.
    async fn run(&self, script: &Script, keys: &[String], arguments: &[&[u8]]) -> Result<i64, CallError> {
        let reply = self.commands.run(script, keys, arguments).await?;
        reply.read("a script", &self.commands.counters, Reply::integer)
    }
}

#[async_trait]
impl Queues for ListQueues {
    async fn push(&self, channel: &ChannelName, push: Push<'_>) -> Result<Pushed> {
        let mut keys = vec![self.keys.queue(channel)];
        keys.extend(push.once.map(|id| self.keys.once(channel, id)));
        let (expiry, capacity) = (push.expiry.as_millis().to_string(), push.capacity.max(1).to_string());
        let arguments =
            [push.body, expiry.as_bytes(), capacity.as_bytes(), ID_LIFETIME_MILLISECONDS.as_bytes()];
        match self.run(&PUSH, &keys, &arguments).await? {
            0 => Err(Error::ChannelFull { channel: channel.to_string() }),
            1 => Ok(Pushed::Stored),
            _ => Ok(Pushed::Known),
        }
    }

    async fn taker(&self) -> Result<Box<dyn Taker>> {
        let blocking = BlockingConnection::open(&self.commands).await?;
        let counters = self.commands.counters.clone();
        Ok(Box::new(ListTaker { blocking, keys: self.keys.clone(), counters }))
    }

    async fn give_back(&self, channel: &ChannelName, messages: &[Taken]) -> Result<()> {
        let expiry = self.commands.config.hub.layer.expiry.as_millis().to_string();
        // The script prepends one after the other, so the last comes first.
        let messages: Vec<_> =
            messages.iter().rev().map(|taken| [&*taken.receipt, &taken.body].concat()).collect();
        let mut arguments = vec![expiry.as_bytes()];
        arguments.extend(messages.iter().map(Vec::as_slice));
        self.run(&RETURN, &[self.keys.queue(channel)], &arguments).await?;
        Ok(())
    }

    async fn clear(&self) -> Result<()> {
        Ok(self.commands.clear(&self.keys.queues()).await?)
    }
}

#[derive(Debug)]
struct ListTaker {
    blocking: BlockingConnection,
    keys: NativeKeys,
    counters: Arc<Counters>,
}

#[async_trait]
impl Taker for ListTaker {
    async fn take(&mut self, wanted: &[Wanted], changed: Changed<'_>) -> Result<Vec<Taken>> {
        let waiting = self.take_waiting(wanted).await?;
        if !waiting.is_empty() {
            return Ok(waiting);
        }
        // The lists were empty, so a message that arrives now has not expired.
        let keys: Vec<_> = wanted.iter().map(|wanted| self.keys.queue(&wanted.channel)).collect();
        // In whole seconds: servers before Redis 6 accept no fractions.
        let command = Command::new("BLPOP").arg(&keys).arg(WAIT.as_secs());
        let Some(reply) = self.blocking.pop(&command, WAIT, changed).await? else { return Ok(Vec::new()) };
        let popped = |reply| popped(reply, |key| keys.iter().position(|known| known.as_bytes() == key));
        let popped = reply.read("BLPOP", &self.counters, popped)?;
        Ok(popped.map(|(at, bytes)| taken(&wanted[at].channel, bytes)).into_iter().collect())
    }
}

impl ListTaker {
    /// Takes messages that are already queued. A refused list, perhaps because its key has another type, does not affect the
    /// others.
    async fn take_waiting(&self, wanted: &[Wanted]) -> Result<Vec<Taken>, CallError> {
        let commands = |make: fn(&Script, &[String], &[&[u8]]) -> Command| {
            let command = |Wanted { channel, count }: &Wanted| {
                make(&TAKE, &[self.keys.queue(channel)], &[count.to_string().as_bytes()])
            };
            wanted.iter().map(command).collect::<Commands>()
        };
        let mut replies: Vec<_> = self.blocking.call_all(commands(Script::by_hash)).await?.collect();
        if replies.iter().any(|reply| reply.as_ref().is_err_and(CallError::is_unknown_script)) {
            replies = self.blocking.call_all(commands(Script::by_text)).await?.collect();
        }
        let (mut all, mut refused) = (Vec::new(), None);
        for (wanted, reply) in wanted.iter().zip(replies) {
            match reply.and_then(|reply| self.read(&wanted.channel, &reply)) {
                Ok(messages) => all.extend(messages),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if all.is_empty() => Err(error),
            _ => Ok(all),
        }
    }

    fn read(&self, channel: &ChannelName, reply: &Reply) -> Result<Vec<Taken>, CallError> {
        let items = reply.read("a script", &self.counters, Reply::list)?;
        let bytes = |item: &Reply| Some(item.read("a script", &self.counters, Reply::bytes).ok()?.to_vec());
        Ok(items.iter().filter_map(bytes).map(|bytes| taken(channel, bytes)).collect())
    }
}

/// The index of a key, and the message popped there. The inner value is `None` if there was no message in time, the outer
/// one if the reply is malformed.
fn popped(reply: &Reply, index: impl Fn(&[u8]) -> Option<usize>) -> Option<Option<(usize, Vec<u8>)>> {
    match &reply.leaves()[..] {
        [] => Some(None),
        [key, message] => Some(Some((index(key.bytes()?)?, message.bytes()?.to_vec()))),
        _ => None,
    }
}

/// Splits an element into its expiry time, which is needed to return it, and the message.
fn taken(channel: &ChannelName, element: Vec<u8>) -> Taken {
    let mut body = Bytes::from(element);
    let colon = body.iter().take(20).position(|byte| *byte == b':');
    let receipt = body.split_to(colon.map_or(0, |at| at + 1));
    Taken { channel: channel.clone(), body, receipt }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_the_first_colon() {
        let jobs = "jobs".parse().unwrap();
        let split = |element: &str| {
            let Taken { receipt, body, .. } = taken(&jobs, element.into());
            [receipt, body].map(|part| String::from_utf8(part.to_vec()).unwrap())
        };
        assert_eq!(split("1795218817999:a:b"), ["1795218817999:", "a:b"]);
        assert_eq!(split("no time"), ["", "no time"]);
        assert_eq!(split("1234567890123456789012:"), ["", "1234567890123456789012:"]);
    }

    #[test]
    fn a_pop_is_read_with_its_key() {
        let text = |text: &str| Reply::Bytes(text.into());
        let index = |key: &[u8]| (key == b"q").then_some(3);
        assert_eq!(popped(&Reply::Nil, index), Some(None));
        let reply = Reply::List(vec![text("q"), text("1:x")]);
        assert_eq!(popped(&reply, index), Some(Some((3, b"1:x".to_vec()))));
        assert_eq!(popped(&Reply::List(vec![text("other"), text("1:x")]), index), None);
        assert_eq!(popped(&text("q"), index), None);
    }
}
