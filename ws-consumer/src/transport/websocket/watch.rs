//! Frame boundaries in a stream of bytes, without keeping any of them.

/// The longest header: two bytes, eight of length, four of mask.
const HEADER: usize = 14;

/// Sees frames go by.
#[derive(Debug)]
pub(super) struct Watch {
    /// The beginning of a header that is not whole yet.
    header: [u8; HEADER],
    have: u8,
    /// What is left of the payload under way.
    payload: u64,
    /// Frames of the message under way.
    fragments: u32,
    max_fragments: u32,
}

impl Watch {
    pub(super) fn new(max_fragments: u32) -> Self {
        Self { header: [0; HEADER], have: 0, payload: 0, fragments: 0, max_fragments }
    }

    /// Looks at the next bytes of the stream, and says how many of them may pass: all, up to a fragment too many. What
    /// comes before it is whole and gets its answer, and where reads happen to end makes no difference.
    pub(super) fn see(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && !self.has_too_many_fragments() {
            let skipped = self.payload.min(rest.len() as u64);
            self.payload -= skipped;
            rest = &rest[skipped as usize..];
            let Some((first, after)) = rest.split_first() else { break };
            rest = after;
            self.header[usize::from(self.have)] = *first;
            self.have += 1;
            if self.have >= 2 && self.have == self.header_len() {
                self.frame();
            }
        }
        bytes.len() - rest.len()
    }

    /// Has a message begun that is not whole?
    pub(super) fn is_mid_message(&self) -> bool {
        self.have > 0 || self.payload > 0 || self.fragments > 0
    }

    pub(super) fn has_too_many_fragments(&self) -> bool {
        self.fragments > self.max_fragments
    }

    fn header_len(&self) -> u8 {
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + mask + self.length_len()
    }

    fn length_len(&self) -> u8 {
        match self.header[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn frame(&mut self) {
        let length = &self.header[2..2 + usize::from(self.length_len())];
        self.payload = match length.len() {
            0 => u64::from(self.header[1] & 0x7F),
            _ => length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        self.have = 0;
        let (is_final, is_control) = (self.header[0] & 0x80 != 0, self.header[0] & 0x08 != 0);
        match (is_control, is_final) {
            (true, _) => {}
            (false, true) => self.fragments = 0,
            (false, false) => self.fragments = self.fragments.saturating_add(1),
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
    fn whole_messages_leave_nothing_behind_however_they_are_cut() {
        let bytes =
            stream(&[(0x81, 0), (0x81, 5), (0x82, 126), (0x89, 3), (0x82, 70_000), (0x01, 4), (0x80, 0)]);
        for step in [1, 2, 3, 7, 1000, bytes.len()] {
            let mut watch = Watch::new(3);
            assert!(bytes.chunks(step).all(|chunk| watch.see(chunk) == chunk.len()), "{step}");
            assert!(!watch.is_mid_message(), "{step}");
        }
    }

    #[test]
    fn every_cut_within_a_message_is_seen() {
        let bytes = stream(&[(0x01, 2), (0x89, 1), (0x80, 3)]);
        for end in 1..bytes.len() {
            let mut watch = Watch::new(3);
            watch.see(&bytes[..end]);
            assert!(watch.is_mid_message(), "{end}");
        }
    }

    #[test]
    fn one_fragment_too_many_is_told_and_control_frames_do_not_count() {
        let enough = stream(&[(0x01, 0), (0x89, 0), (0x00, 0), (0x89, 0)]);
        let bytes = [enough.clone(), stream(&[(0x00, 0), (0x80, 0), (0x81, 3)])].concat();
        for step in [1, 7, bytes.len()] {
            let mut watch = Watch::new(2);
            let passed: usize = bytes.chunks(step).map(|chunk| watch.see(chunk)).sum();
            assert_eq!(passed, enough.len() + 6, "{step}: not what follows the header of the third");
            assert!(watch.has_too_many_fragments());
        }
    }

    #[test]
    fn the_largest_length_is_no_overflow() {
        let mut watch = Watch::new(2);
        watch.see(&[0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 1, 2, 3]);
        assert!(watch.is_mid_message());
    }
}
