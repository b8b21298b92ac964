//! The addresses that this crate adds to a registry.

use std::sync::Arc;

use channel_layer::{ChannelLayer, registry::Scheme};

use crate::{config::SCHEMES, layer::RedisLayer};

/// For a [`Registry`](channel_layer::Registry): `redis`, `rediss`, `unix`, `redis+sentinel` and
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
