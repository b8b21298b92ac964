//! The sink that takes messages from a link into the engine.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// A function of a topic and a payload.
type Receive = dyn Fn(&str, &[u8]) + Send + Sync;

/// Receives the messages of one link. Clones share it.
#[derive(Clone)]
pub struct InboundSink {
    receive: Arc<Receive>,
    /// Cleared when the link has ended, because its successor may get the same messages. Relaxed: a message delivered
    /// at that moment counts as an earlier one.
    live: Arc<AtomicBool>,
}

impl InboundSink {
    pub(super) fn new(receive: impl Fn(&str, &[u8]) + Send + Sync + 'static) -> Self {
        Self { receive: Arc::new(receive), live: Arc::new(AtomicBool::new(true)) }
    }

    /// Delivers a message. Does not wait. While the queue is too long, it delivers queued messages itself before it
    /// returns, so that the client library reads no more meanwhile.
    pub fn deliver(&self, topic: &str, payload: &[u8]) {
        if self.live.load(Relaxed) {
            (self.receive)(topic, payload);
        }
    }

    /// Drops all later messages.
    pub(super) fn end(&self) {
        self.live.store(false, Relaxed);
    }
}

impl fmt::Debug for InboundSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundSink").field("live", &self.live).finish_non_exhaustive()
    }
}
