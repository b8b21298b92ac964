//! The command connection of a link, for the parts of a mode that send commands other than `PUBLISH`.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::try_join_all;

use super::{
    client::{Command, Commands, Connection, Replies, Reply, Script},
    command_queue::{CommandQueue, PendingReply},
    link_end::LinkEnd,
};
use crate::{
    config::{RedisConfig, Server},
    error::CallError,
    stats::Counters,
};

/// The number of keys in one page of `SCAN`.
const PAGE: usize = 1000;

/// The connection of a link for commands. It may outlive the link and refuses commands then.
pub(crate) struct CommandConnection {
    pub(super) server: Server,
    pub(super) connection: Connection,
    pub(super) queue: CommandQueue,
    pub(crate) config: Arc<RedisConfig>,
    pub(crate) counters: Arc<Counters>,
}

impl CommandConnection {
    pub(super) fn new(
        server: Server,
        connection: Connection,
        end: Arc<LinkEnd>,
        config: Arc<RedisConfig>,
        counters: Arc<Counters>,
    ) -> Self {
        let (sender, limit) = (connection.clone(), config.hub.timeout);
        let queue = CommandQueue::start(limit, end, move |commands| {
            let connection = sender.clone();
            async move { connection.call_all(commands, limit).await }
        });
        Self { server, connection, queue, config, counters }
    }

    /// Sends a command that replies at once.
    pub(crate) async fn call(&self, command: Command) -> Result<Reply, CallError> {
        self.queue(command).await?.reply().await
    }

    /// Queues a command without waiting for its reply. Later commands are sent after it.
    pub(crate) async fn queue(&self, command: Command) -> Result<PendingReply, CallError> {
        self.queue.queue(command).await
    }

    /// Runs a script by its hash, or by its text if the server does not know it yet.
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[&[u8]],
    ) -> Result<Reply, CallError> {
        match self.call(script.by_hash(keys, arguments)).await {
            // A retry is safe: the script was not run.
            Err(error) if error.is_unknown_script() => self.call(script.by_text(keys, arguments)).await,
            reply => reply,
        }
    }

    /// Deletes all keys with this prefix.
    pub(crate) async fn clear(&self, prefix: &str) -> Result<(), CallError> {
        self.for_keys(prefix, |keys| vec![Command::new("UNLINK").arg(keys)]).await
    }

    /// Sends commands for all keys with this prefix, one page of keys at a time.
    pub(crate) async fn for_keys(
        &self,
        prefix: &str,
        commands: impl Fn(Vec<&[u8]>) -> Vec<Command>,
    ) -> Result<(), CallError> {
        let pattern = escaped(prefix) + "*";
        let mut cursor = "0".to_owned();
        loop {
            let scan = Command::new("SCAN").arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PAGE);
            let reply = self.call(scan).await?;
            let (next, keys) = reply.read("SCAN", &self.counters, Reply::page)?;
            if !keys.is_empty() {
                try_join_all(commands(keys).into_iter().map(|command| self.call(command))).await?;
            }
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Sends commands in one write, bypassing the queue.
    pub(super) async fn call_all(&self, commands: Commands) -> Result<Replies, CallError> {
        self.connection.call_all(commands, self.limit()).await
    }

    /// Opens another connection to the same server, for blocking commands.
    pub(crate) async fn open_another(&self) -> Result<Connection, CallError> {
        Connection::open(&self.server, &self.config, Arc::new(|_| {})).await
    }

    /// The deadline of a command.
    pub(crate) fn limit(&self) -> Duration {
        self.config.hub.timeout
    }
}

/// Shows the address, without a password.
impl fmt::Debug for CommandConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.server.address)
    }
}

/// A pattern that matches only this text.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 5);
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_escaped() {
        assert_eq!(escaped("a*[b]:q:"), r"a\*\[b\]:q:");
    }
}
