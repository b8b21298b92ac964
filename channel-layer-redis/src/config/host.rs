//! Hosts and servers. Each name of a layer belongs to one of its hosts.

use std::{fmt, path::PathBuf};

use super::secret::Secret;

/// The configuration of one host, to which a share of the names belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostConfig {
    /// The master of this name, as the sentinels report it.
    Sentinel { sentinels: Vec<Server>, service: String, login: Login },
    /// A fixed server.
    Single(Server),
}

impl HostConfig {
    /// Whether it is reached over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::Sentinel { sentinels, .. } => sentinels.iter().any(|sentinel| sentinel.address.is_tls()),
            Self::Single(server) => server.address.is_tls(),
        }
    }
}

/// A server and the login there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) address: ServerAddress,
    pub(crate) login: Login,
}

/// The credentials and the database at a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) database: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

/// For logs: contains no secrets.
impl fmt::Display for HostConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sentinel { service, .. } => write!(f, "{service}, as the sentinels report it"),
            Self::Single(server) => server.address.fmt(f),
        }
    }
}

impl ServerAddress {
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }
}

/// For logs: contains no secrets.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}
