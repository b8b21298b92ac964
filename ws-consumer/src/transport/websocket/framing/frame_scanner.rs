//! [`FrameScanner`]: frame boundaries in a stream of bytes, none of which is kept.

use std::io::Cursor;

use hyper_tungstenite::tungstenite::protocol::frame::{FrameHeader, coding::OpCode};

/// The length of the longest header: two bytes, eight of length, four of mask.
const MAX_HEADER: usize = 14;

/// Follows the client's frames, and counts the fragments of a message.
///
/// A header may be split over two reads; its beginning is kept here. A header that tungstenite cannot parse is not
/// reported from here: tungstenite fails on it, and the rest of the stream passes as if it were a payload.
#[derive(Debug)]
pub(super) struct FrameScanner {
    partial: [u8; MAX_HEADER],
    partial_len: u8,
    /// Bytes of the current payload that are still to come.
    payload: u64,
    /// Frames of the current message.
    fragments: u32,
    max_fragments: u32,
}

impl FrameScanner {
    pub(super) fn new(max_fragments: u32) -> Self {
        Self { partial: [0; MAX_HEADER], partial_len: 0, payload: 0, fragments: 0, max_fragments }
    }

    /// Scans the next bytes of the stream, and returns how many of them may pass: all, or those up to and including the
    /// header of the first fragment beyond the limit. The frames before it are complete and are answered, wherever reads
    /// happen to end.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && !self.has_too_many_fragments() {
            let skipped = self.payload.min(rest.len() as u64);
            self.payload -= skipped;
            rest = &rest[skipped as usize..];
            rest = &rest[self.scan_header(rest)..];
        }
        bytes.len() - rest.len()
    }

    /// Whether a message has begun that is not complete.
    pub(super) fn is_mid_message(&self) -> bool {
        self.partial_len > 0 || self.payload > 0 || self.fragments > 0
    }

    pub(super) fn has_too_many_fragments(&self) -> bool {
        self.fragments > self.max_fragments
    }

    /// Begins or continues a header with these bytes, which may be none, and returns how many of them belong to it.
    fn scan_header(&mut self, bytes: &[u8]) -> usize {
        let had = usize::from(self.partial_len);
        let end = MAX_HEADER.min(had + bytes.len());
        self.partial[had..end].copy_from_slice(&bytes[..end - had]);
        let mut header = Cursor::new(&self.partial[..end]);
        let parsed = FrameHeader::parse(&mut header);
        let parsed_len = header.position() as usize;
        self.partial_len = 0;
        match parsed {
            Ok(Some((header, payload))) => {
                self.begin_frame(&header, payload);
                parsed_len - had
            }
            Ok(None) => {
                self.partial_len = end as u8;
                end - had
            }
            Err(_) => {
                self.payload = u64::MAX;
                end - had
            }
        }
    }

    fn begin_frame(&mut self, header: &FrameHeader, payload: u64) {
        self.payload = payload;
        match header.opcode {
            OpCode::Control(_) => {}
            OpCode::Data(_) if header.is_final => self.fragments = 0,
            OpCode::Data(_) => self.fragments = self.fragments.saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames as (first byte, payload length), masked.
    fn stream(frames: &[(u8, usize)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (first, len) in frames {
            bytes.push(*first);
            match *len {
                short @ 0..126 => bytes.push(0x80 | short as u8),
                medium @ 126..65_536 => {
                    bytes.push(0x80 | 126);
                    bytes.extend_from_slice(&(medium as u16).to_be_bytes());
                }
                long => {
                    bytes.push(0x80 | 127);
                    bytes.extend_from_slice(&(long as u64).to_be_bytes());
                }
            }
            bytes.extend_from_slice(&[7; 4]);
            bytes.extend(std::iter::repeat_n(0xFF, *len));
        }
        bytes
    }

    #[test]
    fn any_cut_leaves_no_state_behind() {
        let bytes =
            stream(&[(0x81, 0), (0x81, 5), (0x82, 126), (0x89, 3), (0x82, 70_000), (0x01, 4), (0x80, 0)]);
        for step in [1, 2, 3, 7, 1000, bytes.len()] {
            let mut scanner = FrameScanner::new(3);
            assert!(bytes.chunks(step).all(|chunk| scanner.scan(chunk) == chunk.len()), "{step}");
            assert!(!scanner.is_mid_message(), "{step}");
        }
    }

    #[test]
    fn sees_a_message_under_way() {
        let bytes = stream(&[(0x01, 2), (0x89, 1), (0x80, 3)]);
        for end in 1..bytes.len() {
            let mut scanner = FrameScanner::new(3);
            scanner.scan(&bytes[..end]);
            assert!(scanner.is_mid_message(), "{end}");
        }
    }

    #[test]
    fn stops_at_the_fragment_limit() {
        let enough = stream(&[(0x01, 0), (0x89, 0), (0x00, 0), (0x89, 0)]);
        let bytes = [enough.clone(), stream(&[(0x00, 0), (0x80, 0), (0x81, 3)])].concat();
        for step in [1, 7, bytes.len()] {
            let mut scanner = FrameScanner::new(2);
            let passed: usize = bytes.chunks(step).map(|chunk| scanner.scan(chunk)).sum();
            assert_eq!(passed, enough.len() + 6, "{step}: not what follows the header of the third");
            assert!(scanner.has_too_many_fragments());
        }
    }

    #[test]
    fn the_largest_length_does_not_overflow() {
        let mut scanner = FrameScanner::new(2);
        scanner.scan(&[0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 1, 2, 3]);
        assert!(scanner.is_mid_message());
    }

    /// Tungstenite is the one that reports it.
    #[test]
    fn passes_what_follows_a_bad_header() {
        let bytes = [stream(&[(0x01, 0), (0x83, 0)]), stream(&[(0x01, 0); 5])].concat();
        for step in [1, 5, bytes.len()] {
            let mut scanner = FrameScanner::new(2);
            assert!(bytes.chunks(step).all(|chunk| scanner.scan(chunk) == chunk.len()), "{step}");
            assert!(scanner.is_mid_message() && !scanner.has_too_many_fragments(), "{step}");
        }
    }
}
