//! What waits to be sent, bounded.

use std::collections::VecDeque;

use channel_layer::{Message, OverflowPolicy};

use super::Outgoing;

/// What may wait for a slow client, and what happens to broadcasts beyond it.
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

/// The queue itself.
#[derive(Default)]
pub(super) struct Outputs {
    queue: VecDeque<Outgoing>,
    bytes: usize,
}

/// What became of a broadcast frame that found no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// It waits; so many others were dropped for it.
    Room(u64),
    /// It was dropped.
    None,
    /// The client has to go.
    TooSlow,
}

impl Outputs {
    pub(super) fn push(&mut self, output: Outgoing) {
        self.bytes += size(&output);
        self.queue.push_back(output);
    }

    /// Queues a broadcast frame, if need be by what `limits` say.
    pub(super) fn push_broadcast(&mut self, message: Message, limits: &OutputLimits) -> Made {
        if self.has_room(limits) {
            self.push(Outgoing::Encoded(message));
            return Made::Room(0);
        }
        match &limits.overflow {
            OverflowPolicy::Close => Made::TooSlow,
            OverflowPolicy::RefuseNewest => Made::None,
            OverflowPolicy::DropOldest => self.replace_oldest(message, limits),
            OverflowPolicy::KeepLatest { field } => {
                let replaced = self.drop_same(&message, field);
                match self.replace_oldest(message, limits) {
                    Made::Room(dropped) => Made::Room(replaced + dropped),
                    other => other,
                }
            }
        }
    }

    pub(super) fn take(&mut self, mut take: impl FnMut(&mut VecDeque<Outgoing>)) {
        take(&mut self.queue);
        self.bytes = self.queue.iter().map(size).sum();
        if self.queue.is_empty() {
            self.queue = VecDeque::new(); // an idle connection keeps no memory for it
        }
    }

    pub(super) fn has_room(&self, limits: &OutputLimits) -> bool {
        self.bytes < limits.bytes && self.queue.len() < limits.messages
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

    /// Nobody is left to read anything but a refusal.
    pub(super) fn keep_refusal(&mut self) {
        self.queue.retain(|output| matches!(output, Outgoing::Refuse(_)));
        self.bytes = 0;
    }

    /// Frames to this client alone are never dropped: their sender was told that they wait.
    fn replace_oldest(&mut self, message: Message, limits: &OutputLimits) -> Made {
        let mut dropped = 0;
        while !self.has_room(limits) {
            let Some(oldest) = self.queue.iter().position(|o| matches!(o, Outgoing::Encoded(_))) else {
                return Made::None;
            };
            self.bytes -= self.queue.remove(oldest).as_ref().map_or(0, size);
            dropped += 1;
        }
        self.push(Outgoing::Encoded(message));
        Made::Room(dropped)
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

    fn limits(overflow: OverflowPolicy) -> OutputLimits {
        OutputLimits { bytes: 1 << 20, messages: 3, overflow }
    }

    fn priced(symbol: &str, price: i64) -> Message {
        Message::websocket_text("x").with("symbol", symbol).with("price", price)
    }

    fn prices(outputs: &Outputs) -> Vec<i64> {
        let price = |output: &Outgoing| match output {
            Outgoing::Encoded(message) => message.get("price").and_then(|p| p.as_i64()).unwrap(),
            _ => -1,
        };
        outputs.queue.iter().map(price).collect()
    }

    fn filled(limits: &OutputLimits) -> Outputs {
        let mut outputs = Outputs::default();
        for (symbol, price) in [("a", 1), ("b", 2), ("c", 3)] {
            assert_eq!(outputs.push_broadcast(priced(symbol, price), limits), Made::Room(0));
        }
        outputs
    }

    #[test]
    fn each_policy_does_what_it_says() {
        for (overflow, made, left) in [
            (OverflowPolicy::Close, Made::TooSlow, vec![1, 2, 3]),
            (OverflowPolicy::RefuseNewest, Made::None, vec![1, 2, 3]),
            (OverflowPolicy::DropOldest, Made::Room(1), vec![2, 3, 4]),
            (OverflowPolicy::keep_latest("symbol"), Made::Room(1), vec![1, 3, 4]),
            (OverflowPolicy::keep_latest("absent"), Made::Room(1), vec![2, 3, 4]),
        ] {
            let limits = limits(overflow);
            let mut outputs = filled(&limits);
            assert_eq!(outputs.push_broadcast(priced("b", 4), &limits), made, "{limits:?}");
            assert_eq!(prices(&outputs), left, "{limits:?}");
        }
    }

    #[test]
    fn frames_to_one_client_are_never_dropped() {
        let limits = limits(OverflowPolicy::DropOldest);
        let mut outputs = Outputs::default();
        (0..3).for_each(|_| outputs.push(Outgoing::Frame(Frame::from("mine"))));
        assert_eq!(outputs.push_broadcast(priced("a", 1), &limits), Made::None);
        assert_eq!(outputs.queue.len(), 3);
    }

    #[test]
    fn bytes_are_counted_as_they_come_and_go() {
        let mut outputs = Outputs::default();
        outputs.push(Outgoing::Frame(Frame::from("12345")));
        outputs.push(Outgoing::Frame(Frame::from("67")));
        assert_eq!(outputs.bytes(), 7);
        outputs.take(|queue| drop(queue.pop_front()));
        assert_eq!(outputs.bytes(), 2);
    }
}
