//! The settings of a layer, and their defaults.

use std::time::Duration;

use channel_layer::{LayerConfig, backbone::HubOptions};

use super::{host::HostConfig, mode::RedisMode, tls::TlsConfig};
use crate::format::{Keyring, MessageCodec};

/// The settings of a [`RedisLayer`](crate::RedisLayer).
///
/// An address with a setting out of bounds is refused. A setting made by hand is moved to the nearest bound. Times are at
/// most a hundred years ([`LayerConfig::LONGEST`]) and, except for `expiry`, `group_expiry` and `linger`, at least a
/// millisecond. The longest message has at least 512 bytes.
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
/// | `redis://HOST1:PORT,HOST2:PORT/DB` | several independent servers; each name belongs to one of them |
/// | `rediss://...` | the same over TLS (feature `tls`) |
/// | `unix:///path/of.sock?db=0` | a Unix socket |
/// | `redis+sentinel://HOST1:PORT,HOST2:PORT/SERVICE[,SERVICE2][/DB]` | the masters that these sentinels report |
/// | `rediss+sentinel://...` | the same over TLS, sentinels included |
///
/// Options follow after `?`: those of [`memory://`](channel_layer::Registry), with the same meaning, and
///
/// | option | example | |
/// |---|---|---|
/// | `mode` | `core` | the mode: [`with_mode`](Self::with_mode) |
/// | `prefix` | `shop` | [`with_prefix`](Self::with_prefix) |
/// | `serializer_format` | `json` | [`with_serializer_format`](Self::with_serializer_format) |
/// | `symmetric_encryption_keys` | `secret` | may be repeated: [`with_symmetric_encryption_keys`](Self::with_symmetric_encryption_keys) |
/// | `random_prefix_length` | `8` | [`with_random_prefix_length`](Self::with_random_prefix_length) |
/// | `host` | `redis://b/1` | may be repeated: [`and_host`](Self::and_host) |
/// | `timeout`, `connect_timeout` | `1s` | [`with_timeout`](Self::with_timeout), [`with_connect_timeout`](Self::with_connect_timeout) |
/// | `heartbeat`, `probe` | `500ms` | [`with_heartbeat`](Self::with_heartbeat), [`with_probe`](Self::with_probe) |
/// | `linger` | `2s` | [`with_linger`](Self::with_linger) |
/// | `max_message` | `1048576` | [`with_max_message`](Self::with_max_message) |
/// | `db`, `username`, `password` | `3` | for the servers of the address; `db` overrides its path, the login before its `@` overrides these |
/// | `ssl_ca_certs` | `/etc/ssl/ours.pem` | a file for [`with_root_certificate`](Self::with_root_certificate), under redis-py's name |
/// | `ssl_certfile`, `ssl_keyfile` | `/etc/ssl/us.pem` | files for [`with_client_certificate`](Self::with_client_certificate) |
/// | `ssl_cert_reqs` | `none` | `none` for [`with_unverified_servers`](Self::with_unverified_servers) |
/// | `sentinel_username`, `sentinel_password` | | the login at the sentinels |
#[derive(Clone, Debug)]
pub struct RedisConfig {
    pub(crate) hosts: Vec<HostConfig>,
    pub(crate) prefix: String,
    pub(crate) hub: HubOptions,
    pub(crate) tls: TlsConfig,
    pub(crate) mode: RedisMode,
    pub(crate) codec: MessageCodec,
    pub(crate) keys: Keyring,
    pub(crate) random_prefix_length: usize,
}

impl RedisConfig {
    pub(super) fn new(hosts: Vec<HostConfig>) -> Self {
        Self {
            hosts,
            prefix: "asgi".to_owned(),
            hub: HubOptions::default(),
            tls: TlsConfig::default(),
            mode: RedisMode::default(),
            codec: MessageCodec::default(),
            keys: Keyring::default(),
            random_prefix_length: 12,
        }
    }

    /// Moves every setting to its nearest bound.
    pub(crate) fn bounded(self) -> Self {
        Self { hub: self.hub.bounded(), ..self }
    }

    /// Sets the prefix of every key and channel in Redis. Layers with different prefixes are separate. Default: `asgi`.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets everything that all layers have in common: capacities, expiry, group expiry and overflow policy.
    pub fn with_layer_config(mut self, config: LayerConfig) -> Self {
        self.hub.layer = config;
        self
    }

    /// Sets the number of unread messages that a channel holds. Default: 100.
    pub fn with_capacity(mut self, messages: usize) -> Self {
        self.hub.layer.capacity = messages;
        self
    }

    /// Sets the bytes of unread messages that a mailbox holds. Default: 1 MiB.
    pub fn with_byte_capacity(mut self, bytes: usize) -> Self {
        self.hub.layer.byte_capacity = bytes;
        self
    }

    /// Sets the time for which an unread message is kept. Default: 60 s.
    pub fn with_expiry(mut self, expiry: Duration) -> Self {
        self.hub.layer.expiry = expiry;
        self
    }

    /// Sets the time for which a named channel remains in a group after the last `group_add`. Default: one day.
    pub fn with_group_expiry(mut self, expiry: Duration) -> Self {
        self.hub.layer.group_expiry = expiry;
        self
    }

    /// Sets the deadline of a command, after which its connection counts as broken. Default: 1 s, which is far above what
    /// Redis needs, and short enough to detect a frozen server before users do.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.hub.timeout = timeout;
        self
    }

    /// Sets the deadline for connecting, TLS and login included. Default: 1 s.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.hub.connect_timeout = timeout;
        self
    }

    /// Sets the interval at which both connections are pinged. Default: 0.5 s; with the timeout, a dead link is detected after
    /// 1.5 s.
    pub fn with_heartbeat(mut self, every: Duration) -> Self {
        self.hub.heartbeat = every;
        self
    }

    /// Sets the interval at which a probe is sent through Redis and back. Default: 5 s.
    pub fn with_probe(mut self, every: Duration) -> Self {
        self.hub.probe = every;
        self
    }

    /// Sets the time by which the subscription of a group outlives its last member in this process. Default: 2 s; a page that
    /// is reloaded costs no round trip.
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.hub.linger = linger;
        self
    }

    /// Sets the size limit of messages that are sent or read, in bytes on the wire. Default: 16 MiB; decoded, a hostile
    /// message takes up to thirty times its bytes. At least 512 bytes.
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.hub.max_message = bytes;
        self
    }

    /// Trusts these certificate authorities (PEM) for TLS instead of the system's.
    pub fn with_root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.root = Some(pem.into());
        self
    }

    /// Presents this certificate with its chain to servers that ask for one. Both arguments are PEM.
    pub fn with_client_certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.client = Some((chain.into(), key.into()));
        self
    }

    /// Accepts any certificate of a server, as `ssl_cert_reqs=None` does in Python: the traffic is encrypted,
    /// but an attacker between client and server can still read it.
    pub fn with_unverified_servers(mut self) -> Self {
        self.tls.is_unverified = true;
        self
    }
}
