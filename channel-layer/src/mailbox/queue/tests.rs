use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::Bounds;

fn limits(messages: usize, bytes: usize, policy: OverflowPolicy) -> MailboxLimits {
    MailboxLimits::new(Bounds { messages, bytes }, policy)
}

fn delivery(n: i64, expires: Instant) -> Delivery {
    Delivery { message: Message::new("m").with("n", n).with("key", n % 3), expires }
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn offer(queue: &mut Queue, n: i64, limits: &MailboxLimits) -> Offer {
    queue.offer(delivery(n, later()), 0, limits, Instant::now)
}

fn numbers(queue: &mut Queue) -> Vec<i64> {
    let mut messages = Vec::new();
    queue.drain().append_to(&mut messages);
    messages.iter().map(|message| message.get("n").and_then(|n| n.as_i64()).unwrap()).collect()
}

#[test]
fn refuses_the_newest() {
    let (mut queue, limits) = (Queue::default(), limits(2, 1 << 20, OverflowPolicy::RefuseNewest));
    let offers: Vec<_> = (0..3).map(|n| offer(&mut queue, n, &limits)).collect();
    assert_eq!(offers, [Offer::Queued, Offer::Queued, Offer::Refused]);
    assert_eq!(numbers(&mut queue), [0, 1]);
    assert_eq!(queue.ledger().dropped.full, 1);
}

#[test]
fn drops_the_oldest() {
    let (mut queue, limits) = (Queue::default(), limits(2, 1 << 20, OverflowPolicy::DropOldest));
    (0..5).for_each(|n| assert_eq!(offer(&mut queue, n, &limits), Offer::Queued));
    assert_eq!(numbers(&mut queue), [3, 4]);
    assert_eq!(queue.ledger().dropped.evicted, 3);
}

#[test]
fn replaces_by_key_in_order() {
    let (mut queue, limits) = (Queue::default(), limits(10, 1 << 20, OverflowPolicy::keep_latest("key")));
    (0..5).for_each(|n| assert_eq!(offer(&mut queue, n, &limits), Offer::Queued));
    assert_eq!(numbers(&mut queue), [2, 3, 4], "3 replaced 0, and 4 replaced 1");
    assert_eq!(queue.ledger().dropped.replaced, 2);
}

#[test]
fn keeps_messages_without_a_key() {
    let (mut queue, limits) = (Queue::default(), limits(2, 1 << 20, OverflowPolicy::keep_latest("absent")));
    [0, 3, 6].into_iter().for_each(|n| assert_eq!(offer(&mut queue, n, &limits), Offer::Queued));
    assert_eq!(numbers(&mut queue), [3, 6]);
    assert_eq!(queue.ledger().dropped.evicted, 1);
}

#[test]
fn closes_when_full() {
    let (mut queue, limits) = (Queue::default(), limits(1, 1 << 20, OverflowPolicy::Close));
    assert_eq!(offer(&mut queue, 0, &limits), Offer::Queued);
    assert_eq!(offer(&mut queue, 1, &limits), Offer::Overflow);
}

#[test]
fn bytes_bound_a_queue() {
    let (mut queue, small) = (Queue::default(), limits(10, 1, OverflowPolicy::RefuseNewest));
    assert_eq!(offer(&mut queue, 0, &small), Offer::Queued);
    assert_eq!(offer(&mut queue, 1, &small), Offer::Refused);
    assert_eq!(numbers(&mut queue), [0]);
    assert_eq!(
        offer(&mut queue, 1, &limits(0, 0, OverflowPolicy::RefuseNewest)),
        Offer::Queued,
        "zero counts as one"
    );
}

#[test]
fn expired_messages_make_room() {
    let (mut queue, limits) = (Queue::default(), limits(1, 1 << 20, OverflowPolicy::Close));
    let now = Instant::now();
    assert_eq!(queue.offer(delivery(0, now), 0, &limits, || now), Offer::Queued);
    assert_eq!(queue.offer(delivery(1, later()), 0, &limits, || now), Offer::Queued);
    assert_eq!(queue.ledger().dropped.expired, 1);
}

#[derive(Clone, Debug)]
enum Step {
    Offer(i64),
    Pop,
    Drain,
    Expire,
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..9_i64).prop_map(Step::Offer),
        2 => Just(Step::Pop),
        1 => Just(Step::Drain),
        1 => Just(Step::Expire),
        1 => Just(Step::Flush),
    ]
}

fn policy() -> impl Strategy<Value = OverflowPolicy> {
    prop_oneof![
        Just(OverflowPolicy::Close),
        Just(OverflowPolicy::DropOldest),
        Just(OverflowPolicy::keep_latest("key")),
        Just(OverflowPolicy::RefuseNewest),
    ]
}

proptest! {
    /// Counted from outside, so that the queue's own sums cannot agree by mistake.
    #[test]
    fn accounts_for_each_message(
        policy in policy(),
        messages in 1..6_usize,
        bytes in 1..80_usize,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let (mut queue, limits) = (Queue::default(), limits(messages, bytes, policy));
        let start = Instant::now();
        let (mut offered, mut delivered) = (0, 0);
        for (at, step) in steps.into_iter().enumerate() {
            let now = start + Duration::from_secs(at as u64);
            match step {
                Step::Offer(n) => {
                    offered += 1;
                    queue.offer(delivery(n, now + Duration::from_secs(10)), 0, &limits, || now);
                }
                Step::Pop => delivered += u64::from(queue.pop().is_some()),
                Step::Drain => delivered += queue.drain().len() as u64,
                Step::Expire => queue.drop_expired(now),
                Step::Flush => drop(queue.discard(DropReason::Flushed)),
            }
            let ledger = queue.ledger();
            prop_assert!(ledger.is_balanced(), "{ledger:?}");
            prop_assert_eq!((ledger.offered, ledger.delivered), (offered, delivered));
            prop_assert_eq!(ledger.queued, queue.len() as u64);
            prop_assert!(queue.len() <= messages && (queue.len() <= 1 || queue.bytes <= bytes));
            prop_assert_eq!(queue.bytes, queue.len() * delivery(0, now).message.size(), "all are of one size");
        }
    }
}
