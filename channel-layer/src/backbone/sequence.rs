//! Sequence numbers, which reveal lost and repeated messages between two processes.
//!
//! A publisher numbers its messages on each topic from 1. The number has 8 bytes. The first 3 are the *era*: the
//! number of times that the publisher has discarded its counters, which are bounded, and started again.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
};

/// The position of the era in a number.
const ERA_AT: u32 = 40;

/// The most topics whose number a publisher keeps. Beyond, all start again in the next era.
const TOPICS: usize = 1 << 16;

/// The most pairs of publisher and topic that a subscriber keeps. Beyond, all start again, and one loss of each may go
/// unnoticed.
const STREAMS: usize = 1 << 16;

/// The number of recent messages to several groups that are kept. Each comes in once per group.
const UNIONS: usize = 4096;

/// The number of a topic's first message in an era.
fn first_of(era: u64) -> u64 {
    era << ERA_AT | 1
}

/// The era of a number, and the rest.
fn split(sequence: u64) -> (u64, u64) {
    (sequence >> ERA_AT, sequence & ((1 << ERA_AT) - 1))
}

/// Numbers the messages of this process on one shard.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    last: HashMap<Box<[u8]>, u64>,
    era: u64,
}

impl Numbering {
    /// The number of the next message on a topic. It never decreases, so that no message looks late.
    pub(super) fn next(&mut self, topic: &[u8]) -> u64 {
        if let Some(last) = self.last.get_mut(topic) {
            *last += 1;
            return *last;
        }
        if self.last.len() >= TOPICS {
            self.last.clear();
            self.era += 1;
        }
        let first = first_of(self.era);
        self.last.insert(topic.into(), first);
        first
    }
}

/// The last number of each publisher on each topic of one shard.
#[derive(Debug, Default)]
pub(super) struct GapDetector {
    /// By a hash of the topic, which is shorter. A collision costs a wrong count, no more.
    topics: HashMap<u64, HashMap<u64, LastSeen>>,
    streams: usize,
    /// The number of interruptions.
    link: u32,
    hasher: RandomState,
}

/// The last number of a stream, and the link that delivered it.
#[derive(Clone, Copy, Debug)]
struct LastSeen {
    sequence: u64,
    link: u32,
}

/// The position of a message in its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The next number, or the first one seen, after this number of missing messages.
    Next { lost: u64 },
    /// The first number of its stream since an interruption, after this number of missing messages.
    Resumed { lost: u64 },
    /// A number that was seen already, or that later ones have overtaken.
    Stale,
}

impl GapDetector {
    /// Records a message.
    pub(super) fn note(&mut self, topic: &str, publisher: u64, sequence: u64) -> Position {
        if sequence == 0 {
            return Position::Next { lost: 0 }; // not numbered: the first probe of a link
        }
        let topic = self.hasher.hash_one(topic);
        let known = self.topics.get_mut(&topic).and_then(|streams| streams.get_mut(&publisher));
        let Some(last) = known else {
            self.begin(topic, publisher, sequence);
            return Position::Next { lost: 0 };
        };
        let (era, number) = split(sequence);
        // 1: the publisher has started again, whatever a forged envelope may have claimed in its name.
        if sequence <= last.sequence && (number != 1 || sequence == last.sequence) {
            return Position::Stale;
        }
        let (last_era, last_number) = split(last.sequence);
        // Messages that it sent before it started again cannot be counted.
        let seen = if era == last_era { last_number } else { 0 };
        let is_same_link = last.link == self.link;
        *last = LastSeen { sequence, link: self.link };
        let lost = number.saturating_sub(seen.saturating_add(1));
        if is_same_link { Position::Next { lost } } else { Position::Resumed { lost } }
    }

    /// Notes that messages may have been missed on all topics.
    pub(super) fn interrupt(&mut self) {
        self.link = self.link.wrapping_add(1);
    }

    /// Forgets a topic whose subscription begins: earlier messages do not count as lost.
    pub(super) fn forget(&mut self, topic: &str) {
        let streams = self.topics.remove(&self.hasher.hash_one(topic));
        self.streams -= streams.map_or(0, |streams| streams.len());
    }

