//! Blocking pops, on a separate connection.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use channel_layer::backbone::Changed;
use tokio::time::sleep;

use super::{
    client::{Command, Commands, Connection, Replies, Reply},
    command_connection::CommandConnection,
};
use crate::error::CallError;

/// The polling interval for servers on which a pop cannot be ended, which is also the longest delay of a message there.
const POLL: Duration = Duration::from_millis(50);

/// The interval of the requests to end a pop, until it ends: the first may arrive before the pop has begun.
const UNBLOCK: Duration = Duration::from_millis(20);

/// A connection for blocking pops.
pub(crate) struct BlockingConnection {
    connection: Connection,
    /// The server's id of the connection, or `None` if the server does not allow ending a pop.
    id: Option<i64>,
    /// Weak: the connections of a link close with it.
    link: Weak<CommandConnection>,
    limit: Duration,
}

impl BlockingConnection {
    /// Connects, and checks whether a pop can be ended: proxies and some servers lack `CLIENT`, and an ACL may forbid it.
    pub(crate) async fn open(link: &Arc<CommandConnection>) -> Result<Self, CallError> {
        let connection = link.open_another().await?;
        let id = match connection.call(&Command::new("CLIENT").arg("ID"), Some(link.limit())).await {
            Ok(id) => Some(id.read("CLIENT ID", &link.counters, Reply::integer)?),
            Err(CallError::Refused { .. }) => None,
            Err(error) => return Err(error),
        };
        let id = match id {
            // No effect: the connection does not block yet.
            Some(id) => link.call(unblock(id)).await.is_ok().then_some(id),
            None => None,
        };
        if id.is_none() {
            tracing::info!(every = ?POLL, "polling for messages: the server refuses CLIENT ID or CLIENT UNBLOCK");
        }
        Ok(Self { connection, id, link: Arc::downgrade(link), limit: link.limit() })
    }

    /// Sends commands that reply at once.
    pub(crate) async fn call_all(&self, commands: Commands) -> Result<Replies, CallError> {
        self.connection.call_all(commands, self.limit).await
    }

    /// Runs a pop that waits for at most this time, and ends it early when `changed` resolves. This loses no message: the
    /// server either ends the pop or pops. Returns `None` after the polling interval if the server does not allow it.
    pub(crate) async fn pop(
        &self,
        command: &Command,
        wait: Duration,
        changed: Changed<'_>,
    ) -> Result<Option<Reply>, CallError> {
        let Some(id) = self.id else {
            tokio::select! {
                () = changed => {}
                () = sleep(POLL) => {}
            }
            return Ok(None);
        };
        let end = async {
            changed.await;
            loop {
                if let Some(link) = self.link.upgrade() {
                    let _ = link.call(unblock(id)).await; // retried soon
                }
                sleep(UNBLOCK).await;
            }
        };
        tokio::select! {
            biased;
            reply = self.connection.call(command, Some(wait + self.limit)) => reply.map(Some),
            never = end => never,
        }
    }
}

impl fmt::Debug for BlockingConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingConnection").field("id", &self.id).finish_non_exhaustive()
    }
}

fn unblock(id: i64) -> Command {
    Command::new("CLIENT").arg("UNBLOCK").arg(id)
}
