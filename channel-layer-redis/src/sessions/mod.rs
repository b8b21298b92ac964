//! Browser sessions in Redis: a store of tower-sessions over the supervised connections of this crate.

mod link;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use channel_layer::LayerConfig;
use futures_util::future::try_join_all;
use tower_sessions_core::{
    SessionStore,
    session::{Id, Record},
    session_store::{Error, Result},
};

use self::link::{SessionHost, key_prefix};
use crate::{
    config::RedisConfig,
    error::CallError,
    format::shard_of,
    link::client::{Command, Reply},
    stats::{self, Counters, Stats},
};

/// The default limit of a session's bytes.
const MAX_BYTES: usize = 64 << 10;

/// The number of ids that a new session tries. One of 128 random bits is always free; more than one is for a store that
/// another program fills.
const ATTEMPTS: usize = 4;

/// A store of browser sessions in Redis (feature `sessions`), for `Sessions` of `ws-consumer`, and for everything else that
/// takes a store of the crate `tower-sessions`: it implements [`SessionStore`] of tower-sessions-core 0.15. Clones share the
/// store and its connections.
///
/// ```no_run
/// # async fn run() -> channel_layer::Result<()> {
/// use channel_layer_redis::RedisSessionStore;
///
/// let store = RedisSessionStore::connect("redis://127.0.0.1:6379/0?prefix=shop").await?;
/// # Ok(()) }
/// ```
///
/// # Data
///
/// A session is one key, `session:PREFIX:ID`, with the record in JSON. Redis removes it when the record expires. A layer with
/// the same address may be beside it: a flush of the layer leaves sessions alone.
///
/// The addresses are those of [`RedisConfig`], with several servers, sentinels and TLS; of its settings, `prefix`, `timeout`,
/// `connect_timeout`, `heartbeat` and those of TLS have a meaning here. With several hosts, each session belongs to one of
/// them.
///
/// # Guarantees
///
/// | | |
/// |---|---|
/// | a new session | never overwrites another: it gets another id if its id exists |
/// | saving | changes only a session that exists: one that was ended elsewhere in the meantime is not restored, and the call fails. So this store cannot be the cache of a `CachingSessionStore` |
/// | size | at most 64 KiB in JSON, read or written: [`with_max_bytes`](Self::with_max_bytes) |
/// | every call | has the deadline `timeout` (1 s), and fails at once while Redis is out of reach |
/// | a call times out, or its connection breaks | it may have taken effect; it is not repeated |
/// | Redis restarts, fails over, freezes | connections return by themselves, as those of a layer do |
///
/// # Errors
///
/// Those of tower-sessions: `Encode` for a session that is too large, `Decode` for a record that cannot be read, and `Backend`
/// for everything else, with a text that contains neither data nor a password.
#[derive(Clone)]
pub struct RedisSessionStore {
    hosts: Arc<[SessionHost]>,
    counters: Arc<Counters>,
    key_prefix: String,
    max_bytes: usize,
}

impl RedisSessionStore {
    /// Connects to the Redis at this address, in the syntax of [`RedisConfig`].
    ///
    /// # Errors
    /// [`Config`](channel_layer::Error::Config) for an invalid address; [`Unavailable`](channel_layer::Error::Unavailable) when
    /// the first connection fails.
    pub async fn connect(address: &str) -> channel_layer::Result<Self> {
        Self::open(address.parse()?).await
    }

    /// Connects with these settings.
    ///
    /// # Errors
    /// [`Unavailable`](channel_layer::Error::Unavailable) when the first connection fails.
    pub async fn open(config: RedisConfig) -> channel_layer::Result<Self> {
        let store = Self::start(config);
        try_join_all(store.hosts.iter().map(SessionHost::connected)).await?;
        Ok(store)
    }

