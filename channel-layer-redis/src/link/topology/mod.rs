//! Which server to talk to, and whether it is still the right one.
//!
//! A cluster will be a third kind of host here: one that gives a server per slot.

mod sentinel;

use std::{future::pending, time::Duration};

use self::sentinel::MasterQuery;
use crate::{
    config::{HostConfig, RedisConfig, Server},
    error::CallError,
    link::client::{Command, Connection, Reply},
    stats::Counters,
};

/// The server that a host stands for at present.
pub(crate) async fn resolve(
    host: &HostConfig,
    config: &RedisConfig,
    counters: &Counters,
) -> Result<Server, CallError> {
    match host {
        HostConfig::Sentinel { sentinels, service, login } => {
            sentinel::master(sentinels, MasterQuery { service, config, counters }, login).await
        }
        HostConfig::Single(server) => Ok(server.clone()),
    }
}

/// Waits until the host stands for another server than `current`, and says so. Mostly for ever.
pub(crate) async fn moved(
    host: &HostConfig,
    config: &RedisConfig,
    current: &Server,
    counters: &Counters,
) -> CallError {
    match host {
        HostConfig::Sentinel { sentinels, service, login } => {
            sentinel::moved(sentinels, MasterQuery { service, config, counters }, login, current).await
        }
        HostConfig::Single(_) => pending().await,
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
) -> Result<(), CallError> {
    let role = |reply| Reply::list(reply)?.first()?.text().filter(|role| is_role(role));
    match connection.call(&Command::new("ROLE"), Some(limit)).await {
        Ok(reply) => match reply.read("ROLE", counters, role) {
            Ok(role) if is_replica(role) => Err(CallError::NotMaster(server.address.to_string())),
            // A role of no known name, or an answer without any, is counted; the probe still shows whether it passes
            // messages on.
            Ok(_) | Err(_) => Ok(()),
        },
        Err(CallError::Refused { code, .. }) if code != "LOADING" => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_replica(role: &str) -> bool {
    ["replica", "sentinel", "slave"].iter().any(|known| role.eq_ignore_ascii_case(known))
}

fn is_role(role: &str) -> bool {
    // KeyDB's active replica is one of several masters that follow one another and pass messages on.
    let is_master = ["active-replica", "master"].iter().any(|known| role.eq_ignore_ascii_case(known));
    is_master || is_replica(role)
}
