//! Sentinels: finding the master, and waiting for a change.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{sync::Notify, time::sleep};

use crate::{
    config::{Login, RedisConfig, Server, ServerAddress},
    error::CallError,
    link::client::{Command, Connection, Reply, ServerPush},
    stats::Counters,
};

/// The interval at which a sentinel is queried, in addition to its announcements, which may be lost.
const POLL: Duration = Duration::from_secs(1);

/// The parameters of a query to the sentinels.
#[derive(Clone, Copy)]
pub(super) struct MasterQuery<'a> {
    pub(super) service: &'a str,
    pub(super) config: &'a RedisConfig,
    pub(super) counters: &'a Counters,
}

/// Returns the master according to most of the sentinels that reply. Does not wait for the rest once a majority of all
/// agrees: a lost machine takes its sentinel with it.
pub(super) async fn master(
    sentinels: &[Server],
    query: MasterQuery<'_>,
    login: &Login,
) -> Result<Server, CallError> {
    let ask = async |at: usize| (at, ask(&sentinels[at], query).await);
    let mut answers: FuturesUnordered<_> = (0..sentinels.len()).map(ask).collect();
    let (mut votes, mut first_error) = (Votes::default(), None);
    while let Some((at, answer)) = answers.next().await {
        match answer {
            Ok(address) => votes.cast(at, address),
            Err(error) => first_error = first_error.or(Some(error)),
        }
        if votes.highest() > sentinels.len() / 2 {
            break;
        }
    }
    match votes.winner() {
        Some(address) => Ok(Server { address, login: login.clone() }),
        None => {
            let reason = first_error.map(|error| error.to_string()).unwrap_or_default();
            let service = query.service;
            Err(CallError::Unreachable(format!("no sentinel knows the master of `{service}`: {reason}")))
        }
    }
}

/// The answers of sentinels, each under its position among them.
#[derive(Debug, Default)]
struct Votes(BTreeMap<usize, ServerAddress>);

impl Votes {
    fn cast(&mut self, at: usize, address: ServerAddress) {
        self.0.insert(at, address);
    }

    /// The first of those with most votes: an isolated sentinel that still names the old master is outvoted.
    fn winner(&self) -> Option<ServerAddress> {
        self.0.values().rev().max_by_key(|address| self.count(address)).cloned()
    }

    /// The highest number of sentinels that agree.
    fn highest(&self) -> usize {
        self.0.values().map(|address| self.count(address)).max().unwrap_or(0)
    }

    fn count(&self, address: &ServerAddress) -> usize {
        self.0.values().filter(|known| *known == address).count()
    }
}

/// Waits until another server than `current` is the master.
pub(super) async fn moved(
    sentinels: &[Server],
    query: MasterQuery<'_>,
    login: &Login,
    current: &Server,
) -> CallError {
    loop {
        for sentinel in sentinels {
            // Ends when this sentinel names another master, or can no longer be queried.
            let reason = listen(sentinel, query, current).await;
            tracing::debug!(sentinel = %sentinel.address, service = query.service, %reason, "asking all sentinels");
            match master(sentinels, query, login).await {
                Ok(server) if server.address != current.address => {
                    return CallError::NotMaster(current.address.to_string());
                }
                _ => sleep(POLL / 4).await,
            }
        }
    }
}

async fn listen(sentinel: &Server, query: MasterQuery<'_>, current: &Server) -> CallError {
    let changed = Arc::new(Notify::new());
    let connection = match subscribe(sentinel, query.config, changed.clone()).await {
        Ok(connection) => connection,
        Err(error) => return error,
    };
    loop {
        match master_of(&connection, sentinel, query).await {
            Ok(address) if address == current.address => {}
            Ok(address) => return CallError::NotMaster(format!("{}, but {address}", current.address)),
            Err(error) => return error,
        }
        tokio::select! {
            () = changed.notified() => {}
            () = sleep(POLL) => {}
        }
    }
}

async fn subscribe(
    sentinel: &Server,
    config: &RedisConfig,
    changed: Arc<Notify>,
) -> Result<Connection, CallError> {
    // Any push, and the end of the connection too, is a reason to query.
    let on_push = Arc::new(move |_: ServerPush| changed.notify_one());
    let connection = Connection::open(sentinel, config, on_push).await?;
    connection.subscribe(&["+switch-master".to_owned()], config.hub.timeout).await?;
    Ok(connection)
}

async fn ask(sentinel: &Server, query: MasterQuery<'_>) -> Result<ServerAddress, CallError> {
    let connection = Connection::open(sentinel, query.config, Arc::new(|_| {})).await?;
    master_of(&connection, sentinel, query).await
}

async fn master_of(
    connection: &Connection,
    sentinel: &Server,
    MasterQuery { service, config, counters }: MasterQuery<'_>,
) -> Result<ServerAddress, CallError> {
    let command = Command::new("SENTINEL").arg("get-master-addr-by-name").arg(service);
    let reply = connection.call(&command, Some(config.hub.timeout)).await?;
    let Some((host, port)) = reply.read("SENTINEL get-master-addr-by-name", counters, address_of)? else {
        return Err(CallError::Unreachable(format!("a sentinel does not know `{service}`")));
    };
    Ok(ServerAddress::Tcp { host: host.to_owned(), port, tls: sentinel.address.is_tls() })
}

/// Host and port. The inner value is `None` if the sentinel knows no master.
fn address_of(reply: &Reply) -> Option<Option<(&str, u16)>> {
    match reply.list()? {
        [] => Some(None),
        [host, port, ..] => Some(Some((host.text()?, u16::try_from(port.integer()?).ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> ServerAddress {
        ServerAddress::Tcp { host: "h".to_owned(), port, tls: false }
    }

    #[test]
    fn a_majority_of_sentinels_decides() {
        let mut votes = Votes::default();
        assert_eq!((votes.winner(), votes.highest()), (None, 0));
        votes.cast(2, address(2));
        votes.cast(0, address(1));
        assert_eq!((votes.winner(), votes.highest()), (Some(address(1)), 1), "the first of equals");
        votes.cast(1, address(2));
        assert_eq!((votes.winner(), votes.highest()), (Some(address(2)), 2));
    }
}
