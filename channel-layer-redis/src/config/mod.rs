//! Where Redis is and how the layer is to use it: from an address, or built by hand.

mod django;
mod host;
mod secret;
mod tls;
mod url;

use std::{str::FromStr, time::Duration};

use channel_layer::{Error, LayerConfig, backbone::HubOptions};

pub use self::django::RedisMode;
pub(crate) use self::{
    host::{Address, HostConfig, Login, Server},
    tls::TlsConfig,
    url::SCHEMES,
};
use crate::format::{Keyring, Serializer};

/// Everything a Redis layer can be told.
///
/// An address that holds a setting out of bounds is refused. By hand, it is moved to the nearest bound: times to a
/// hundred years ([`LayerConfig::LONGEST`]) and, but for `expiry`, `group_expiry` and `linger`, to a millisecond; the
/// longest message to 512 bytes at least.
///
/// ```
/// use std::time::Duration;
/// use channel_layer_redis::RedisConfig;
///
/// let config: RedisConfig = "redis://:secret@10.0.0.5:6379/0?prefix=shop&capacity=200".parse()?;
/// let config = config.with_expiry(Duration::from_secs(10));
/// assert!(!format!("{config:?}").contains("secret"));
/// # Ok::<(), channel_layer::Error>(())
/// ```
///
/// # Addresses
///
/// | address | meaning |
/// |---|---|
/// | `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` | one server |
/// | `redis://HOST1:PORT,HOST2:PORT/DB` | several independent servers; each name has its home on one of them |
/// | `rediss://...` | the same over TLS (feature `tls`) |
/// | `unix:///path/of.sock?db=0` | a Unix socket |
/// | `redis+sentinel://HOST1:PORT,HOST2:PORT/SERVICE[,SERVICE2][/DB]` | the masters that these sentinels name |
/// | `rediss+sentinel://...` | the same over TLS, sentinels included |
///
/// Options follow after `?`: all those of [`memory://`](channel_layer::Registry), with the same meaning, and
///
/// | option | example | |
/// |---|---|---|
/// | `mode` | `core` | who else understands the messages: [`with_mode`](Self::with_mode) |
/// | `prefix` | `shop` | [`with_prefix`](Self::with_prefix) |
/// | `serializer_format` | `json` | [`with_serializer_format`](Self::with_serializer_format) |
/// | `symmetric_encryption_keys` | `secret` | may be repeated: [`with_symmetric_encryption_keys`](Self::with_symmetric_encryption_keys) |
/// | `random_prefix_length` | `8` | [`with_random_prefix_length`](Self::with_random_prefix_length) |
/// | `host` | `redis://b/1` | may be repeated: [`and_host`](Self::and_host) |
/// | `timeout`, `connect_timeout` | `1s` | [`with_timeout`](Self::with_timeout), [`with_connect_timeout`](Self::with_connect_timeout) |
/// | `heartbeat`, `probe` | `500ms` | [`with_heartbeat`](Self::with_heartbeat), [`with_probe`](Self::with_probe) |
/// | `linger` | `2s` | [`with_linger`](Self::with_linger) |
/// | `max_message` | `1048576` | [`with_max_message`](Self::with_max_message) |
/// | `db`, `username`, `password` | `3` | for the servers of the address; `db` counts more than its path, the login before its `@` more than these |
/// | `ssl_ca_certs` | `/etc/ssl/ours.pem` | a file for [`with_root_certificate`](Self::with_root_certificate), under redis-py's name |
/// | `ssl_certfile`, `ssl_keyfile` | `/etc/ssl/us.pem` | files for [`with_client_certificate`](Self::with_client_certificate) |
/// | `ssl_cert_reqs` | `none` | `none` for [`with_unverified_servers`](Self::with_unverified_servers) |
/// | `sentinel_username`, `sentinel_password` | | who we are for the sentinels |
#[derive(Clone, Debug)]
pub struct RedisConfig {
    pub(crate) places: Vec<HostConfig>,
    pub(crate) prefix: String,
    pub(crate) hub: HubOptions,
    pub(crate) tls: TlsConfig,
    pub(crate) mode: RedisMode,
    pub(crate) serializer: Serializer,
    pub(crate) keys: Keyring,
    pub(crate) random_prefix_length: usize,
}

