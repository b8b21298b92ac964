//! What has come in so far, to see losses and to drop what comes twice.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
};

use crate::codec::{Header, split_sequence};

/// Publishers and channels that are remembered; beyond, all start anew and one loss each may go unseen.
const STREAMS: usize = 1 << 16;

/// Messages to several groups that are remembered, because they come once per group.
const UNIONS: usize = 4096;

/// The last sequence of each publisher on each channel of one link.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    /// By a hash of the channel's name, which is shorter: two that collide cost a wrong count and nothing else.
    channels: HashMap<u64, HashMap<u64, u64>>,
    streams: usize,
    hasher: RandomState,
}

/// Where a message stands in its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The next one, or the first that we see; after so many that we did not.
    Next { lost: u64 },
    /// One that came already, or that others have overtaken.
    Stale,
}

impl Sequences {
    /// Takes note of a message.
    pub(super) fn note(&mut self, channel: &[u8], header: &Header) -> Place {
        if header.sequence == 0 {
            return Place::Next { lost: 0 }; // sent past the queue: a new session's first probe
        }
        let channel = self.hasher.hash_one(channel);
        let known = self.channels.get_mut(&channel).and_then(|streams| streams.get_mut(&header.publisher));
        let Some(last) = known else {
            self.begin(channel, header);
            return Place::Next { lost: 0 };
        };
        let (era, number) = split_sequence(header.sequence);
        // 1: the publisher has begun anew, whatever somebody else may have said in its name.
        if header.sequence > *last || number == 1 {
            let (last_era, last_number) = split_sequence(*last);
            // What it had sent before it began anew, nobody knows.
            let seen = if era == last_era { last_number } else { 0 };
            *last = header.sequence;
            return Place::Next { lost: number.saturating_sub(seen.saturating_add(1)) };
        }
        Place::Stale
    }

    /// This process starts to listen on the channel: what it missed before is not lost.
    pub(super) fn forget(&mut self, channel: &str) {
        let streams = self.channels.remove(&self.hasher.hash_one(channel.as_bytes()));
        self.streams -= streams.map_or(0, |streams| streams.len());
    }

    fn begin(&mut self, channel: u64, header: &Header) {
        if self.streams >= STREAMS {
            self.channels.clear();
            self.streams = 0;
        }
        self.channels.entry(channel).or_default().insert(header.publisher, header.sequence);
        self.streams += 1;
    }
}

/// Messages to several groups that have been handed out already.
#[derive(Debug, Default)]
pub(super) struct Unions {
    seen: HashSet<(u64, u64)>,
    order: VecDeque<(u64, u64)>,
}

impl Unions {
    /// Is it the first copy?
    pub(super) fn is_first(&mut self, header: &Header) -> bool {
        let key = (header.publisher, header.number);
        if !self.seen.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > UNIONS
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::codec::first_sequence;

    fn header(publisher: u64, number: u64, sequence: u64) -> Header {
        Header { publisher, number, sequence, lifetime: Duration::from_secs(60) }
    }

    #[test]
    fn gaps_are_counted_and_repeats_are_stale() {
        let mut sequences = Sequences::default();
        let mut note = |channel: &str, sequence| sequences.note(channel.as_bytes(), &header(1, 0, sequence));
        assert_eq!(note("a", 5), Place::Next { lost: 0 }, "what was before we came is not lost");
        assert_eq!(note("a", 6), Place::Next { lost: 0 });
        assert_eq!(note("b", 7), Place::Next { lost: 0 }, "each channel has its own");
        assert_eq!(note("a", 10), Place::Next { lost: 3 });
        assert_eq!(note("a", 10), Place::Stale);
        assert_eq!(note("a", 8), Place::Stale);
        assert_eq!(note("a", 11), Place::Next { lost: 0 });
        assert_eq!(note("a", 1), Place::Next { lost: 0 }, "the publisher began anew");
        note("a", u64::MAX);
        assert_eq!(note("a", 1), Place::Next { lost: 0 }, "however far it had come, or said so");
    }

    #[test]
    fn a_publisher_that_began_anew_is_not_late_though_its_first_words_were_missed() {
        let mut sequences = Sequences::default();
        let mut note = |sequence| sequences.note(b"a", &header(1, 0, sequence));
        let anew = first_sequence(1);
        note(50);
        assert_eq!(note(anew + 2), Place::Next { lost: 2 });
        assert_eq!(note(anew + 3), Place::Next { lost: 0 });
        assert_eq!(note(51), Place::Stale, "sent before, and overtaken");
    }

    #[test]
    fn what_is_missed_without_listening_is_not_lost() {
        let mut sequences = Sequences::default();
        sequences.note(b"a", &header(1, 0, 1));
        sequences.note(b"b", &header(1, 0, 1));
        sequences.forget("a");
        assert_eq!(sequences.note(b"a", &header(1, 0, 9)), Place::Next { lost: 0 });
        assert_eq!(sequences.note(b"b", &header(1, 0, 9)), Place::Next { lost: 7 });
        assert_eq!(sequences.streams, 2);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let (mut sequences, mut unions) = (Sequences::default(), Unions::default());
        for publisher in 0..2 * STREAMS as u64 {
            sequences.note(b"a", &header(publisher, 0, 1));
            assert!(unions.is_first(&header(publisher, 0, 1)));
        }
        assert!(sequences.streams <= STREAMS);
        assert!(unions.seen.len() <= UNIONS && unions.order.len() <= UNIONS);
    }

    #[test]
    fn a_union_is_handed_out_once() {
        let mut unions = Unions::default();
        assert!(unions.is_first(&header(1, 1, 1)));
        assert!(!unions.is_first(&header(1, 1, 4)));
        assert!(unions.is_first(&header(2, 1, 1)));
    }
}
