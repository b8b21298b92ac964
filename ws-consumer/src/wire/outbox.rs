//! Output that waits for the client, bounded.

use std::{collections::VecDeque, sync::Arc};

use channel_layer::{Message, OverflowPolicy};

use super::{shared_frames, values::Outgoing};

/// The limits of output that waits for a slow client, and the treatment of broadcasts beyond them.
///
/// A hook that sends by itself waits instead, for as long as the client takes anything at all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputLimits {
    /// Bytes that may wait: 1 MiB.
    pub bytes: usize,
    /// Messages that may wait: 1,024.
    pub messages: usize,
    /// The behaviour once full, for broadcast frames: by default the client is closed with 1013, so that it reconnects and
    /// knows that it missed something.
    pub overflow: OverflowPolicy,
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self { bytes: 1 << 20, messages: 1024, overflow: OverflowPolicy::Close }
    }
}

/// The queue of a connection's output.
#[derive(Default)]
pub(super) struct Outbox {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    limits: Arc<OutputLimits>,
    /// Broadcast frames that were dropped.
    dropped: u64,
    /// Whether the client was closed for slowness.
    is_closed_slow: bool,
    /// Whether any output has left since the client was admitted.
    has_sent: bool,
    /// The event that is being handled, where equal frames made of it are kept once.
    event: Option<Message>,
}

/// The cost of a client's slowness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlowStats {
    /// Broadcast frames that were dropped.
    pub(crate) dropped: u64,
    pub(crate) closed: bool,
}

/// The treatment of a broadcast frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Enqueued {
    /// The frame waits. `dropped` others made room for it.
    Yes { dropped: u64 },
    /// The frame was dropped.
    No,
    /// The client has to be closed.
    TooSlow,
}

impl Outbox {
    pub(super) fn set_limits(&mut self, limits: Arc<OutputLimits>) {
        self.limits = limits;
    }

    pub(super) fn set_event(&mut self, event: Option<Message>) {
        self.event = event;
    }

    pub(super) fn push(&mut self, output: Outgoing) {
        let output = match (output, &self.event) {
            (Outgoing::Frame(frame), Some(event)) => shared_frames::output_for(event, frame),
            (output, _) => output,
        };
        self.append(output);
    }

    fn append(&mut self, output: Outgoing) {
        self.bytes += size(&output);
        self.queue.push_back(output);
    }

    /// Queues a broadcast frame, if need be by the overflow policy.
    pub(super) fn push_broadcast(&mut self, message: Message) -> Enqueued {
        if self.has_room() {
            self.append(Outgoing::Encoded(message));
            return Enqueued::Yes { dropped: 0 };
        }
        let limits = self.limits.clone();
        match &limits.overflow {
            OverflowPolicy::Close => Enqueued::TooSlow,
            OverflowPolicy::RefuseNewest => Enqueued::No,
            OverflowPolicy::DropOldest => self.replace_oldest(message),
            OverflowPolicy::KeepLatest { field } => {
                let replaced = self.drop_same(&message, field);
                match self.replace_oldest(message) {
                    Enqueued::Yes { dropped } => Enqueued::Yes { dropped: replaced + dropped },
                    other => other,
                }
            }
        }
    }