impl RedisConfig {
    fn at(places: Vec<HostConfig>) -> Self {
        Self {
            places,
            prefix: "asgi".to_owned(),
            hub: HubOptions::default(),
            tls: TlsConfig::default(),
            mode: RedisMode::default(),
            serializer: Serializer::default(),
            keys: Keyring::default(),
            random_prefix_length: 12,
        }
    }

    /// Moves every setting to its nearest bound.
    pub(crate) fn bounded(self) -> Self {
        Self { hub: self.hub.bounded(), ..self }
    }

    /// The beginning of every key and channel in Redis: layers with different prefixes never meet. `asgi`.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Everything that layers have in common in one go: capacities, expiry, group expiry and policy.
    pub fn with_layer_config(mut self, config: LayerConfig) -> Self {
        self.hub.layer = config;
        self
    }

    /// Unread messages that a channel holds. 100.
    pub fn with_capacity(mut self, messages: usize) -> Self {
        self.hub.layer.capacity = messages;
        self
    }

    /// Bytes of unread messages that a mailbox holds. 1 MiB.
    pub fn with_byte_capacity(mut self, bytes: usize) -> Self {
        self.hub.layer.byte_capacity = bytes;
        self
    }

    /// How long an unread message is kept. 60 s.
    pub fn with_expiry(mut self, expiry: Duration) -> Self {
        self.hub.layer.expiry = expiry;
        self
    }

    /// How long a named channel stays in a group after the last `group_add`. A day.
    pub fn with_group_expiry(mut self, expiry: Duration) -> Self {
        self.hub.layer.group_expiry = expiry;
        self
    }

    /// How long one command may take before the connection counts as broken. 1 s: far above what Redis needs,
    /// and short enough that a frozen server is noticed before users do.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.hub.timeout = timeout;
        self
    }

    /// How long connecting may take, TLS and login included. 1 s.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.hub.connect_timeout = timeout;
        self
    }

    /// How often both connections are pinged. 0.5 s: with the timeout, a dead link is known after 1.5 s.
    pub fn with_heartbeat(mut self, every: Duration) -> Self {
        self.hub.heartbeat = every;
        self
    }

    /// How often a message is sent all the way through Redis and back. 5 s.
    pub fn with_probe(mut self, every: Duration) -> Self {
        self.hub.probe = every;
        self
    }

    /// How long the subscription of a group outlives its last member here. 2 s: a page that is loaded anew
    /// costs no round trip.
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.hub.linger = linger;
        self
    }

    /// The longest message, in bytes on the wire, that is sent or read. 16 MiB: decoded, a hostile message takes
    /// up to thirty times its bytes. At least 512 bytes.
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.hub.max_message = bytes;
        self
    }

    /// Trusts this certificate authority, or these (PEM), instead of the system's, for TLS.
    pub fn with_root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.root = Some(pem.into());
        self
    }

    /// Shows this certificate with its chain to servers that ask for one; both in PEM.
    pub fn with_client_certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.client = Some((chain.into(), key.into()));
        self
    }

    /// Takes any certificate of a server, as `ssl_cert_reqs=None` does in Python: the traffic is encrypted,
    /// but an attacker in between can still read it.
    pub fn with_unverified_servers(mut self) -> Self {
        self.tls.is_unverified = true;
        self
    }
}

impl FromStr for RedisConfig {
    type Err = Error;

    fn from_str(address: &str) -> Result<Self, Error> {
        url::parse(address)
    }
}

impl TryFrom<&str> for RedisConfig {
    type Error = Error;

    fn try_from(address: &str) -> Result<Self, Error> {
        url::parse(address)
    }
}
