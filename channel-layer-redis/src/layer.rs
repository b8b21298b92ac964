//! The layer that callers see, in any mode, and its address schemes.

use std::{fmt, sync::Arc};

use channel_layer::{Result, delegate_layer, hub::Hub, registry::Scheme};

use crate::{
    config::{RedisConfig, RedisMode, SCHEMES},
    modes::{self, ModeLayer, core::CoreLayer},
    stats::Stats,
};

/// A layer over Redis.
///
#[doc = include_str!("docs/layer.md")]
pub struct RedisLayer(Arc<dyn ModeLayer>);

delegate_layer!([] RedisLayer, this => *this.0);

impl RedisLayer {
    /// Connects to the Redis at this address, in the syntax of [`RedisConfig`].
    ///
    /// # Errors
    /// [`Config`](channel_layer::Error::Config) for an invalid address;
    /// [`Unavailable`](channel_layer::Error::Unavailable) when the first connection fails.
    pub async fn connect(address: &str) -> Result<Self> {
        Self::open(address.parse()?).await
    }

    /// Connects with these settings.
    ///
    /// # Errors
    /// [`Unavailable`](channel_layer::Error::Unavailable) when the first connection fails.
    pub async fn open(config: RedisConfig) -> Result<Self> {
        let config = config.bounded();
        Ok(Self(match config.mode {
            RedisMode::Core => Arc::new(CoreLayer::open(config).await?),
            RedisMode::Native | RedisMode::PubSub => {
                Arc::new(modes::builder(&config.into()).connect().await?)
            }
        }))
    }

    /// Returns a layer that connects in the background, for programs that must start without Redis. Until it is connected,
    /// calls fail with [`Unavailable`](channel_layer::Error::Unavailable).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(config: RedisConfig) -> Self {
        let config = config.bounded();
        Self(match config.mode {
            RedisMode::Core => Arc::new(CoreLayer::start(config)),
            RedisMode::Native | RedisMode::PubSub => Arc::new(modes::builder(&config.into()).start()),
        })
    }

    /// The counters since the layer was created.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// The mailboxes and groups of this process.
    pub fn hub(&self) -> &Hub {
        self.0.hub()
    }

    /// Whether every host is currently connected.
    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }
}

/// Shows the state without addresses.
impl fmt::Debug for RedisLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The schemes of this crate for a [`Registry`](channel_layer::Registry): `redis`, `rediss`, `unix`, `redis+sentinel` and
/// `rediss+sentinel`, as [`RedisConfig`](crate::RedisConfig) understands them.
///
/// ```no_run
/// # async fn connect() -> channel_layer::Result<()> {
/// use channel_layer::Registry;
///
/// let registry = Registry::default().with(channel_layer_redis::schemes());
/// let layer = registry.connect("redis://127.0.0.1:6379/0?prefix=shop").await?;
/// # Ok(()) }
/// ```
pub fn schemes() -> impl Iterator<Item = Scheme> {
    SCHEMES
        .into_iter()
        .map(|name| Scheme::new(name, async |address| RedisLayer::connect(address.as_str()).await))
}
