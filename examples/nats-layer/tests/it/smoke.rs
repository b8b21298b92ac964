//! A selection of the suite that takes seconds.

use channel_layer::conformance::{Case, case, run_all};

use crate::harness::Nats;

const SMOKE: [&str; 16] = [
    "a_dropped_remote_mailbox_leaves",
    "a_freeze_is_reported_once",
    "groups_span_processes",
    "long_runs_arrive_in_remote_groups",
    "long_runs_arrive_on_remote_names",
    "mebibytes_arrive_in_remote_groups",
    "remote_union_members_hear_once",
    "a_peer_can_add_a_channel",
    "former_remote_receivers_take_nothing",
    "closing_leaves_no_residue",
    "values_arrive_at_a_peer",
    "members_survive_a_freeze",
    "members_survive_a_severance",
    "remote_receivers_share_a_channel",
    "size_limit_of_unions",
    "messages_expire_at_a_peer",
];

#[test]
fn a_part_of_the_suite_holds() {
    let cases: Vec<Case> = SMOKE.iter().map(|name| case(name).expect("a case of the suite")).collect();
    run_all(&cases, 8, Nats::default).check(&[]);
}
