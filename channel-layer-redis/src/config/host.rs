//! One server, and one place of several where a name may have its home.

use std::{fmt, path::PathBuf};

use super::secret::Secret;

/// Where one share of the names lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostConfig {
    /// The master of this name, as the sentinels say.
    Sentinel { sentinels: Vec<Server>, service: String, login: Login },
    /// A server that does not move.
    Single(Server),
}

impl HostConfig {
    /// Is it reached over TLS?
    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::Sentinel { sentinels, .. } => sentinels.iter().any(|sentinel| sentinel.address.is_tls()),
            Self::Single(server) => server.address.is_tls(),
        }
    }
}

/// One server and how to log in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) login: Login,
}

/// Who we are for a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) database: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

/// For logs: holds no secrets.
impl fmt::Display for HostConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sentinel { service, .. } => write!(f, "{service}, as the sentinels say"),
            Self::Single(server) => server.address.fmt(f),
        }
    }
}

impl Address {
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }
}

/// For logs: holds no secrets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}
