//! Sentinels: who is the master, and when does that change?

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{sync::Notify, time::sleep};

use crate::{
    client::{Command, Connection, Push},
    config::{Address, Login, RedisConfig, Server},
    error::Fault,
};

/// How often a sentinel is asked, beside what it tells by itself: its word may be lost.
const POLL: Duration = Duration::from_secs(1);

/// The master, as most of the sentinels that answer see it.
pub(super) async fn master(
    sentinels: &[Server],
    service: &str,
    login: &Login,
    config: &RedisConfig,
) -> Result<Server, Fault> {
    let answers = join_all(sentinels.iter().map(|sentinel| ask(sentinel, service, config))).await;
    let known: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    let votes = |address: &Address| known.iter().filter(|known| **known == address).count();
    // The first of the best: one that was cut off and still names the old master is outvoted.
    match known.iter().rev().max_by_key(|address| votes(address)) {
        Some(address) => Ok(Server { address: (*address).clone(), login: login.clone() }),
        None => {
            let reason = answers.into_iter().find_map(Result::err).map(|fault| fault.to_string());
            let reason = reason.unwrap_or_default();
            Err(Fault::Unreachable(format!("no sentinel knows the master of `{service}`: {reason}")))
        }
    }
}

/// Waits until another server than `current` is the master.
pub(super) async fn moved(
    sentinels: &[Server],
    service: &str,
    login: &Login,
    config: &RedisConfig,
    current: &Server,
) -> Fault {
    loop {
        for sentinel in sentinels {
            // It ends when this sentinel names another master, or cannot be asked any more.
            let reason = listen(sentinel, service, config, current).await;
            tracing::debug!(sentinel = %sentinel.address, service, %reason, "asking all sentinels");
            match master(sentinels, service, login, config).await {
                Ok(server) if server.address != current.address => {
                    return Fault::NotMaster(current.address.to_string());
                }
                _ => sleep(POLL / 4).await,
            }
        }
    }
}

async fn listen(sentinel: &Server, service: &str, config: &RedisConfig, current: &Server) -> Fault {
    let news = Arc::new(Notify::new());
    let connection = match subscribe(sentinel, config, news.clone()).await {
        Ok(connection) => connection,
        Err(fault) => return fault,
    };
    loop {
        match query(&connection, sentinel, service, config).await {
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
    connection.subscribe(&["+switch-master".to_owned()], config.timeout).await?;
    Ok(connection)
}

async fn ask(sentinel: &Server, service: &str, config: &RedisConfig) -> Result<Address, Fault> {
    let connection = Connection::open(sentinel, config, Arc::new(|_| {})).await?;
    query(&connection, sentinel, service, config).await
}

async fn query(
    connection: &Connection,
    sentinel: &Server,
    service: &str,
    config: &RedisConfig,
) -> Result<Address, Fault> {
    let command = Command::new("SENTINEL").arg("get-master-addr-by-name").arg(service);
    let reply = connection.call(&command, Some(config.timeout)).await?;
    let unknown = || Fault::Unreachable(format!("a sentinel does not know `{service}`"));
    let fields = reply.list().ok_or_else(unknown)?;
    let host = fields.first().and_then(|field| field.text()).ok_or_else(unknown)?;
    let port = fields.get(1).and_then(|field| field.text()?.parse().ok()).ok_or_else(unknown)?;
    Ok(Address::Tcp { host: host.to_owned(), port, tls: sentinel.address.is_tls() })
}
