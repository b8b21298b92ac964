use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{
    config::{Bounds, MailboxLimits, OverflowPolicy},
    mailbox::{Mailbox, MailboxPart, MailboxSender, Refusal},
};

fn delivery(n: usize, expires: Instant) -> Delivery {
    let message = Message::new("m").with("n", n as u64).with("key", n as u64 % 3);
    Delivery { message, expires }
}

fn burst(numbers: impl IntoIterator<Item = usize>) -> Burst {
    let expires = Instant::now() + Duration::from_secs(60);
    Burst::new(numbers.into_iter().map(|n| delivery(n, expires)).collect())
}

fn number(message: &Message) -> u64 {
    message.get("n").and_then(|n| n.as_u64()).unwrap()
}

fn mailbox(messages: usize, bytes: usize, policy: OverflowPolicy) -> Mailbox {
    Mailbox::new("a!b".parse().unwrap(), MailboxLimits::new(Bounds { messages, bytes }, policy), None)
}

fn parts(mailbox: &mut Mailbox) -> Vec<MailboxPart> {
    let mut parts = Vec::new();
    mailbox.drain_parts_into(&mut parts);
    parts
}

#[test]
fn members_share_derived_values() {
    let burst = burst(0..3);
    let mut mailboxes = [(); 2].map(|()| mailbox(10, 1 << 20, OverflowPolicy::default()));
    let sums = mailboxes.each_mut().map(|mailbox| {
        mailbox.sender().deliver_burst(&burst, &[], |_, _| panic!("there is room"));
        let parts = parts(mailbox);
        let whole = parts[0].whole_burst().unwrap();
        std::ptr::from_ref(whole.derived(|burst| burst.messages().map(number).sum::<u64>())).addr()
    });
    assert_eq!((parts(&mut mailboxes[0]).len(), sums[0]), (0, sums[1]));
    assert_eq!(*burst.derived::<u64, _>(|_| unreachable!("made before")), 3);
}

/// The last message of a burst takes the burst with it, and what the burst keeps may use the mailbox as it is dropped.
#[test]
fn a_spent_burst_drops_outside_the_lock() {
    struct UsesMailbox(MailboxSender);
    impl Drop for UsesMailbox {
        fn drop(&mut self) {
            assert!(self.0.is_empty());
        }
    }
    let mut mailbox = mailbox(10, 1 << 20, OverflowPolicy::default());
    let burst = burst(0..2);
    burst.derived(|_| UsesMailbox(mailbox.sender().clone()));
    mailbox.sender().deliver_burst(&burst, &[], |_, _| panic!("there is room"));
    drop(burst);
    assert_eq!([(); 2].map(|()| mailbox.try_recv().map(|message| number(&message))), [Some(0), Some(1)]);
}

#[test]
fn a_part_is_not_the_whole() {
    let burst = burst(0..64);
    let mut mailbox = mailbox(100, 1 << 20, OverflowPolicy::default());
    let mut numbers = |skipped: &[usize], taken: usize| {
        mailbox.sender().deliver_burst(&burst, skipped, |_, _| panic!("there is room"));
        (0..taken).for_each(|_| drop(mailbox.try_recv()));
        let parts = parts(&mut mailbox);
        let numbers: Vec<_> = parts.iter().flat_map(MailboxPart::messages).map(number).collect();
        (parts.len(), parts[0].whole_burst().is_some(), numbers)
    };
    assert_eq!(numbers(&[], 0), (1, true, (0..64).collect()));
    assert_eq!(numbers(&[], 2), (1, false, (2..64).collect()));
    // A part keeps its whole burst: what is not meant for a mailbox must not fill its memory uncounted.
    assert_eq!(numbers(&[0, 63], 0), (62, false, (1..63).collect()));
}

/// A step for a pair of mailboxes.
#[derive(Clone, Debug)]
enum Step {
    /// Messages by whether they have expired and whether they are skipped.
    Burst(Vec<(bool, bool)>),
    Pop,
    Drain,
    DrainParts,
    Expire,
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let messages = || (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    prop_oneof![
        6 => prop::collection::vec(messages(), 0..9).prop_map(Step::Burst),
        1 => prop::collection::vec(messages(), 60..70).prop_map(Step::Burst),
        3 => Just(Step::Pop),
        1 => Just(Step::Drain),
        1 => Just(Step::DrainParts),
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

/// Delivers the same messages to both: as a burst, and one by one.
fn deliver(together: &Mailbox, one_by_one: &Mailbox, messages: &[(bool, bool)], first: usize) {
    let now = Instant::now();
    let later = now + Duration::from_secs(60);
    let deliveries: Vec<_> = messages
        .iter()
        .enumerate()
        .map(|(position, (expired, _))| delivery(first + position, if *expired { now } else { later }))
        .collect();
    let skipped: Vec<_> = (0..messages.len()).filter(|position| messages[*position].1).collect();
    let mut refusals: Vec<(usize, Refusal)> = Vec::new();
    let burst = Burst::new(deliveries.clone());
    together.sender().deliver_burst(&burst, &skipped, |position, refusal| refusals.push((position, refusal)));
    let mut others = Vec::new();
    for (position, delivery) in
        deliveries.into_iter().enumerate().filter(|(position, _)| !skipped.contains(position))
    {
        if let Err(refusal) = one_by_one.sender().deliver(delivery) {
            others.push((position, refusal));
        }
    }
    assert_eq!(refusals, others);
}

fn received(mailbox: &mut Mailbox, step: &Step) -> Vec<u64> {
    let mut messages = Vec::new();
    match step {
        Step::Burst(_) => {}
        Step::Pop => messages.extend(mailbox.try_recv()),
        Step::Drain => mailbox.drain_into(&mut messages),
        Step::DrainParts => {
            messages.extend(parts(mailbox).iter().flat_map(MailboxPart::messages).cloned());
        }
        Step::Expire => mailbox.sender().expire(Instant::now()),
        Step::Flush => mailbox.sender().flush(),
    }
    messages.iter().map(number).collect()
}

proptest! {
    #[test]
    fn a_burst_equals_its_messages(
        policy in policy(),
        messages in 0..80_usize,
        bytes in prop_oneof![1..300_usize, Just(1 << 20)],
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let mut together = mailbox(messages, bytes, policy.clone());
        let mut one_by_one = mailbox(messages, bytes, policy);
        let mut first = 0;
        for step in steps {
            if let Step::Burst(messages) = &step {
                deliver(&together, &one_by_one, messages, first);
                first += messages.len();
            }
            prop_assert_eq!(received(&mut together, &step), received(&mut one_by_one, &step));
            let ledger = together.sender().ledger();
            prop_assert!(ledger.is_balanced());
            prop_assert_eq!(ledger, one_by_one.sender().ledger());
            prop_assert_eq!(together.sender().len(), one_by_one.sender().len());
            prop_assert_eq!(together.is_overflowed(), one_by_one.is_overflowed());
        }
    }
}
