//! Layers by address and by name: [`Registry`].

mod options;
mod schemes;

use std::{collections::BTreeMap, fmt, sync::Arc};

use tokio::sync::OnceCell;

pub use self::{
    options::Options,
    schemes::{Address, Scheme},
};
use crate::{
    error::{ConfigError, Result},
    ext::ChannelLayerExt,
    layer::ChannelLayer,
    sync::{Mutex, MutexGuard, lock},
};

/// Makes layers from addresses such as `memory://?capacity=200&expiry=30s`, and keeps them by name, as
/// `CHANNEL_LAYERS` does in Django Channels. A value, not a global, so that tests can have a separate registry.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> channel_layer::Result<()> {
/// use channel_layer::{ChannelLayer, MemoryLayer, registry::Registry};
///
/// let registry = Registry::default()
///     .with_alias("default", "memory://?capacity=200&expiry=30s")
///     .with_alias("jobs", "memory://?channel_capacity=thumbnails.*:10000");
/// let layer = registry.layer("default").await?;
/// layer.health().await?;
///
/// // for a test
/// registry.set("default", MemoryLayer::default());
///
/// let unknown = registry.connect("memory://?capcity=200").await.unwrap_err();
/// assert!(unknown.to_string().starts_with("unknown option `capcity` (known: capacity, "));
/// # Ok(()) }
/// ```
///
/// # Options of `memory://`
///
/// | option | example | |
/// |---|---|---|
/// | `capacity` | `200` | [`capacity`](crate::LayerConfig::capacity), in messages |
/// | `byte_capacity` | `65536` | [`byte_capacity`](crate::LayerConfig::byte_capacity) |
/// | `channel_capacity` | `jobs.*:1000` | a [glob](crate::CapacityRules::glob) and its capacity; may be repeated, the first match wins |
/// | `expiry` | `30s` | [`expiry`](crate::LayerConfig::expiry): a number with `ms`, `s`, `m`, `h` or `d`; seconds without |
/// | `group_expiry` | `1d` | [`group_expiry`](crate::LayerConfig::group_expiry), likewise |
/// | `overflow` | `drop-oldest` | [`overflow`](crate::LayerConfig::overflow): or `refuse-newest`, `close`, `keep-latest:` and a field |
pub struct Registry {
    schemes: BTreeMap<String, Scheme>,
    /// By alias. Held for a look-up. Connecting happens outside of the lock.
    layers: Mutex<BTreeMap<String, Arc<Slot>>>,
}

/// A layer that is connected at its first use.
#[derive(Default)]
struct Slot {
    /// `None` for a layer that was set.
    url: Option<String>,
    /// Filled once, also by concurrent callers. After a failure it is empty for the next one.
    layer: OnceCell<Arc<dyn ChannelLayer>>,
}

impl Registry {
    /// Adds schemes. A later one of the same name replaces an earlier one.
    pub fn with(mut self, schemes: impl IntoIterator<Item = Scheme>) -> Self {
        self.schemes.extend(schemes.into_iter().map(|scheme| (scheme.name().to_owned(), scheme)));
        self
    }

    /// Gives an address a name. The layer is connected by the first call of [`layer`](Self::layer).
    pub fn with_alias(self, alias: impl Into<String>, url: impl Into<String>) -> Self {
        let slot = Slot { url: Some(url.into()), layer: OnceCell::new() };
        self.layers().insert(alias.into(), Arc::new(slot));
        self
    }

    /// Makes a new layer.
    ///
    /// # Errors
    /// [`Config`](crate::Error::Config) for an invalid address, and the errors of the backend.
    pub async fn connect(&self, url: &str) -> Result<Arc<dyn ChannelLayer>> {
        let address = Address::parse(url);
        let unknown = || ConfigError::UnknownScheme {
            scheme: address.scheme().to_owned(),
            known: self.schemes.keys().cloned().collect(),
        };
        let scheme = self.schemes.get(address.scheme()).ok_or_else(unknown)?;
        scheme.connect(address).await
    }

    /// Returns the layer of this name, which is connected by the first call and kept. Cancel safe.
    ///
    /// # Errors
    /// [`Config`](crate::Error::Config) for an unknown name, and the errors of [`connect`](Self::connect). After a
    /// failure the next call tries again.
    pub async fn layer(&self, alias: &str) -> Result<Arc<dyn ChannelLayer>> {
        let slot = self.slot(alias)?;
        let connect = async || self.connect(slot.url.as_deref().unwrap_or_default()).await;
        slot.layer.get_or_try_init(connect).await.cloned()
    }

    /// Sets the layer of a name, and returns the one that was connected before.
    pub fn set(&self, alias: impl Into<String>, layer: impl ChannelLayer) -> Option<Arc<dyn ChannelLayer>> {
        let slot = Slot { url: None, layer: OnceCell::new_with(Some(layer.into_shared())) };
        let old = self.layers().insert(alias.into(), Arc::new(slot))?;
        old.layer.get().cloned()
    }

    /// The known names.
    pub fn aliases(&self) -> Vec<String> {
        self.layers().keys().cloned().collect()
    }

    fn slot(&self, alias: &str) -> Result<Arc<Slot>, ConfigError> {
        let layers = self.layers();
        let unknown =
            || ConfigError::UnknownAlias { alias: alias.to_owned(), known: layers.keys().cloned().collect() };
        layers.get(alias).cloned().ok_or_else(unknown)
    }

    fn layers(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Slot>>> {
        lock(&self.layers)
    }
}

/// Returns a registry with the scheme `memory`.
impl Default for Registry {
    fn default() -> Self {
        let empty = Self { schemes: BTreeMap::new(), layers: Mutex::default() };
        empty.with([schemes::memory()])
    }
}

/// Shows names, never addresses, which may hold passwords.
impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("schemes", &self.schemes.keys())
            .field("aliases", &self.aliases())
            .finish()
    }
}

#[cfg(test)]
mod tests;
