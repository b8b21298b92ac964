//! The memory of a mailbox, counted by the allocator. There is one test, because the counts are per process.

#![allow(clippy::unwrap_used)] // all of it is a test

use std::alloc::System;

use channel_layer::{
    GroupName,
    hub::Hub,
    mailbox::{Bounds, Mailbox},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BOUNDS: Bounds = Bounds { messages: 100, bytes: 1 << 20 };

/// A name as long as that of a mailbox of the in-memory layer.
fn open(hub: &Hub, number: usize) -> Mailbox {
    hub.open(format!("specific.memory!{number:016}").parse().unwrap(), BOUNDS).unwrap()
}

fn live(region: &Region<System>) -> usize {
    let stats = region.change();
    stats.bytes_allocated - stats.bytes_deallocated
}

#[test]
fn idle_mailboxes_are_small() {
    let (warm_up, _mailbox) = (Hub::new(), ());
    drop(open(&warm_up, 0));
    for count in [1_000, 2_000, 10_000, 50_000, 100_000] {
        let hub = Hub::new();
        let mut mailboxes = Vec::with_capacity(count);
        let region = Region::new(ALLOCATOR);
        mailboxes.extend((0..count).map(|number| open(&hub, number)));
        let each = live(&region) / count;
        println!("{count} mailboxes: {each} bytes each, their places in the map included");
        assert!(each <= 300, "{each} bytes each, of {count}");
    }
    opened_and_dropped_leave_nothing();
}

fn opened_and_dropped_leave_nothing() {
    let hub = Hub::new();
    let groups: Vec<_> = (0..1_000).map(|n| GroupName::new(format!("room-{n}")).unwrap()).collect();
    let churn = |count| {
        let mailboxes: Vec<_> = (0..count).map(|number| open(&hub, number)).collect();
        for (number, mailbox) in mailboxes.iter().enumerate() {
            assert!(hub.join(&groups[number % groups.len()], mailbox.channel()));
        }
        assert_eq!((hub.mailbox_count(), hub.group_count()), (count, groups.len()));
    };
    churn(100_000); // the maps keep the room that they grew to
    let region = Region::new(ALLOCATOR);
    for _ in 0..3 {
        churn(100_000);
        assert_eq!((hub.mailbox_count(), hub.group_count()), (0, 0));
        println!("after 100,000 mailboxes in 1,000 groups: {} bytes more", live(&region));
        assert_eq!(live(&region), 0, "bytes that stayed behind");
    }
}