    fn begin(&mut self, topic: u64, publisher: u64, sequence: u64) {
        if self.streams >= STREAMS {
            self.topics.clear();
            self.streams = 0;
        }
        self.topics.entry(topic).or_default().insert(publisher, LastSeen { sequence, link: self.link });
        self.streams += 1;
    }
}

/// The ids of messages to several groups that have been delivered already.
#[derive(Debug, Default)]
pub(super) struct RecentUnions {
    seen: HashSet<u128>,
    order: VecDeque<u128>,
}

impl RecentUnions {
    /// Whether it is the first copy of the message with this id.
    pub(super) fn is_first(&mut self, id: u128) -> bool {
        if !self.seen.insert(id) {
            return false;
        }
        self.order.push_back(id);
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
    use super::*;

    #[test]
    fn numbers_grow_after_forgetting() {
        let mut numbering = Numbering::default();
        assert_eq!([numbering.next(b"a"), numbering.next(b"b"), numbering.next(b"a")], [1, 1, 2]);
        for n in 0..TOPICS {
            numbering.next(&n.to_be_bytes());
        }
        assert!(numbering.last.len() <= TOPICS);
        assert!(numbering.next(b"a") > 2);
    }

    #[test]
    fn counts_gaps_and_drops_repeats() {
        let mut detector = GapDetector::default();
        let mut note = |topic: &str, sequence| detector.note(topic, 1, sequence);
        assert_eq!(note("a", 5), Position::Next { lost: 0 }, "earlier messages are not lost");
        assert_eq!(note("a", 6), Position::Next { lost: 0 });
        assert_eq!(note("b", 7), Position::Next { lost: 0 }, "each topic has its own sequence");
        assert_eq!(note("a", 10), Position::Next { lost: 3 });
        assert_eq!(note("a", 10), Position::Stale);
        assert_eq!(note("a", 8), Position::Stale);
        assert_eq!(note("a", 11), Position::Next { lost: 0 });
        assert_eq!(note("a", 1), Position::Next { lost: 0 }, "the publisher began again");
        note("a", u64::MAX);
        assert_eq!(note("a", 1), Position::Next { lost: 0 }, "even from a forged number");
        assert_eq!(note("a", 1), Position::Stale, "the first message repeated");
    }

    #[test]
    fn marks_gaps_after_interruptions() {
        let mut detector = GapDetector::default();
        detector.note("a", 1, 1);
        detector.interrupt();
        assert_eq!(detector.note("a", 1, 5), Position::Resumed { lost: 3 });
        assert_eq!(detector.note("a", 1, 7), Position::Next { lost: 1 });
    }

    #[test]
    fn accepts_a_new_era() {
        let mut detector = GapDetector::default();
        let mut note = |sequence| detector.note("a", 1, sequence);
        let first = first_of(1);
        note(50);
        assert_eq!(note(first + 2), Position::Next { lost: 2 });
        assert_eq!(note(first + 3), Position::Next { lost: 0 });
        assert_eq!(note(51), Position::Stale, "of the last era, and overtaken");
    }

    #[test]
    fn subscribing_counts_no_loss() {
        let mut detector = GapDetector::default();
        detector.note("a", 1, 1);
        detector.note("b", 1, 1);
        detector.forget("a");
        assert_eq!(detector.note("a", 1, 9), Position::Next { lost: 0 });
        assert_eq!(detector.note("b", 1, 9), Position::Next { lost: 7 });
        assert_eq!(detector.streams, 2);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut detector, mut unions) = (GapDetector::default(), RecentUnions::default());
        for publisher in 0..2 * STREAMS as u64 {
            detector.note("a", publisher, 1);
            assert!(unions.is_first(publisher.into()));
        }
        assert!(detector.streams <= STREAMS);
        assert!(unions.seen.len() <= UNIONS && unions.order.len() <= UNIONS);
    }

    #[test]
    fn a_union_is_delivered_once() {
        let mut unions = RecentUnions::default();
        assert!(unions.is_first(1));
        assert!(!unions.is_first(1));
        assert!(unions.is_first(2));
    }
}
