//! The members of a group under a scheduler that tries the interleavings (`--cfg shuttle`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use shuttle::{check_random, thread};

use crate::{
    hub::{
        combining::{Combiner, Entry},
        group::{Group, GroupSend, QueuedSends},
        match_outcomes::MatchOutcomes,
        selectors::Selected,
    },
    mailbox::{Bounds, Delivery, Mailbox, MailboxSender},
    message::Message,
    selection::{Selection, Tag},
};

const ITERATIONS: usize = 2_000;

fn mailbox(name: &str) -> Mailbox {
    Mailbox::new(name.parse().unwrap(), Bounds { messages: 10, bytes: 1 << 20 }, None)
}

/// Visits the group as a message does, in slices of one, so that other threads come in between.
fn seen(group: &Group) -> HashMap<String, usize> {
    let mut seen = HashMap::new();
    let mut slot = 0;
    while group.slice(0, slot, 1, |member, _| *seen.entry(member.channel().to_string()).or_default() += 1) {
        slot += 1;
    }
    seen
}

#[test]
fn a_staying_member_is_seen_once() {
    check_random(
        || {
            let group: Arc<Group> = Arc::new(Group::new("g".parse().expect("a name")));
            let (first, stays, guest) = (mailbox("a!first"), mailbox("a!stays"), mailbox("a!guest"));
            let first_slot = group.join(first.sender().clone());
            group.join(stays.sender().clone());
            let changing = thread::spawn({
                let group = group.clone();
                move || {
                    group.leave(first_slot);
                    let slot = group.join(guest.sender().clone());
                    group.leave(slot);
                    group.join(guest.sender().clone());
                }
            });
            let seen = seen(&group);
            changing.join().unwrap();
            assert_eq!(seen.get("a!stays"), Some(&1), "{seen:?}");
            assert!(seen.get("a!first").is_none_or(|times| *times == 1), "{seen:?}");
        },
        ITERATIONS,
    );
}

#[test]
fn sees_members_joined_before() {
    check_random(
        || {
            let group: Arc<Group> = Arc::new(Group::new("g".parse().expect("a name")));
            let (leaver, joiner) = (mailbox("a!leaver"), mailbox("a!joiner"));
            let slot = group.join(leaver.sender().clone());
            // The changes that are complete when the visit begins.
            let done = Arc::new(Mutex::new((false, false)));
            let changing = thread::spawn({
                let (group, done) = (group.clone(), done.clone());
                move || {
                    group.join(joiner.sender().clone());
                    done.lock().unwrap().0 = true;
                    group.leave(slot);
                    done.lock().unwrap().1 = true;
                }
            });
            let (joined, left) = *done.lock().unwrap();
            let seen = seen(&group);
            assert!(!joined || seen.contains_key("a!joiner"), "{seen:?}");
            assert!(!left || !seen.contains_key("a!leaver"), "{seen:?}");
            changing.join().unwrap();
            assert_eq!(group.len(), 1);
        },
        ITERATIONS,
    );
}

#[test]
fn selections_of_others_change_none() {
    fn filter(tag: &str) -> Selection {
        Selection::Where(Tag::new(tag).exists().try_into().expect("it is small"))
    }
    check_random(
        || {
            let (group, totals) = (Arc::new(Group::new("g".parse().expect("a name"))), Arc::default());
            let (stays, changes) = (mailbox("a!stays"), mailbox("a!changes"));
            let slot = group.join_selecting(changes.sender().clone(), &filter("first"), &totals);
            group.join_selecting(stays.sender().clone(), &filter("mine"), &totals);
            let changing = thread::spawn({
                let (group, totals): (Arc<Group>, _) = (group.clone(), totals.clone());
                move || {
                    group.select(slot, &Selection::All, &totals);
                    group.select(slot, &filter("second"), &totals);
                    group.leave(slot);
                }
            });
            let mut matches = MatchOutcomes::default();
            let message = Message::new("m").with_tag("mine", true);
            let deliveries = [Delivery { message, expires: tokio::time::Instant::now() }];
            let mut slot = 0;
            let mut selected = 0;
            let mut visit = |member: &MailboxSender, selector: Option<Selected<'_>>| {
                matches.begin_slice();
                let taken =
                    selector.map(|selector| matches.outcome(selector, &deliveries).filtered.is_empty());
                if member.channel().as_str() == "a!stays" {
                    assert_eq!(taken, Some(true));
                    selected += 1;
                } else {
                    assert_ne!(taken, Some(true));
                }
            };
            while group.slice(0, slot, 1, &mut visit) {
                slot += 1;
            }
            assert_eq!(selected, 1);
            changing.join().unwrap();
        },
        ITERATIONS,
    );
}

#[test]
fn each_queued_item_is_served_once() {
    fn send() -> GroupSend {
        Delivery { message: Message::new("m"), expires: tokio::time::Instant::now() }.into()
    }
    /// The number of items served by this call.
    fn serve(queue: &QueuedSends, can: bool) -> usize {
        let combiner = Combiner::new(queue);
        let served = match combiner.enter(can, send) {
            Entry::Queued => return 0,
            Entry::Run(run) => {
                if run.finish() {
                    return 1;
                }
                1
            }
            Entry::RunnerNeeded => 0,
        };
        let taken = std::iter::from_fn(|| Some(combiner.take(32).len()).filter(|items| *items > 0));
        served + taken.sum::<usize>()
    }
    check_random(
        || {
            let queue = Arc::new(QueuedSends::default());
            let others: Vec<_> = [true, false, true]
                .map(|can| {
                    let queue = queue.clone();
                    thread::spawn(move || serve(&queue, can) + serve(&queue, !can))
                })
                .into_iter()
                .collect();
            let served: usize = others.into_iter().map(|other| other.join().unwrap()).sum();
            assert_eq!(served, 6);
            assert!(
                matches!(Combiner::new(&queue).enter(true, send), Entry::Run(_)),
                "and there is no run any more"
            );
        },
        ITERATIONS,
    );
}
