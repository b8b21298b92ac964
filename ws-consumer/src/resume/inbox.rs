//! The frames of a client that wait for the application.

use std::collections::VecDeque;

use crate::frame::Frame;

/// The frames that may wait, and their bytes. Beyond them the client has to wait.
const FRAMES: usize = 64;
const BYTES: usize = 64 << 10;
/// The bytes of a waiting frame besides its content.
const OVERHEAD: usize = size_of::<Frame>() + 64;

/// The frames of a client that wait for the application, each taken once by its number.
#[derive(Default)]
pub(super) struct SessionInbox {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// The number of the client's last frame.
    received: u64,
}

/// The result of a client's attempt to hand over frames, with the number of the last frame that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PushResult {
    /// All frames were taken.
    All(u64),
    /// The inbox is full, so some frames have to wait.
    Full(u64),
    /// Frames are missing before the first one.
    Missing(u64),
    /// The session was ended by its server, without the frames after this number.
    Refused(u64),
}

impl SessionInbox {
    /// The number of the client's last frame.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The bytes that the inbox takes in memory.
    pub(super) fn memory(&self) -> usize {
        self.bytes + self.frames.capacity() * OVERHEAD
    }

    /// Whether a frame has to wait. An empty inbox takes a frame of any size.
    pub(super) fn is_full_for(&self, frame: &Frame) -> bool {
        let is_full = self.frames.len() >= FRAMES || self.bytes + frame.len() > BYTES;
        is_full && !self.frames.is_empty()
    }

    pub(super) fn push(&mut self, number: u64, frame: Frame) {
        self.skip(number);
        self.bytes += frame.len();
        self.frames.push_back(frame.shrunk());
    }

    /// Counts a frame without keeping it.
    pub(super) fn skip(&mut self, number: u64) {
        self.received = number;
    }

    pub(super) fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front();
        self.bytes -= frame.as_ref().map_or(0, Frame::len);
        if self.frames.is_empty() {
            self.frames = VecDeque::new(); // an idle session keeps no capacity
        }
        frame
    }

    /// Drops the waiting frames.
    pub(super) fn clear(&mut self) {
        (self.frames, self.bytes) = (VecDeque::new(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_inbox_takes_any_size() {
        let mut inbox = SessionInbox::default();
        let large = Frame::from(vec![0; BYTES + 1]);
        assert!(!inbox.is_full_for(&large));
        inbox.push(1, large);
        assert!(inbox.is_full_for(&Frame::from("x")));
        assert_eq!((inbox.pop().map(|frame| frame.len()), inbox.received()), (Some(BYTES + 1), 1));
        assert_eq!((inbox.pop(), inbox.memory()), (None, 0));
    }
}