    /// Returns a store that connects in the background, for programs that must start without Redis. Until it is connected,
    /// calls fail.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(config: RedisConfig) -> Self {
        let (config, counters) = (Arc::new(config.bounded()), stats::counters());
        let hosts = config.hosts.iter().map(|host| SessionHost::start(host, &config, &counters)).collect();
        Self { hosts, counters, key_prefix: key_prefix(&config), max_bytes: MAX_BYTES }
    }

    /// Sets the limit of a session's bytes in JSON. Default: 64 KiB.
    pub fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Whether every host is currently connected.
    pub fn is_connected(&self) -> bool {
        self.hosts.iter().all(SessionHost::is_connected)
    }

    /// The counters since the store was created: those of its connections, and of records and replies that could not be read.
    pub fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    fn key(&self, id: &Id) -> String {
        format!("{}{id}", self.key_prefix)
    }

    /// Sends a command to the host of a session.
    async fn call(&self, id: &Id, command: Command) -> Result<Reply> {
        let host = &self.hosts[shard_of(&id.to_string(), self.hosts.len())];
        host.call(command).await.map_err(failed)
    }

    /// Writes a record if its key exists (`XX`) or if it does not (`NX`). Returns whether it was written.
    async fn set(&self, record: &Record, condition: &str) -> Result<bool> {
        let body = serde_json::to_vec(record).map_err(|error| Error::Encode(error.to_string()))?;
        let limit = self.max_bytes;
        if body.len() > limit {
            return Err(Error::Encode(format!("a session of {} bytes, more than {limit}", body.len())));
        }
        let set = Command::new("SET").arg(self.key(&record.id)).arg(body).arg(condition);
        let set = set.arg("PX").arg(lifetime(record));
        let written = |reply: &Reply| match reply {
            Reply::Nil => Some(false),
            reply => (reply.text() == Some("OK")).then_some(true),
        };
        self.call(&record.id, set).await?.read("SET", &self.counters, written).map_err(failed)
    }
}

#[async_trait]
impl SessionStore for RedisSessionStore {
    async fn create(&self, record: &mut Record) -> Result<()> {
        for _ in 0..ATTEMPTS {
            if self.set(record, "NX").await? {
                return Ok(());
            }
            record.id = Id::default();
        }
        Err(Error::Backend("no free id for a session".to_owned()))
    }

    async fn save(&self, record: &Record) -> Result<()> {
        match self.set(record, "XX").await? {
            true => Ok(()),
            false => Err(Error::Backend("the session has been ended elsewhere".to_owned())),
        }
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        // One byte more than a session may have: a longer value of another program is not read as a whole.
        let limit = self.max_bytes;
        let read = Command::new("GETRANGE").arg(self.key(id)).arg(0).arg(limit);
        let reply = self.call(id, read).await?;
        let body = match &reply {
            Reply::Nil => return Ok(None),
            reply => reply.read("GETRANGE", &self.counters, Reply::bytes).map_err(failed)?,
        };
        if body.is_empty() {
            return Ok(None); // as of a key that does not exist
        }
        match serde_json::from_slice::<Record>(body) {
            Ok(record) if body.len() <= limit && record.id == *id => Ok(Some(record).filter(is_alive)),
            outcome => {
                let reason = outcome.err().map_or("too long, or another session's".to_owned(), |error| {
                    format!("a malformed record in line {}", error.line())
                });
                self.counters.note_unreadable("a session", &reason);
                Err(Error::Decode(reason))
            }
        }
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.call(id, Command::new("DEL").arg(self.key(id))).await.map(drop)
    }
}

/// The remaining lifetime in milliseconds, as Redis accepts it: at least one, at most a hundred years.
fn lifetime(record: &Record) -> u64 {
    let left = Duration::try_from(record.expiry_date - SystemTime::now()).unwrap_or_default();
    u64::try_from(left.min(LayerConfig::LONGEST).as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Whether the record has not expired by the clock of this process.
fn is_alive(record: &Record) -> bool {
    record.expiry_date > SystemTime::now()
}

fn failed(error: CallError) -> Error {
    Error::Backend(error.to_string())
}

/// Shows the hosts, without a password.
impl fmt::Debug for RedisSessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSessionStore")
            .field("hosts", &self.hosts)
            .field("key_prefix", &self.key_prefix)
            .finish_non_exhaustive()
    }
}
