//! The log of sent frames, which may have to be sent again.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use channel_layer::Message;

use crate::frame::Frame;

/// A frame, cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    Binary(Bytes),
    /// The place of frames that are lost.
    Missing,
    /// A message of type `websocket.send`, which caches its encoding for each transport.
    Shared(Message),
    /// A text, in UTF-8.
    Text(Bytes),
}

/// Bytes of overhead per entry: its slot in the queue, which may be half empty.
const ENTRY: usize = 2 * size_of::<Payload>();
/// Bytes of overhead of an unshared payload: a reference count, and the allocator's overhead.
const OWN: usize = 64;
/// Bytes up to which a part of a larger buffer is copied, rather than the whole buffer kept.
const PART: usize = 4 << 10;

impl Payload {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Binary(bytes) | Self::Text(bytes) => bytes.len(),
            Self::Missing => 0,
            Self::Shared(message) => message.size(),
        }
    }

    /// The bytes that it takes in memory.
    fn taken(&self) -> usize {
        match self {
            Self::Shared(message) => ENTRY + message.size(),
            _ => self.own(),
        }
    }

    /// Returns the bytes taken in memory, without those of messages that other sessions may keep too.
    fn own(&self) -> usize {
        match self {
            Self::Binary(bytes) | Self::Text(bytes) => ENTRY + OWN + bytes.len(),
            Self::Missing | Self::Shared(_) => ENTRY,
        }
    }
}

impl From<Frame> for Payload {
    /// Drops the frame's unused capacity: it may be kept for long.
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Binary(bytes) if bytes.len() <= PART => Self::Binary(Bytes::copy_from_slice(&bytes)),
            Frame::Binary(bytes) => Self::Binary(bytes),
            Frame::Text(text) => Self::Text(text.into_bytes().into_boxed_slice().into()),
        }
    }
}

/// Counters of the bytes of messages that several sessions may keep: of all, and of the address whose session was the first
/// to keep them. Atomic, because a message may be dropped under any lock.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedBytes {
    pub(super) all: Arc<AtomicUsize>,
    pub(super) address: Arc<AtomicUsize>,
}

/// Counts a message once while it lives, however many sessions keep it.
struct CountedMessage {
    counted: SharedBytes,
    bytes: usize,
}

impl CountedMessage {
    /// Counts a message, and returns how much of it was not counted before.
    fn count(message: &Message, counted: &SharedBytes) -> usize {
        let mut fresh = 0;
        message.derived(|message| {
            // Its fields, and their encodings.
            let bytes = message.size().saturating_mul(2).saturating_add(512);
            counted.all.fetch_add(bytes, Relaxed);
            counted.address.fetch_add(bytes, Relaxed);
            fresh = bytes;
            Self { counted: counted.clone(), bytes }
        });
        fresh
    }
}

impl Drop for CountedMessage {
    fn drop(&mut self) {
        self.counted.all.fetch_sub(self.bytes, Relaxed);
        self.counted.address.fetch_sub(self.bytes, Relaxed);
    }
}

/// Frames by number: the first that was ever sent has number 1.
#[derive(Debug)]
pub(super) struct Log {
    entries: VecDeque<Payload>,
    /// Bytes that the entries take in memory.
    bytes: usize,
    /// Bytes taken in memory, without those of messages that other sessions may keep too.
    own: usize,
    /// Counts messages that other sessions may keep too.
    shared: SharedBytes,
    /// Bytes that were added to it since the last report.
    fresh: usize,
    /// The number of the last frame that was dropped.
    before: u64,
    /// The number of the last frame that a carrier has taken.
    sent: u64,
    /// Bytes of the frames after it.
    unsent: usize,
    limits: LogLimits,
}

/// A limit in bytes and frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLimits {
    pub(super) bytes: usize,
    pub(super) messages: usize,
}

