//! Commands, and the iterator over their replies.

use redis::{Cmd, Pipeline, ToRedisArgs, Value};

use super::reply::Reply;
use crate::error::CallError;

/// A command with its arguments.
#[derive(Debug)]
pub(crate) struct Command(Cmd);

impl Command {
    pub(crate) fn new(name: &str) -> Self {
        Self(redis::cmd(name))
    }

    /// A `PUBLISH` with one allocation for its arguments.
    pub(crate) fn publish(channel: impl AsRef<[u8]>, payload: &[u8]) -> Self {
        let channel = channel.as_ref();
        let mut command = Cmd::with_capacity(3, 7 + channel.len() + payload.len());
        command.arg("PUBLISH").arg(channel).arg(payload);
        Self(command)
    }

    pub(crate) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.0.arg(argument);
        self
    }

    pub(super) fn as_inner(&self) -> &Cmd {
        &self.0
    }
}

/// Commands for one write. Each has its own reply.
pub(crate) struct Commands(Pipeline);

impl Commands {
    pub(crate) fn with_capacity(commands: usize) -> Self {
        Self(Pipeline::with_capacity(commands))
    }

    pub(crate) fn push(&mut self, command: Command) {
        self.0.add_command(command.0);
    }

    /// Adds a `PUBLISH`.
    pub(crate) fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        self.push(Command::publish(channel, payload));
    }

    /// The number of commands.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn as_inner(&self) -> &Pipeline {
        &self.0
    }
}

impl FromIterator<Command> for Commands {
    fn from_iter<I: IntoIterator<Item = Command>>(commands: I) -> Self {
        let mut all = Self(Pipeline::new());
        commands.into_iter().for_each(|command| all.push(command));
        all
    }
}

/// The replies to [`Commands`], in their order.
pub(crate) struct Replies(std::vec::IntoIter<Value>);

impl Replies {
    pub(super) fn new(replies: Vec<Value>) -> Self {
        Self(replies.into_iter())
    }
}

impl Iterator for Replies {
    type Item = Result<Reply, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Reply::from_value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// A Lua script. A server that has run it once knows it by its hash.
#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// A short call by the hash. A restarted server replies `NOSCRIPT` and does not run the script.
    pub(crate) fn by_hash(&self, keys: &[String], arguments: &[&[u8]]) -> Command {
        Command::new("EVALSHA").arg(&self.hash).arg(keys.len()).arg(keys).arg(arguments)
    }

    /// A call by the text, which the server stores.
    pub(crate) fn by_text(&self, keys: &[String], arguments: &[&[u8]]) -> Command {
        Command::new("EVAL").arg(self.text).arg(keys.len()).arg(keys).arg(arguments)
    }
}
