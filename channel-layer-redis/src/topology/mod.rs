//! Which server to talk to, and whether it is still the right one.
//!
//! A cluster will be a third kind of place here: one that gives a server per slot.

mod sentinel;

use std::{future::pending, time::Duration};

use crate::{
    client::{Command, Connection},
    config::{Place, RedisConfig, Server},
    error::Fault,
};

/// The server that a place stands for at present.
pub(crate) async fn resolve(place: &Place, config: &RedisConfig) -> Result<Server, Fault> {
    match place {
        Place::Sentinel { sentinels, service, login } => {
            sentinel::master(sentinels, service, login, config).await
        }
        Place::Single(server) => Ok(server.clone()),
    }
}

/// Waits until the place stands for another server than `current`, and says so. Mostly for ever.
pub(crate) async fn moved(place: &Place, config: &RedisConfig, current: &Server) -> Fault {
    match place {
        Place::Sentinel { sentinels, service, login } => {
            sentinel::moved(sentinels, service, login, config, current).await
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
) -> Result<(), Fault> {
    match connection.call(&Command::new("ROLE"), Some(limit)).await {
        Ok(reply) => match reply.list().and_then(|fields| fields.first()?.text()) {
            Some("master") => Ok(()),
            _ => Err(Fault::NotMaster(server.address.to_string())),
        },
        Err(Fault::Refused { code, .. }) if code != "LOADING" => Ok(()),
        Err(fault) => Err(fault),
    }
}
