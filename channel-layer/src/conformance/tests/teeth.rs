//! The suite must be able to fail: a layer with a fault is found out, by the cases that are about it.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use super::{
    Mounted,
    faulty::{Fault, Faulty},
};
use crate::{
    config::LayerConfig,
    conformance::{cases, run},
    layer::ChannelLayer,
    memory::MemoryLayer,
    wrap::{Lossy, Wrapped},
};

/// The names of the cases that fail on this layer. Each prints its panic, which the test runner keeps to itself.
fn failures(layer: fn(LayerConfig) -> Arc<dyn ChannelLayer>) -> BTreeSet<&'static str> {
    let fails = |case: &&crate::conformance::Case| {
        catch_unwind(AssertUnwindSafe(|| run(&Mounted(layer), case))).is_err()
    };
    cases().iter().filter(fails).map(|case| case.name).collect()
}

fn assert_found(failures: &BTreeSet<&str>, by: &[&str]) {
    for case in by {
        assert!(failures.contains(case), "{case} should have failed; these did: {failures:#?}");
    }
}

#[test]
fn the_layer_without_a_fault_passes() {
    assert_eq!(failures(|config| Arc::new(MemoryLayer::new(config))), BTreeSet::new());
}

#[test]
fn a_layer_that_loses_messages_is_rejected() {
    let failures = failures(|config| Arc::new(Wrapped::new(MemoryLayer::new(config), Lossy::every(5))));
    assert_found(
        &failures,
        &[
            "a_long_run_arrives",
            "a_named_channel_is_first_in_first_out",
            "a_long_run_arrives_in_a_group",
            "a_cancelled_receiver_loses_nothing",
            "receivers_share_a_channel",
        ],
    );
}

#[test]
fn a_layer_that_repeats_messages_is_rejected() {
    let failures = failures(|config| Arc::new(Faulty::new(MemoryLayer::new(config), Fault::Duplicates)));
    assert_found(
        &failures,
        &[
            "every_value_arrives",
            "a_named_channel_keeps_messages",
            "a_hundred_members_hear",
            "adding_twice_is_one_membership",
            "a_member_of_several_groups_hears_once",
            "receivers_share_a_channel",
        ],
    );
}

#[test]
fn a_layer_that_changes_the_order_is_rejected() {
    let failures = failures(|config| Arc::new(Faulty::new(MemoryLayer::new(config), Fault::Reorders)));
    assert_found(&failures, &["a_long_run_arrives", "a_named_channel_is_first_in_first_out"]);
}

#[test]
fn a_layer_that_keeps_members_who_left_is_rejected() {
    let failures = failures(|config| Arc::new(Faulty::new(MemoryLayer::new(config), Fault::Leaks)));
    assert_found(
        &failures,
        &[
            "members_hear_until_they_leave",
            "adding_twice_is_one_membership",
            "a_channel_can_leave_all_groups",
            "a_named_channel_can_be_a_member",
            "the_directory_lists_groups_and_members",
        ],
    );
}

#[test]
fn a_layer_that_ignores_expiry_is_rejected() {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let failures =
        failures(|config| Arc::new(MemoryLayer::new(config.with_expiry(YEAR).with_group_expiry(YEAR))));
    assert_eq!(
        failures,
        BTreeSet::from([
            "a_membership_by_name_expires",
            "a_named_channel_drops_what_expired",
            "expired_messages_make_room",
            "the_earliest_message_expires_first",
            "what_expired_is_dropped",
        ])
    );
}

#[test]
fn a_layer_that_ignores_capacity_is_rejected() {
    let failures = failures(|config| Arc::new(MemoryLayer::new(config.with_capacity(1_000_000))));
    assert_found(
        &failures,
        &["a_full_channel_refuses", "a_full_mailbox_refuses", "a_full_member_fails_nobody"],
    );
}
