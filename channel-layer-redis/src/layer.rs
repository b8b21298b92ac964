//! The layer that callers see, in any mode, and its address schemes.

use std::{fmt, sync::Arc};

use channel_layer::{ChannelLayer, Result, delegate_layer, hub::Hub, registry::Scheme};

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
    /// Connects to the Redis at this address: see [`RedisConfig`] for what it may say.
    ///
    /// # Errors
    /// [`Config`](channel_layer::Error::Config) for an address that makes no sense;
    /// [`Unavailable`](channel_layer::Error::Unavailable) when no connection can be made at first.
    pub async fn connect(address: &str) -> Result<Self> {
        Self::open(address.parse()?).await
    }

    /// As [`connect`](Self::connect), with all settings.
    ///
    /// # Errors
    /// [`Unavailable`](channel_layer::Error::Unavailable) when no connection can be made at first.
    pub async fn open(config: RedisConfig) -> Result<Self> {
        let config = config.bounded();
        Ok(Self(match config.mode {
            RedisMode::Core => Arc::new(CoreLayer::open(config).await?),
            RedisMode::Native | RedisMode::PubSub => {
                Arc::new(modes::builder(&config.into()).connect().await?)
            }
        }))
    }

    /// A layer that connects in the background, and whose calls are
    /// [`Unavailable`](channel_layer::Error::Unavailable) until it has: for programs that must start while Redis is
    /// away.
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

    /// The numbers since the layer was made.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// The mailboxes and groups of this process.
    pub fn hub(&self) -> &Hub {
        self.0.hub()
    }

    /// Whether every host is connected at this moment.
    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }
}

/// Shows the state, and no address.
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
    SCHEMES.into_iter().map(|name| {
        Scheme::new(name, async |address| {
            let layer = RedisLayer::connect(address.as_str()).await?;
            Ok(Arc::new(layer) as Arc<dyn ChannelLayer>)
        })
    })
}
