//! The schemes of addresses, which make layers.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use super::options::Options;
use crate::{error::Result, ext::ChannelLayerExt, layer::ChannelLayer, memory::MemoryLayer};

/// A kind of address, and the function that makes layers of it. Crates of backends provide theirs.
///
/// ```
/// use channel_layer::{MemoryLayer, registry::{Registry, Scheme}};
///
/// let tiny = Scheme::new("tiny", async |address| {
///     let mut options = address.options();
///     let config = options.layer_config()?;
///     let shards: Option<usize> = options.take("shards")?;
///     options.finish()?; // an option that was not taken is an error
///     # let _ = shards;
///     Ok(MemoryLayer::new(config))
/// });
/// let registry = Registry::default().with([tiny]);
/// # let _ = registry;
/// ```
#[derive(Clone)]
pub struct Scheme {
    name: String,
    connect: Arc<Connect>,
}

type Connect = dyn Fn(Address) -> Connecting + Send + Sync;
type Connecting = Pin<Box<dyn Future<Output = Result<Arc<dyn ChannelLayer>>> + Send>>;

impl Scheme {
    /// A scheme for addresses that begin with `name://`.
    pub fn new<F, C, L>(name: impl Into<String>, connect: F) -> Self
    where
        F: Fn(Address) -> C + Send + Sync + 'static,
        C: Future<Output = Result<L>> + Send + 'static,
        L: ChannelLayer,
    {
        let connect = move |address| -> Connecting {
            let connecting = connect(address);
            Box::pin(async { Ok(connecting.await?.into_shared()) })
        };
        Self { name: name.into(), connect: Arc::new(connect) }
    }

    /// The part before `://`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn connect(&self, address: Address) -> Connecting {
        (self.connect)(address)
    }
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scheme").field(&self.name).finish()
    }
}

/// The address of a layer: `scheme://rest?option=value&option=value`.
#[derive(Clone)]
pub struct Address(String);

impl Address {
    /// An address. Any text is accepted here. An unknown scheme is an error of [`connect`](super::Registry::connect).
    pub fn parse(url: &str) -> Self {
        Self(url.to_owned())
    }

    /// The complete address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before `://`. Empty if there is none.
    pub fn scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// The address without its options.
    pub fn base(&self) -> &str {
        self.0.split_once('?').map_or(&self.0, |(base, _)| base)
    }

    /// The options.
    pub fn options(&self) -> Options {
        Options::parse(self.0.split_once('?').map_or("", |(_, options)| options))
    }
}

/// Shows only the scheme, because the rest may hold a password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://...", self.scheme())
    }
}

pub(super) fn memory() -> Scheme {
    Scheme::new("memory", async |address| {
        let mut options = address.options();
        let config = options.layer_config()?;
        options.finish()?;
        Ok(MemoryLayer::new(config))
    })
}