impl Log {
    pub(super) fn new(limits: LogLimits, shared: SharedBytes) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            own: 0,
            shared,
            fresh: 0,
            before: 0,
            sent: 0,
            unsent: 0,
            limits,
        }
    }

    /// Bytes that it takes in memory, without messages that other sessions may keep too.
    pub(super) fn own(&self) -> usize {
        self.own
    }

    /// Bytes of shared messages that were added since the last report.
    pub(super) fn fresh(&mut self) -> &mut usize {
        &mut self.fresh
    }

    /// The number of the last frame; 0 if there was none.
    pub(super) fn last(&self) -> u64 {
        self.before + self.entries.len() as u64
    }

    /// The number of the last frame that was dropped.
    pub(super) fn before(&self) -> u64 {
        self.before
    }

    /// The number of the last frame that was taken.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether there is room for one more frame without dropping an unsent one.
    pub(super) fn has_room(&self) -> bool {
        self.is_all_sent() || (self.unsent_frames() < self.limits.messages && self.unsent < self.limits.bytes)
    }

    pub(super) fn is_all_sent(&self) -> bool {
        self.unsent_frames() == 0
    }

    /// Bytes of the frames that no carrier has taken.
    pub(super) fn unsent(&self) -> usize {
        self.unsent
    }

    fn unsent_frames(&self) -> usize {
        (self.last() - self.sent) as usize
    }

    /// Adds a frame. The oldest make room for it: with `keep_unsent`, only those that were sent.
    pub(super) fn push(&mut self, payload: Payload, keep_unsent: bool) {
        if let Payload::Shared(message) = &payload {
            self.fresh += CountedMessage::count(message, &self.shared);
        }
        self.bytes += payload.taken();
        self.own += payload.own();
        self.unsent += payload.len();
        self.entries.push_back(payload);
        while self.entries.len() > 1 && self.is_over() && !(keep_unsent && self.sent == self.before) {
            self.drop_first();
        }
    }

    /// Drops the frames up to this number.
    pub(super) fn acknowledge(&mut self, cursor: u64) {
        while self.before < cursor && !self.entries.is_empty() {
            self.drop_first();
        }
        self.shrink();
    }

    /// Drops the frames that were sent, acknowledged or not.
    pub(super) fn forget_sent(&mut self) {
        self.acknowledge(self.sent);
    }

    /// Drops all frames.
    pub(super) fn clear(&mut self) {
        self.acknowledge(self.last());
    }

    /// Gives back the capacity that a burst has left: it counts, used or not.
    fn shrink(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        } else if self.entries.capacity() > 16 && self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    /// Goes back, or on, to this number: the frames after it are sent next.
    pub(super) fn rewind(&mut self, cursor: u64) {
        self.sent = cursor.clamp(self.before, self.last());
        let skipped = (self.sent - self.before) as usize;
        self.unsent = self.entries.range(skipped..).map(Payload::len).sum();
    }

    /// The next frames to send and the number of the first: consecutive ones within `limits`, but at least one if there is
    /// any. They stay until they are acknowledged or dropped for others. A gap at the end of the log yields a number
    /// without frames.
    pub(super) fn take(&mut self, limits: LogLimits) -> Option<(u64, Vec<Payload>)> {
        let known = self.sent;
        while let Some(Payload::Missing) = self.entries.get((self.sent - self.before) as usize) {
            self.sent += 1;
        }
        let first = self.sent + 1;
        let frames = self.take_frames(limits);
        (self.sent > known).then_some((first, frames))
    }

    fn take_frames(&mut self, limits: LogLimits) -> Vec<Payload> {
        let skipped = (self.sent - self.before) as usize;
        let mut bytes = 0;
        let fits = self.entries.range(skipped..).take(limits.messages).take_while(|payload| {
            let first = bytes == 0;
            bytes += payload.len().max(1);
            !matches!(payload, Payload::Missing) && (first || bytes <= limits.bytes)
        });
        let taken: Vec<_> = fits.cloned().collect();
        self.sent += taken.len() as u64;
        self.unsent -= taken.iter().map(Payload::len).sum::<usize>();
        taken
    }

    fn is_over(&self) -> bool {
        self.entries.len() > self.limits.messages || self.bytes > self.limits.bytes
    }

    fn drop_first(&mut self) {
        let Some(first) = self.entries.pop_front() else { return };
        self.bytes -= first.taken();
        self.own -= first.own();
        self.before += 1;
        if self.before > self.sent {
            self.sent = self.before;
            self.unsent -= first.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(messages: usize) -> Log {
        Log::new(LogLimits { bytes: 100_000, messages }, SharedBytes::default())
    }

    fn with(mut log: Log, texts: &[&str]) -> Log {
        texts.iter().for_each(|text| log.push(Frame::from(*text).into(), false));
        log
    }

    fn take(log: &mut Log, most: LogLimits) -> Vec<String> {
        let text = |payload: &Payload| match payload {
            Payload::Text(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        log.take(most).map(|(_, frames)| frames.iter().map(text).collect()).unwrap_or_default()
    }

    const ALL: LogLimits = LogLimits { bytes: 1000, messages: 1000 };

    #[test]
    fn unacknowledged_frames_are_kept() {
        let mut log = with(log(10), &["a", "b", "c"]);
        assert_eq!(take(&mut log, ALL), ["a", "b", "c"]);
        assert!(take(&mut log, ALL).is_empty());
        for _ in 0..2 {
            log.rewind(1);
            assert_eq!(take(&mut log, ALL), ["b", "c"]);
        }
        log.acknowledge(2);
        log.rewind(0);
        assert_eq!((take(&mut log, ALL), log.before()), (vec!["c".to_owned()], 2));
        log.acknowledge(99);
        assert_eq!((log.last(), log.before(), log.sent()), (3, 3, 3));
        let mut log = with(log, &["d"]);
        assert_eq!(take(&mut log, ALL), ["d"]);
    }

    #[test]
    fn dropped_frames_keep_numbers() {
        let mut log = with(log(2), &["a", "b", "c"]);
        assert_eq!((log.before(), log.last(), log.sent()), (1, 3, 1));
        assert_eq!(take(&mut log, ALL), ["b", "c"]);
    }

    #[test]
    fn unsent_frames_take_room() {
        let mut log = with(log(2), &["a", "b"]);
        assert!(!log.has_room());
        assert_eq!(take(&mut log, LogLimits { bytes: 1, messages: 1 }).len(), 1);
        assert!(log.has_room());
        let mut large = with(
            Log::new(LogLimits { bytes: 10, messages: 9 }, SharedBytes::default()),
            &["a longer text than fits"],
        );
        assert!(!large.has_room());
        assert_eq!(take(&mut large, LogLimits { bytes: 1, messages: 9 }).len(), 1, "at least one");
        assert!(large.has_room());
    }

    #[test]
    fn unsent_frames_are_not_dropped() {
        let mut log = with(log(2), &["a", "b"]);
        log.push(Frame::from("c").into(), true);
        assert_eq!(take(&mut log, ALL), ["a", "b", "c"]);
        log.push(Frame::from("d").into(), true);
        assert_eq!((log.before(), take(&mut log, ALL)), (2, vec!["d".to_owned()]));
    }

    #[test]
    fn gaps_split_batches() {
        let mut log = with(log(9), &["a"]);
        log.push(Payload::Missing, true);
        let mut log = with(log, &["c", "d"]);
        assert_eq!(log.take(ALL).map(|(first, frames)| (first, frames.len())), Some((1, 1)));
        assert_eq!(log.take(ALL).map(|(first, frames)| (first, frames.len())), Some((3, 2)));
        log.push(Payload::Missing, true);
        assert_eq!(log.take(ALL).map(|(first, frames)| (first, frames.len())), Some((6, 0)));
        assert!(log.take(ALL).is_none());
    }

    #[test]
    fn batches_are_bounded() {
        let full = || with(log(50), &["1234"; 20]);
        assert_eq!(take(&mut full(), LogLimits { bytes: 1000, messages: 7 }).len(), 7);
        assert_eq!(take(&mut full(), LogLimits { bytes: 13, messages: 100 }).len(), 3);
    }
}
