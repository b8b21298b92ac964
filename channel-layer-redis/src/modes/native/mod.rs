//! Mode `native`: the engine's own names and envelopes, and lists for named channels.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz_target;
mod keys;
mod named;

use std::sync::Arc;

use channel_layer::backbone::Queues;

use self::{keys::Keys, named::Lists};
use crate::link::{Connections, LinkMode};

/// The links of this mode. Groups need nothing more than Pub/Sub, and named channels report a missing command by
/// themselves.
#[derive(Debug)]
pub(super) struct Native(Keys);

impl Native {
    pub(super) fn new(prefix: &str) -> Self {
        Self(Keys::new(prefix))
    }
}

impl LinkMode for Native {
    fn queues(&self, connections: &Arc<Connections>) -> Option<Box<dyn Queues>> {
        Some(Box::new(Lists::new(connections.clone(), self.0.clone())))
    }
}
