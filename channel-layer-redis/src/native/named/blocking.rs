//! Blocking pops and how they are ended, or what is done where they cannot be.

use std::{sync::Weak, time::Duration};

use crate::{
    error::Fault,
    link::client::{Command, Connection, Reply},
    stats::Counters,
    supervisor::Link,
};

/// The polling interval for servers where a blocking pop cannot be ended; also the longest wait for a message
/// there.
const POLL: Duration = Duration::from_millis(50);

/// A connection for blocking pops.
pub(crate) struct Blocking {
    pub(crate) connection: Connection,
    /// The server's id of the connection, or `None` where the server does not allow ending a pop.
    id: Option<i64>,
}

impl Blocking {
    /// Finds out whether a pop on this connection can be ended: proxies and some servers lack `CLIENT`, and an ACL may
    /// forbid it.
    pub(crate) async fn new(
        connection: Connection,
        link: &Link,
        limit: Duration,
        counters: &Counters,
    ) -> Result<Self, Fault> {
        let id = match connection.call(&Command::new("CLIENT").arg("ID"), Some(limit)).await {
            Ok(id) => Some(id.read("CLIENT ID", counters, Reply::integer)?),
            Err(Fault::Refused { .. }) => None,
            Err(fault) => return Err(fault),
        };
        let id = match id {
            // It does not block yet, so this ends nothing.
            Some(id) => link.call(unblock(id)).await.is_ok().then_some(id),
            None => None,
        };
        if id.is_none() {
            tracing::info!(every = ?POLL, "asking for messages: the server refuses CLIENT ID or CLIENT UNBLOCK");
        }
        Ok(Self { connection, id })
    }

    /// Returns the id for [`end`], if the server allows ending a pop. Without one no blocking pop may be
    /// started: see [`pause`].
    pub(crate) fn id(&self) -> Option<i64> {
        self.id
    }
}

/// Ends a pop without losing what it may have popped: the server does one or the other.
pub(crate) async fn end(links: &Weak<[Link]>, at: usize, id: i64) {
    if let Some(links) = links.upgrade() {
        let _ = links[at].call(unblock(id)).await; // asked again soon
    }
}

/// Passes the time until it is worth while to ask again, or until something else is needed.
pub(crate) async fn pause(unwanted: impl Future<Output = ()>) {
    tokio::select! {
        () = tokio::time::sleep(POLL) => {}
        () = unwanted => {}
    }
}

fn unblock(id: i64) -> Command {
    Command::new("CLIENT").arg("UNBLOCK").arg(id)
}
