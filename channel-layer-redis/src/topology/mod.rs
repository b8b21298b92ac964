//! Which server to talk to, and whether it is still the right one.
//!
//! A cluster will be a third kind of place here: one that gives a server per slot.

mod sentinel;

use std::{future::pending, time::Duration};

use self::sentinel::Question;
use crate::{
    client::{Command, Connection, Reply},
    config::{Place, RedisConfig, Server},
    error::Fault,
    stats::Counters,
};

/// The server that a place stands for at present.
pub(crate) async fn resolve(
    place: &Place,
    config: &RedisConfig,
    counters: &Counters,
) -> Result<Server, Fault> {
    match place {
        Place::Sentinel { sentinels, service, login } => {
            sentinel::master(sentinels, Question { service, config, counters }, login).await
        }
        Place::Single(server) => Ok(server.clone()),
    }
}

/// Waits until the place stands for another server than `current`, and says so. Mostly for ever.
pub(crate) async fn moved(
    place: &Place,
    config: &RedisConfig,
    current: &Server,
    counters: &Counters,
) -> Fault {
    match place {
        Place::Sentinel { sentinels, service, login } => {
            sentinel::moved(sentinels, Question { service, config, counters }, login, current).await
        }
        Place::Single(_) => pending().await,
    }
}

/// Fails unless the server is a master: a replica accepts a `PUBLISH` and tells nobody else.
///
/// Also shows that the server answers. One that forbids the question, or does not know it, passes.
pub(crate) async fn check_role(
    connection: &Connection,
    server: &Server,
    limit: Duration,
    counters: &Counters,
) -> Result<(), Fault> {
    let role = |reply| Reply::list(reply)?.first()?.text();
    match connection.call(&Command::new("ROLE"), Some(limit)).await {
        Ok(reply) => match reply.read("ROLE", counters, role) {
            // KeyDB: each of several masters that follow one another, and which pass messages on.
            Ok("master" | "active-replica") => Ok(()),
            Ok(_) => Err(Fault::NotMaster(server.address.to_string())),
            Err(_) => Ok(()), // counted; the probe still shows whether it passes messages on
        },
        Err(Fault::Refused { code, .. }) if code != "LOADING" => Ok(()),
        Err(fault) => Err(fault),
    }
}
