//! The mailbox under a scheduler that tries the interleavings (`--cfg shuttle`).

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use shuttle::{check_random, future::block_on, thread};
use tokio::time::Instant;

use crate::{
    config::OverflowPolicy,
    mailbox::{Bounds, Delivery, Mailbox, MailboxLimits, MailboxSender, Refusal},
    message::Message,
};

const ITERATIONS: usize = 2_000;

fn mailbox(messages: usize, policy: OverflowPolicy) -> Mailbox {
    let limits = MailboxLimits::new(Bounds { messages, bytes: 1 << 20 }, policy);
    Mailbox::new("a!b".parse().unwrap(), limits, None)
}

fn deliver(sender: &MailboxSender, n: i64) -> Result<(), Refusal> {
    let expires = Instant::now() + Duration::from_secs(3600);
    sender.deliver(Delivery { message: Message::new("m").with("n", n), expires })
}

fn number(message: &Message) -> i64 {
    message.get("n").and_then(|n| n.as_i64()).unwrap()
}

/// A lost wake-up is a deadlock, which the scheduler reports.
#[test]
fn receives_all_in_order() {
    check_random(
        || {
            let mut mailbox = mailbox(10, OverflowPolicy::RefuseNewest);
            let sender = mailbox.sender().clone();
            let sending = thread::spawn(move || (0..3).for_each(|n| deliver(&sender, n).unwrap()));
            for n in 0..3 {
                assert_eq!(number(&block_on(mailbox.recv())), n);
            }
            sending.join().unwrap();
        },
        ITERATIONS,
    );
}

#[test]
fn drains_all_of_two_senders() {
    check_random(
        || {
            let mut mailbox = mailbox(10, OverflowPolicy::RefuseNewest);
            let senders: Vec<_> = [[0, 1], [2, 3]]
                .into_iter()
                .map(|numbers| {
                    let sender = mailbox.sender().clone();
                    thread::spawn(move || numbers.into_iter().for_each(|n| deliver(&sender, n).unwrap()))
                })
                .collect();
            let mut messages = Vec::new();
            while messages.len() < 4 {
                block_on(poll_fn(|cx| mailbox.poll_ready(cx)));
                mailbox.drain_into(&mut messages);
            }
            let numbers: Vec<_> = messages.iter().map(number).collect();
            let position = |n| numbers.iter().position(|other| *other == n).unwrap();
            assert!(
                position(0) < position(1) && position(2) < position(3),
                "in the order of each sender: {numbers:?}"
            );
            senders.into_iter().for_each(|sender| sender.join().unwrap());
        },
        ITERATIONS,
    );
}

#[test]
fn closing_loses_no_count() {
    check_random(
        || {
            let mut mailbox = mailbox(10, OverflowPolicy::RefuseNewest);
            let sender = mailbox.sender().clone();
            let taken = Arc::new(AtomicU64::new(0));
            let sending = thread::spawn({
                let (sender, taken) = (sender.clone(), taken.clone());
                move || {
                    for n in 0..3 {
                        match deliver(&sender, n) {
                            Ok(()) => drop(taken.fetch_add(1, SeqCst)),
                            refusal => assert_eq!(refusal, Err(Refusal::Closed)),
                        }
                    }
                }
            });
            let received = u64::from(mailbox.try_recv().is_some());
            drop(mailbox);
            sending.join().unwrap();
            let ledger = sender.ledger();
            assert!(ledger.is_balanced() && ledger.queued == 0, "{ledger:?}");
            assert_eq!((ledger.offered, ledger.delivered), (taken.load(SeqCst), received));
            assert_eq!(deliver(&sender, 9), Err(Refusal::Closed));
        },
        ITERATIONS,
    );
}

#[test]
fn receiver_sees_overflow() {
    check_random(
        || {
            let mut mailbox = mailbox(1, OverflowPolicy::Close);
            let sender = mailbox.sender().clone();
            let sending = thread::spawn(move || (0..2).filter(|n| deliver(&sender, *n).is_ok()).count());
            let mut received = 0;
            while received < 2 && block_on(mailbox.next()).is_some() {
                received += 1;
            }
            let sent = sending.join().unwrap();
            assert!(received <= sent);
            assert_eq!(received < 2, mailbox.is_overflowed());
        },
        ITERATIONS,
    );
}
