//! Sentinels: who is the master, and when does that change?

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{sync::Notify, time::sleep};

use crate::{
    config::{Address, Login, RedisConfig, Server},
    error::Fault,
    link::client::{Command, Connection, Push, Reply},
    stats::Counters,
};

/// The interval at which a sentinel is asked, in addition to its own announcements, which may be lost.
const POLL: Duration = Duration::from_secs(1);

/// The parameters of a question to the sentinels.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) service: &'a str,
    pub(super) config: &'a RedisConfig,
    pub(super) counters: &'a Counters,
}

/// Returns the master according to most of the sentinels that answer. Does not wait for the others once a
/// majority of all agrees: a lost machine takes its sentinel with it.
pub(super) async fn master(
    sentinels: &[Server],
    question: Question<'_>,
    login: &Login,
) -> Result<Server, Fault> {
    let ask = async |at: usize| (at, ask(&sentinels[at], question).await);
    let mut answers: FuturesUnordered<_> = (0..sentinels.len()).map(ask).collect();
    let (mut votes, mut trouble) = (Votes::default(), None);
    while let Some((at, answer)) = answers.next().await {
        match answer {
            Ok(address) => votes.cast(at, address),
            Err(fault) => trouble = trouble.or(Some(fault)),
        }
        if votes.most() > sentinels.len() / 2 {
            break;
        }
    }
    match votes.winner() {
        Some(address) => Ok(Server { address, login: login.clone() }),
        None => {
            let reason = trouble.map(|fault| fault.to_string()).unwrap_or_default();
            let service = question.service;
            Err(Fault::Unreachable(format!("no sentinel knows the master of `{service}`: {reason}")))
        }
    }
}

/// The answers of sentinels, each under its position among them.
#[derive(Debug, Default)]
struct Votes(BTreeMap<usize, Address>);

impl Votes {
    fn cast(&mut self, at: usize, address: Address) {
        self.0.insert(at, address);
    }

    /// The first of the best: a sentinel that was cut off and still names the old master is outvoted.
    fn winner(&self) -> Option<Address> {
        self.0.values().rev().max_by_key(|address| self.count(address)).cloned()
    }

    /// The number of sentinels that agree, at most.
    fn most(&self) -> usize {
        self.0.values().map(|address| self.count(address)).max().unwrap_or(0)
    }

    fn count(&self, address: &Address) -> usize {
        self.0.values().filter(|known| *known == address).count()
    }
}

/// Waits until another server than `current` is the master.
pub(super) async fn moved(
    sentinels: &[Server],
    question: Question<'_>,
    login: &Login,
    current: &Server,
) -> Fault {
    loop {
        for sentinel in sentinels {
            // It ends when this sentinel names another master, or cannot be asked any more.
            let reason = listen(sentinel, question, current).await;
            tracing::debug!(sentinel = %sentinel.address, service = question.service, %reason, "asking all sentinels");
            match master(sentinels, question, login).await {
                Ok(server) if server.address != current.address => {
                    return Fault::NotMaster(current.address.to_string());
                }
                _ => sleep(POLL / 4).await,
            }
        }
    }
}

async fn listen(sentinel: &Server, question: Question<'_>, current: &Server) -> Fault {
    let news = Arc::new(Notify::new());
    let connection = match subscribe(sentinel, question.config, news.clone()).await {
        Ok(connection) => connection,
        Err(fault) => return fault,
    };
    loop {
        match query(&connection, sentinel, question).await {
            Ok(address) if address == current.address => {}
            Ok(address) => return Fault::NotMaster(format!("{}, but {address}", current.address)),
            Err(fault) => return fault,
        }
        tokio::select! {
            () = news.notified() => {}
            () = sleep(POLL) => {}
        }
    }
}

async fn subscribe(sentinel: &Server, config: &RedisConfig, news: Arc<Notify>) -> Result<Connection, Fault> {
    // Whatever it says, and its end too, is a reason to ask.
    let on_push = Arc::new(move |_: Push| news.notify_one());
    let connection = Connection::open(sentinel, config, on_push).await?;
    connection.subscribe(&["+switch-master".to_owned()], config.hub.timeout).await?;
    Ok(connection)
}

async fn ask(sentinel: &Server, question: Question<'_>) -> Result<Address, Fault> {
    let connection = Connection::open(sentinel, question.config, Arc::new(|_| {})).await?;
    query(&connection, sentinel, question).await
}

async fn query(
    connection: &Connection,
    sentinel: &Server,
    Question { service, config, counters }: Question<'_>,
) -> Result<Address, Fault> {
    let command = Command::new("SENTINEL").arg("get-master-addr-by-name").arg(service);
    let reply = connection.call(&command, Some(config.hub.timeout)).await?;
    let Some((host, port)) = reply.read("SENTINEL get-master-addr-by-name", counters, named)? else {
        return Err(Fault::Unreachable(format!("a sentinel does not know `{service}`")));
    };
    Ok(Address::Tcp { host: host.to_owned(), port, tls: sentinel.address.is_tls() })
}

/// Host and port; nothing if the sentinel knows none.
fn named(reply: &Reply) -> Option<Option<(&str, u16)>> {
    match reply.list()? {
        [] => Some(None),
        [host, port, ..] => Some(Some((host.text()?, u16::try_from(port.integer()?).ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        Address::Tcp { host: "h".to_owned(), port, tls: false }
    }

    #[test]
    fn most_sentinels_decide_and_else_the_first_that_is_named() {
        let mut votes = Votes::default();
        assert_eq!((votes.winner(), votes.most()), (None, 0));
        votes.cast(2, address(2));
        votes.cast(0, address(1));
        assert_eq!((votes.winner(), votes.most()), (Some(address(1)), 1), "whoever answers first");
        votes.cast(1, address(2));
        assert_eq!((votes.winner(), votes.most()), (Some(address(2)), 2));
    }
}
