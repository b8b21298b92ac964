//! The members of a group under a scheduler that tries the interleavings (`--cfg shuttle`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use shuttle::{check_random, thread};

use super::{
    burst::Post,
    group::Group,
    line::{Entered, Line},
};
use crate::{
    mailbox::{Bounds, Delivery, Mailbox},
    message::Message,
};

const ITERATIONS: usize = 2_000;

fn mailbox(name: &str) -> Mailbox {
    Mailbox::new(name.parse().unwrap(), Bounds { messages: 10, bytes: 1 << 20 }, None)
}

/// Walks over the group as a message does, in slices of one, so that others come in between.
fn seen(group: &Group) -> HashMap<String, usize> {
    let mut seen = HashMap::new();
    let mut place = 0;
    while group.slice(place, 1, |member| *seen.entry(member.channel().to_string()).or_default() += 1) {
        place += 1;
    }
    seen
}

#[test]
fn who_stays_is_seen_exactly_once_while_others_come_and_go() {
    check_random(
        || {
            let group = Arc::new(Group::new("g".parse().expect("a name")));
            let (first, stays, guest) = (mailbox("a!first"), mailbox("a!stays"), mailbox("a!guest"));
            let first_place = group.join(first.sender().clone());
            group.join(stays.sender().clone());
            let coming_and_going = thread::spawn({
                let group = group.clone();
                move || {
                    group.leave(first_place);
                    let place = group.join(guest.sender().clone());
                    group.leave(place);
                    group.join(guest.sender().clone());
                }
            });
            let seen = seen(&group);
            coming_and_going.join().unwrap();
            assert_eq!(seen.get("a!stays"), Some(&1), "{seen:?}");
            assert!(seen.get("a!first").is_none_or(|times| *times == 1), "{seen:?}");
        },
        ITERATIONS,
    );
}

#[test]
fn who_has_left_is_not_seen_and_who_has_joined_is() {
    check_random(
        || {
            let group = Arc::new(Group::new("g".parse().expect("a name")));
            let (leaver, joiner) = (mailbox("a!leaver"), mailbox("a!joiner"));
            let place = group.join(leaver.sender().clone());
            // What has happened for certain when the walk begins.
            let done = Arc::new(Mutex::new((false, false)));
            let changing = thread::spawn({
                let (group, done) = (group.clone(), done.clone());
                move || {
                    group.join(joiner.sender().clone());
                    done.lock().unwrap().0 = true;
                    group.leave(place);
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
fn whoever_waits_in_the_line_is_served_once() {
    fn post() -> Post {
        Delivery { message: Message::new("m"), expires: tokio::time::Instant::now() }.into()
    }
    /// How many this one has served.
    fn serve(line: &Line, can: bool) -> usize {
        let walked = match line.enter(can, post) {
            Entered::Other => return 0,
            Entered::Caller if line.leave() => return 1,
            Entered::Caller => 1,
            Entered::Nobody => 0,
        };
        let taken = std::iter::from_fn(|| Some(line.take().len()).filter(|posts| *posts > 0));
        walked + taken.sum::<usize>()
    }
    check_random(
        || {
            let line = Arc::new(Line::default());
            let others: Vec<_> = [true, false, true]
                .map(|can| {
                    let line = line.clone();
                    thread::spawn(move || serve(&line, can) + serve(&line, !can))
                })
                .into_iter()
                .collect();
            let served: usize = others.into_iter().map(|other| other.join().unwrap()).sum();
            assert_eq!(served, 6);
            assert_eq!(line.enter(true, post), Entered::Caller, "and nobody walks any more");
        },
        ITERATIONS,
    );
}
