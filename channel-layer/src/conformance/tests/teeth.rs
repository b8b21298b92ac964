//! A test of the suite: every fault is found by a case, and every case finds a fault.
//!
//! By default each fault runs on the cases that the table names for it. With `CHANNELS_LONG=1` each fault runs on all
//! cases.

mod found;

use std::{
    cell::Cell,
    collections::BTreeSet,
    env,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use self::found::FOUND;
use super::{
    Mounted,
    faulty::{Fault, OnBus},
};
use crate::{
    config::LayerConfig,
    conformance::{Case, Harness, case, cases, print, run},
    layer::ChannelLayer,
    memory::MemoryLayer,
    wrap::{Lossy, Wrapped},
};

/// The faults that show only on a bus with queues, or with a count of receivers.
const OF_QUEUES: &[Fault] = &[
    Fault::IgnoresExpiryOfNamed,
    Fault::HalvesExpiryOfNamed,
    Fault::IgnoresGroupExpiry,
    Fault::HalvesGroupExpiry,
    Fault::CountsItself,
    Fault::HidesFull,
    Fault::NamesAnotherChannel,
    Fault::LosesStoredMessages,
    Fault::FlushKeepsNamed,
    Fault::TakesTwice,
    Fault::ReversesQueues,
    Fault::CountsGroupsOfNamed,
    Fault::ForwardsFromEachProcess,
    Fault::SkipsNamedMembers,
    Fault::KeepsNamedMembers,
];

/// Threads that run cases.
const AT_ONCE: usize = 2;

thread_local! {
    /// Whether panics are expected on this thread.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Whether a case fails. Its panic is not printed.
fn fails(harness: &dyn Harness, case: &Case) -> bool {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                print(panic);
            }
        }));
    });
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(|| run(harness, case)));
    QUIET.set(false);
    outcome.is_err()
}

/// Calls a function for each item, on several threads.
fn for_each<T: Sync>(items: &[T], act: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        // Relaxed: only the number itself is shared.
        while let Some(item) = items.get(next.fetch_add(1, Relaxed)) {
            act(item);
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
}

#[test]
fn the_table_is_complete() {
    let named: BTreeSet<_> = FOUND.iter().flat_map(|(_, cases)| *cases).copied().collect();
    let cases: BTreeSet<_> = cases().iter().map(|case| case.name).collect();
    assert_eq!(cases.difference(&named).copied().collect::<Vec<_>>(), [""; 0], "cases that find no fault");
    assert_eq!(named.difference(&cases).copied().collect::<Vec<_>>(), [""; 0], "names that are no cases");
    let faults: Vec<_> = FOUND.iter().map(|(fault, _)| *fault).collect();
    assert_eq!(faults, Fault::ALL, "each fault once, in the order of their list");
    assert!(FOUND.iter().all(|(_, cases)| !cases.is_empty()));
}

#[test]
fn every_fault_is_found() {
    let pairs: Vec<_> =
        FOUND.iter().flat_map(|(fault, cases)| cases.iter().map(|name| (*fault, *name))).collect();
    let overlooked = Mutex::new(Vec::new());
    for_each(&pairs, |(fault, name)| {
        if !fails(&OnBus::sound().with(*fault), &case(name).expect("the table names cases")) {
            overlooked.lock().unwrap().push((*fault, *name));
        }
    });
    let overlooked = overlooked.into_inner().unwrap();
    assert!(overlooked.is_empty(), "passed in spite of the fault: {overlooked:#?}");
}

/// A case that finds the fault on a bus without queues, preferably one of the table.
fn finds_on_a_plain_bus(fault: Fault) -> Option<&'static str> {
    let (_, named) = FOUND.iter().find(|(named, _)| *named == fault)?;
    let all = named.iter().copied().chain(cases().iter().map(|case| case.name));
    all.map(|name| case(name).expect("the table names cases"))
        .find(|case| fails(&OnBus::plain().with(fault), case))
        .map(|case| case.name)
}

#[test]
fn every_fault_is_found_without_queues() {
    let overlooked = Mutex::new(Vec::new());
    for_each(Fault::ALL, |fault| {
        if OF_QUEUES.contains(fault) {
            return;
        }
        let found = finds_on_a_plain_bus(*fault);
        if found.is_none() {
            overlooked.lock().unwrap().push(*fault);
        }
    });
    let overlooked = overlooked.into_inner().unwrap();
    assert!(overlooked.is_empty(), "found by no case: {overlooked:?}");
}

/// Runs every fault on every case, which takes minutes, and prints the outcome.
#[test]
fn the_full_matrix() {
    if env::var_os("CHANNELS_LONG").is_none() {
        let count = Fault::ALL.len() * cases().len();
        print(&format!("{count} pairs of faults and cases run with CHANNELS_LONG=1 only"));
        return;
    }
    assert_eq!(overlooked("the bus", OnBus::sound), []);
    assert_eq!(overlooked("the plain bus", OnBus::plain), OF_QUEUES);
}

/// The faults that no case finds.
fn overlooked(name: &str, bus: fn() -> OnBus) -> Vec<Fault> {
    let overlooked = Mutex::new(Vec::new());
    for_each(Fault::ALL, |fault| {
        let by = cases().iter().filter(|case| fails(&bus().with(*fault), case));
        let by: Vec<_> = by.map(|case| case.name).collect();
        print(&format!("{fault:?} on {name} is found by {} cases: {}", by.len(), by.join(" ")));
        if by.is_empty() {
            overlooked.lock().unwrap().push(*fault);
        }
    });
    let mut overlooked = overlooked.into_inner().unwrap();
    overlooked.sort_unstable();
    overlooked
}

/// The names of the cases that fail on this layer.
fn failures(layer: fn(LayerConfig) -> Arc<dyn ChannelLayer>) -> BTreeSet<&'static str> {
    let failing = cases().iter().filter(|case| fails(&Mounted(layer), case));
    failing.map(|case| case.name).collect()
}

fn assert_found(failures: &BTreeSet<&str>, by: &[&str]) {
    for case in by {
        assert!(failures.contains(case), "{case} should have failed; these did: {failures:#?}");
    }
}

#[test]
fn a_faultless_layer_passes() {
    assert_eq!(failures(|config| Arc::new(MemoryLayer::new(config))), BTreeSet::new());
}

#[test]
fn rejects_lost_messages() {
    let failures = failures(|config| Arc::new(Wrapped::new(MemoryLayer::new(config), Lossy::every(5))));
    assert_found(
        &failures,
        &[
            "a_long_run_arrives",
            "named_channels_are_fifo",
            "a_long_run_arrives_in_a_group",
            "a_cancelled_receive_loses_nothing",
            "receivers_share_a_channel",
        ],
    );
}

#[test]
fn rejects_ignored_expiry() {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let failures =
        failures(|config| Arc::new(MemoryLayer::new(config.with_expiry(YEAR).with_group_expiry(YEAR))));
    assert_eq!(
        failures,
        BTreeSet::from([
            "named_memberships_expire",
            "named_messages_expire",
            "expired_messages_free_capacity",
            "the_earliest_expires_first",
            "messages_expire",
        ])
    );
}

#[test]
fn rejects_ignored_capacity() {
    let failures = failures(|config| Arc::new(MemoryLayer::new(config.with_capacity(1_000_000))));
    assert_found(
        &failures,
        &["a_full_channel_refuses", "a_full_mailbox_refuses", "full_members_fail_no_send"],
    );
}
