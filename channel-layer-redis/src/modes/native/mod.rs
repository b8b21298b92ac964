//! Mode `native`: the names and envelopes of the engine, and lists for named channels.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz_target;
mod keys;
mod named;

use std::sync::Arc;

use channel_layer::backbone::Queues;

use self::{keys::NativeKeys, named::ListQueues};
use crate::link::{CommandConnection, LinkMode};

/// The links of this mode. Groups need only Pub/Sub, and named channels report a missing command themselves.
#[derive(Debug)]
pub(super) struct NativeMode(NativeKeys);

impl NativeMode {
    pub(super) fn new(prefix: &str) -> Self {
        Self(NativeKeys::new(prefix))
    }
}

impl LinkMode for NativeMode {
    fn queues(&self, commands: &Arc<CommandConnection>) -> Option<Box<dyn Queues>> {
        Some(Box::new(ListQueues::new(commands.clone(), self.0.clone())))
    }
}