    /// Shows the queue to `take`, which removes what it sends. `is_open`: after the client was admitted.
    pub(super) fn take(&mut self, is_open: bool, mut take: impl FnMut(&mut VecDeque<Outgoing>)) {
        self.has_sent |= is_open;
        take(&mut self.queue);
        self.bytes = self.queue.iter().map(size).sum();
        if self.queue.is_empty() {
            self.queue = VecDeque::new(); // an idle connection keeps no memory for it
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.limits.bytes && self.queue.len() < self.limits.messages
    }

    pub(super) fn has_sent(&self) -> bool {
        self.has_sent
    }

    pub(super) fn slow(&self) -> SlowStats {
        SlowStats { dropped: self.dropped, closed: self.is_closed_slow }
    }

    pub(super) fn count_dropped(&mut self, frames: u64) {
        self.dropped += frames;
    }

    pub(super) fn count_closed(&mut self) {
        self.is_closed_slow = true;
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut Outgoing> {
        self.queue.front_mut()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops everything but a refusal: the client is gone.
    pub(super) fn keep_refusal(&mut self) {
        self.queue.retain(|output| matches!(output, Outgoing::Refuse(_)));
        self.bytes = 0;
    }

    /// Frames to this client alone are never dropped: their sender knows that they wait.
    fn replace_oldest(&mut self, message: Message) -> Enqueued {
        let mut dropped = 0;
        while !self.has_room() {
            let Some(oldest) = self.queue.iter().position(|o| matches!(o, Outgoing::Encoded(_))) else {
                return Enqueued::No;
            };
            self.bytes -= self.queue.remove(oldest).as_ref().map_or(0, size);
            dropped += 1;
        }
        self.append(Outgoing::Encoded(message));
        Enqueued::Yes { dropped }
    }

    /// Drops the waiting frames that `message` replaces: all of them, so that none arrives after it.
    fn drop_same(&mut self, message: &Message, field: &str) -> u64 {
        let Some(key) = message.get(field) else { return 0 };
        let before = self.queue.len();
        self.queue.retain(|output| match output {
            Outgoing::Encoded(waiting) => waiting.get(field) != Some(key),
            _ => true,
        });
        self.bytes = self.queue.iter().map(size).sum();
        (before - self.queue.len()) as u64
    }
}

fn size(output: &Outgoing) -> usize {
    match output {
        Outgoing::Frame(frame) => frame.len(),
        Outgoing::Encoded(message) | Outgoing::Shared(message) => message.size(),
        Outgoing::Body { chunk, .. } => chunk.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    fn outbox(overflow: OverflowPolicy) -> Outbox {
        let limits = OutputLimits { bytes: 1 << 20, messages: 3, overflow };
        Outbox { limits: Arc::new(limits), ..Outbox::default() }
    }

    fn priced(symbol: &str, price: i64) -> Message {
        Message::websocket_text("x").with("symbol", symbol).with("price", price)
    }

    fn prices(outbox: &Outbox) -> Vec<i64> {
        let price = |output: &Outgoing| match output {
            Outgoing::Encoded(message) => message.get("price").and_then(|p| p.as_i64()).unwrap(),
            _ => -1,
        };
        outbox.queue.iter().map(price).collect()
    }

    #[test]
    fn overflow_policies() {
        for (overflow, result, left) in [
            (OverflowPolicy::Close, Enqueued::TooSlow, vec![1, 2, 3]),
            (OverflowPolicy::RefuseNewest, Enqueued::No, vec![1, 2, 3]),
            (OverflowPolicy::DropOldest, Enqueued::Yes { dropped: 1 }, vec![2, 3, 4]),
            (OverflowPolicy::keep_latest("symbol"), Enqueued::Yes { dropped: 1 }, vec![1, 3, 4]),
            (OverflowPolicy::keep_latest("absent"), Enqueued::Yes { dropped: 1 }, vec![2, 3, 4]),
        ] {
            let mut outbox = outbox(overflow);
            for (symbol, price) in [("a", 1), ("b", 2), ("c", 3)] {
                let enqueued = outbox.push_broadcast(priced(symbol, price));
                assert_eq!(enqueued, Enqueued::Yes { dropped: 0 });
            }
            assert_eq!(outbox.push_broadcast(priced("b", 4)), result, "{:?}", outbox.limits);
            assert_eq!(prices(&outbox), left, "{:?}", outbox.limits);
        }
    }

    #[test]
    fn never_drops_direct_frames() {
        let mut outbox = outbox(OverflowPolicy::DropOldest);
        (0..3).for_each(|_| outbox.push(Outgoing::Frame(Frame::from("mine"))));
        assert_eq!(outbox.push_broadcast(priced("a", 1)), Enqueued::No);
        assert_eq!(outbox.queue.len(), 3);
    }

    #[test]
    fn counts_bytes() {
        let mut outbox = Outbox::default();
        outbox.push(Outgoing::Frame(Frame::from("12345")));
        outbox.push(Outgoing::Frame(Frame::from("67")));
        assert_eq!(outbox.bytes(), 7);
        outbox.take(false, |queue| drop(queue.pop_front()));
        assert_eq!((outbox.bytes(), outbox.has_sent()), (2, false));
        outbox.take(true, VecDeque::clear);
        assert!(outbox.has_sent());
    }
}
