//! A part of the suite that takes seconds.

use channel_layer::conformance::{Case, case, run_all};

use crate::harness::Nats;

const SMOKE: [&str; 16] = [
    "a_dropped_mailbox_of_a_peer_leaves_its_groups",
    "a_frozen_backend_is_told_once",
    "a_group_spans_processes",
    "a_long_run_arrives_in_a_group_of_a_peer",
    "a_long_run_arrives_on_a_named_channel_of_a_peer",
    "a_mebibyte_arrives_in_a_group_of_a_peer",
    "a_member_of_several_groups_hears_once_at_a_peer",
    "a_peer_can_add_a_channel",
    "a_process_that_stopped_receiving_takes_no_messages",
    "closing_leaves_nothing_at_the_server",
    "every_value_arrives_at_a_peer",
    "members_outlive_a_freeze",
    "members_outlive_a_severance",
    "receivers_of_two_processes_share_a_channel",
    "the_size_limit_holds_for_a_union",
    "what_expired_is_dropped_at_a_peer",
];

#[test]
fn a_part_of_the_suite_holds() {
    let cases: Vec<Case> = SMOKE.iter().map(|name| case(name).expect("a case of the suite")).collect();
    run_all(&cases, 8, Nats::default).check(&[]);
}
