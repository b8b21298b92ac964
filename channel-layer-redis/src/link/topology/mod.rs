//! The server of a host: found before connecting, and checked afterwards.

mod sentinel;

use std::{future::pending, time::Duration};

use self::sentinel::MasterQuery;
use crate::{
    config::{HostConfig, RedisConfig, Server},
    error::CallError,
    link::client::{Command, Connection, Reply},
    stats::Counters,
};

/// The current server of a host.
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

/// Waits until the host has another server than `current`, and returns the error for it. Mostly never resolves.
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

/// Fails unless the server is a master: a replica accepts a `PUBLISH` but does not forward it.
///
/// Also checks that the server replies. A server that forbids or lacks `ROLE` counts as a master.
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
            // An unknown role, or a reply without one, is counted. The probe still shows whether the server forwards messages.
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
    // An active replica of KeyDB is one of several masters that replicate each other and forward messages.
    let is_master = ["active-replica", "master"].iter().any(|known| role.eq_ignore_ascii_case(known));
    is_master || is_replica(role)
}
