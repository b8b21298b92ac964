//! The native mode: the engine's own names and envelopes on Pub/Sub, and lists for named channels.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod named;

use std::sync::Arc;

use channel_layer::backbone::{HubLayerBuilder, Queues};

use self::named::Lists;
use crate::{
    config::RedisConfig,
    keys::Keys,
    link::{Connections, LinkMode, RedisBackbone},
};

/// Prepares the layer of this mode.
pub(crate) fn builder(config: &Arc<RedisConfig>) -> HubLayerBuilder<RedisBackbone> {
    let number = fastrand::u64(..);
    let mode = Native { process: super::process_name(number), keys: Keys::new(&config.prefix) };
    let options = super::options(config).with_queues(true);
    super::builder(config, options, number, &(Arc::new(mode) as _)).prefix(&config.prefix)
}

/// The native mode on a link. Groups need nothing more than Pub/Sub, and named channels report a missing command by
/// themselves.
#[derive(Debug)]
struct Native {
    process: String,
    keys: Keys,
}

impl LinkMode for Native {
    fn process(&self) -> &str {
        &self.process
    }

    fn queues(&self, connections: &Arc<Connections>) -> Option<Box<dyn Queues>> {
        Some(Box::new(Lists::new(connections.clone(), self.keys.clone())))
    }
}
