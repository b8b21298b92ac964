//! The commands of one link, for the parts of a mode that send other commands than `PUBLISH`.

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

/// Keys in one page of `SCAN`.
const PAGE: usize = 1000;

/// The connection for commands of one link. It may outlive the link; commands are refused then.
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

    /// Sends a command that answers at once.
    pub(crate) async fn call(&self, command: Command) -> Result<Reply, CallError> {
        self.queue(command).await?.reply().await
    }

    /// Queues a command as [`call`](Self::call) does, without waiting for the reply. Later commands are sent after it.
    pub(crate) async fn queue(&self, command: Command) -> Result<PendingReply, CallError> {
        self.queue.queue(command).await
    }

    /// Runs a script, by its text if the server does not know it yet.
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[&[u8]],
    ) -> Result<Reply, CallError> {
        match self.call(script.by_hash(keys, arguments)).await {
            // The script was not run, so it is safe to send it again.
            Err(error) if error.is_unknown_script() => self.call(script.by_text(keys, arguments)).await,
            reply => reply,
        }
    }

    /// Deletes all keys that begin like this.
    pub(crate) async fn clear(&self, prefix: &str) -> Result<(), CallError> {
        self.for_keys(prefix, |keys| vec![Command::new("UNLINK").arg(keys)]).await
    }

    /// Sends commands about all keys that begin like this, a page of keys at a time.
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

    /// Sends commands in one write, past the queue.
    pub(super) async fn call_all(&self, commands: Commands) -> Result<Replies, CallError> {
        self.connection.call_all(commands, self.limit()).await
    }

    /// Opens a further connection to the same server, for commands that block.
    pub(crate) async fn open_another(&self) -> Result<Connection, CallError> {
        Connection::open(&self.server, &self.config, Arc::new(|_| {})).await
    }

    /// The longest time for one command.
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

/// A pattern that matches this text alone.
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
    fn a_prefix_with_wildcards_matches_itself_only() {
        assert_eq!(escaped("a*[b]:q:"), r"a\*\[b\]:q:");
    }
}
