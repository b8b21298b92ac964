//! The members of a group under a scheduler that tries the interleavings (`--cfg shuttle`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use shuttle::{check_random, thread};

use super::group::Group;
use crate::mailbox::{Bounds, Mailbox};

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
            let group = Arc::new(Group::default());
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
            let group = Arc::new(Group::default());
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
