//! A bus within one process, for tests: of the engine, and of programs that want several "processes" and faults
//! without a server (feature `conformance`).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> channel_layer::Result<()> {
//! use channel_layer::{ChannelLayer, ChannelLayerExt, Message, backbone::{HubLayer, HubOptions, bus::Bus}};
//!
//! let bus = Bus::new();
//! let one = HubLayer::connect(bus.backbone(), HubOptions::default()).await?;
//! let other = HubLayer::connect(bus.backbone(), HubOptions::default()).await?;
//! let mut mailbox = one.new_channel().await?;
//! one.join("lobby", mailbox.channel()).await?;
//! let _ = other.group_send_message("lobby", Message::new("hello")).await?;
//! assert_eq!(mailbox.recv().await.event_type(), Some("hello"));
//! bus.sever();
//! assert!(other.group_send_message("lobby", Message::new("hello")).await.is_err());
//! bus.mend();
//! # Ok(()) }
//! ```

mod link;
mod queues;
mod state;

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;

pub use self::state::BusOptions;
use self::{
    link::BusLink,
    state::{BusCondition, Inbox, SharedBus},
};
use super::link::{Backbone, BackboneLink};
use crate::error::{Error, Result};

/// A bus. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Bus(Arc<SharedBus>);

/// The connection of one process to a [`Bus`].
#[derive(Clone, Debug)]
pub struct BusBackbone(Arc<SharedBus>);

impl Bus {
    /// A bus that can do everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// A bus with these abilities and faults.
    pub fn with_options(options: BusOptions) -> Self {
        let bus = Self::default();
        bus.set_options(options);
        bus
    }

    /// Changes abilities and faults.
    pub fn set_options(&self, options: BusOptions) {
        let mut state = self.0.state();
        state.options = options;
        state.random = fastrand::Rng::with_seed(options.seed);
    }

    /// Returns the backbone for one process.
    pub fn backbone(&self) -> BusBackbone {
        BusBackbone(self.0.clone())
    }

    /// Breaks all links, and lets none be made, until [`mend`](Self::mend).
    pub fn sever(&self) {
        self.0.set(BusCondition::Severed);
    }

    /// Stops answering, without breaking links, until [`mend`](Self::mend).
    pub fn freeze(&self) {
        self.0.set(BusCondition::Frozen);
    }

    /// Ends a fault. Frozen calls continue.
    pub fn mend(&self) {
        self.0.set(BusCondition::Healthy);
    }

    /// Delivers a payload to all subscribers of a topic, as if a process had published it.
    pub fn inject(&self, topic: &str, payload: &[u8]) {
        self.0.state().deliver(topic, payload);
    }

    /// The number of subscriptions, of all links.
    pub fn subscriptions(&self) -> usize {
        let state = self.0.state();
        state.topics.values().map(BTreeSet::len).chain(state.shared.values().map(Vec::len)).sum()
    }

    /// The number of links.
    pub fn links(&self) -> usize {
        self.0.state().links.len()
    }
}

#[async_trait]
impl Backbone for BusBackbone {
    async fn connect(&self) -> Result<Arc<dyn BackboneLink>> {
        self.0.thaw().await;
        let mut state = self.0.state();
        if state.condition == BusCondition::Severed {
            return Err(Error::Unavailable("the bus is severed".into()));
        }
        state.made += 1;
        let (number, inbox) = (state.made, Arc::<Inbox>::default());
        state.links.insert(number, inbox.clone());
        drop(state);
        Ok(Arc::new(BusLink::new(self.0.clone(), number, inbox)))
    }
}
