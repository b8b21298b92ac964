//! The list of cases. A new case is added here.

/// Makes cases of one body, whose parameters after the harness differ.
macro_rules! variants {
    ($($(#[$doc:meta])* $name:ident = $body:ident($($variant:expr),*);)*) => {
        $(
            $(#[$doc])*
            pub async fn $name(harness: &dyn Harness) -> Verdict {
                $body(harness, $($variant),*).await
            }
        )*
    };
}

/// Calls a macro with the given tokens and all cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($then:ident ! ($($given:tt)*)) => {
        $crate::$then! {
            ($($given)*)
            content::values_arrive "L3 M1 M4 R1 R5 P2",
            content::values_arrive_at_a_peer "",
            content::values_arrive_in_a_group "",
            content::values_arrive_in_a_remote_group "",
            content::values_arrive_in_a_union "",
            content::values_arrive_in_a_remote_union "",
            content::values_arrive_on_a_name "",
            content::values_arrive_on_a_remote_name "",
            content::a_mebibyte_arrives "",
            content::a_mebibyte_arrives_at_a_peer "",
            content::a_mebibyte_arrives_in_a_group "",
            content::mebibytes_arrive_in_remote_groups "",
            content::a_mebibyte_arrives_on_a_name "",
            content::mebibytes_arrive_on_remote_names "",
            content::size_limit_of_mailboxes "",
            content::size_limit_of_groups "",
            content::size_limit_of_unions "",
            content::size_limit_of_names "",
            order::a_long_run_arrives "M5 R6 P3",
            order::a_long_run_arrives_at_a_peer "",
            order::a_long_run_arrives_in_a_group "R9",
            order::long_runs_arrive_in_remote_groups "",
            order::a_long_run_arrives_in_a_union "",
            order::long_runs_arrive_in_remote_unions "",
            order::a_long_run_arrives_on_a_name "",
            order::long_runs_arrive_on_remote_names "",
            order::concurrent_calls_keep_order "",
            order::concurrent_calls_reach_peers_in_order "",
            order::audiences_share_one_order "",
            order::members_share_one_order "",
            channels::messages_reach_their_mailbox "",
            channels::messages_reach_a_remote_mailbox "R2",
            channels::a_full_mailbox_keeps_the_first "",
            channels::full_mailboxes_keep_a_peers_first "",
            channels::full_mailboxes_are_independent "M21",
            channels::full_remote_mailboxes_are_independent "",
            channels::mailboxes_refuse_other_receivers "R8",
            channels::mailboxes_refuse_remote_receivers "",
            channels::a_full_mailbox_refuses "M3 R26",
            channels::the_first_pattern_sets_capacity "M20 R4",
            channels::patterns_bound_mailboxes "",
            channels::patterns_bound_remote_mailboxes "",
            channels::a_cancelled_recv_loses_nothing "R17",
            channels::unknown_channels_take_messages "",
            named::named_channels_store "M1 R1",
            named::named_channels_store_for_peers "",
            named::a_send_wakes_a_receiver "M2 P6 R34",
            named::a_remote_send_wakes_a_receiver "",
            named::named_channels_are_fifo "M5 R6",
            named::named_channels_are_fifo_for_peers "",
            named::a_full_channel_refuses "M3 R3",
            named::a_full_channel_refuses_a_peer "R32",
            named::receivers_share_a_channel "M22 R36",
            named::remote_receivers_share_a_channel "R36",
            named::former_receivers_take_nothing "",
            named::former_remote_receivers_take_nothing "",
            named::a_cancelled_receive_loses_nothing "M22 R17 P10",
            named::cancelled_receives_lose_no_remote_message "",
            named::short_waits_lose_nothing "",
            named::short_waits_lose_no_remote_message "",
            named::named_channels_can_be_members "M6",
            named::named_channels_can_be_remote_members "",
            named::a_named_member_hears_all_groups "",
            named::named_members_hear_remote_groups "",
            named::unions_reach_named_members_once "",
            named::unions_reach_remote_names_once "",
            mailboxes::mailbox_names_are_unguessable "R18 R19 P7",
            mailboxes::mailbox_names_differ_by_process "R18 R19",
            mailboxes::refuse_newest_keeps_the_oldest "M3",
            mailboxes::refuse_newest_at_a_peer "",
            mailboxes::drop_oldest_keeps_the_newest "R26",
            mailboxes::drop_oldest_at_a_peer "",
            mailboxes::keep_latest_replaces_by_key "",
            mailboxes::keep_latest_at_a_peer "",
            mailboxes::close_ends_a_full_mailbox "",
            mailboxes::close_at_a_peer "",
            mailboxes::bytes_bound_a_mailbox "",
            mailboxes::bytes_bound_a_remote_mailbox "",
            mailboxes::bad_prefixes_are_refused "L1 L2 R7",
            groups::members_hear_until_they_leave "M6 R9 P4",
            groups::remote_members_hear_until_they_leave "",
            groups::a_hundred_members_hear "R12 R13 P5",
            groups::a_hundred_remote_members_hear "",
            groups::similar_group_names_are_distinct "",
            groups::similar_remote_groups_are_distinct "",
            groups::adding_twice_is_one_membership "M14",
            groups::adding_twice_at_a_peer "",
            groups::a_channel_can_rejoin "M14",
            groups::a_remote_channel_can_rejoin "",
            groups::a_leave_spares_a_join "",
            groups::a_leave_spares_a_remote_join "",
            groups::a_dropped_join_is_harmless "",
            groups::a_dropped_remote_join_is_harmless "",
            groups::full_members_fail_no_send "M7 R10 R14",
            groups::full_remote_members_fail_no_send "",
            groups::full_members_spare_others "R15",
            groups::full_remote_members_spare_others "",
            groups::leaving_one_group_keeps_others "",
            groups::leaving_one_remote_group_keeps_others "",
            groups::a_channel_can_leave_all_groups "",
            groups::remote_channels_can_leave_all "",
            groups::a_dropped_mailbox_leaves "P17",
            groups::a_dropped_remote_mailbox_leaves "P17",
            groups::leaving_before_joining_succeeds "M12 P12",
            groups::unknown_groups_take_messages "M13",
            groups::the_directory_lists_members "",
            audiences::exceptions_hear_nothing "",
            audiences::remote_exceptions_hear_nothing "",
            audiences::unions_respect_exceptions "",
            audiences::unions_respect_remote_exceptions "",
            audiences::union_members_hear_once "",
            audiences::remote_union_members_hear_once "",
            audiences::unions_reach_every_group "",
            audiences::unions_reach_every_remote_group "",
            audiences::repeated_groups_hear_once "",
            audiences::repeated_remote_groups_hear_once "",
            audiences::local_sends_reach_local_members "",
            audiences::local_sends_reach_no_peer "",
            reports::reports_count_local_members "",
            reports::reports_count_full_members "",
            reports::reports_omit_exceptions "",
            reports::reports_count_other_processes "",
            selections::filters_select "",
            selections::filters_select_at_a_peer "",
            selections::filters_are_replaced "",
            selections::filters_of_peers_are_replaced "",
            selections::any_filter_of_a_union_selects "",
            selections::any_filter_of_a_remote_union_selects "",
            selections::passive_members_hear_summaries "",
            selections::passive_peers_hear_summaries "",
            selections::reports_count_filtered_members "",
            selections::other_selections_are_refused "",
            selections::foreign_selections_are_refused "",
            foreign::a_peer_can_add_a_channel "",
            foreign::a_peer_can_end_all_memberships "",
            foreign::channels_added_remotely_can_drop "",
            foreign::adding_unknown_channels_succeeds "",
            foreign::foreign_channels_join_or_fail "",
            expiry::messages_expire "M8 R20 R22 R23",
            expiry::messages_expire_at_a_peer "",
            expiry::the_earliest_expires_first "R20 R21",
            expiry::the_earliest_expires_first_at_a_peer "",
            expiry::expired_messages_free_capacity "M9",
            expiry::expired_messages_free_remote_capacity "",
            expiry::named_messages_expire "M8 M10",
            expiry::named_messages_expire_for_peers "",
            expiry::named_memberships_expire "M14 M15",
            expiry::named_memberships_expire_for_peers "",
            expiry::one_side_sets_the_expiry "",
            expiry::mailboxes_outlive_group_expiry "M15",
            life::a_flush_empties_the_layer "M19",
            life::a_remote_flush_empties_the_layer "R33",
            life::requests_are_answered "",
            life::remote_requests_are_answered "",
            life::a_closed_layer_refuses_calls "P1",
            life::closing_ends_all_waits "P1",
            life::mailboxes_are_readable_after_close "",
            life::health_counts_mailboxes "",
            outages::a_severance_is_reported_once "R35",
            outages::a_freeze_is_reported_once "",
            outages::calls_fail_while_severed "",
            outages::calls_fail_while_frozen "",
            outages::calls_end_before_a_severance_is_seen "",
            outages::calls_end_before_a_freeze_is_seen "",
            outages::members_survive_a_severance "",
            outages::members_survive_a_freeze "",
            outages::members_change_while_severed "",
            outages::members_change_while_frozen "",
            outages::receivers_survive_a_severance "",
            outages::receivers_survive_a_freeze "",
            outages::a_severed_layer_closes "",
            outages::a_frozen_layer_closes "",
            outages::joins_in_an_outage_take_effect "",
            outages::each_outage_is_reported "",
            outages::stored_messages_survive_an_outage "",
            outages::lost_messages_are_reported "",
            outages::no_event_without_an_outage "",
            processes::groups_span_processes "R9",
            processes::one_process_can_end "P1",
            processes::closing_spares_other_processes "",
            processes::closing_under_load_ends "",
            residue::closing_leaves_no_residue "",
            residue::leaving_leaves_no_residue "",
            residue::dropped_joins_leave_no_residue "",
            residue::stopped_receivers_leave_no_residue "",
        }
    };
}

/// Makes a test of every case, in one line of a backend's tests.
///
/// The expression makes a [`Harness`](crate::conformance::Harness), for each test anew. Tests are named after
/// their case, so each mount needs a separate module. There is an example in the
/// [module's documentation](crate::conformance).
///
/// `skips` lists the names of cases that do not apply, or the reasons of the [skips](crate::conformance::Skip).
/// Without it, none is expected. A test fails if its case is skipped without being expected to, or is expected to and
/// runs. One more test checks that the list holds no other name.
///
/// ```ignore
/// mod on_the_server {
///     channel_layer::conformance_tests!(super::MyHarness::new());
/// }
///
/// mod without_storage {
///     channel_layer::conformance_tests!(super::MyHarness::new(), skips: [stores_messages, a_full_mailbox_refuses]);
/// }
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr $(,)?) => {
        $crate::conformance_tests!($harness, skips: []);
    };
    ($harness:expr, skips: [$($skip:ident),* $(,)?] $(,)?) => {
        $crate::conformance::__conformance_cases! { __conformance_mount!($harness, [$($skip)*]) }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_mount {
    (($harness:expr, [$($skip:ident)*]) $($module:ident :: $case:ident $covers:literal,)*) => {
        static CONFORMANCE: $crate::conformance::Mount =
            $crate::conformance::Mount::new(module_path!(), &[$(stringify!($skip)),*]);

        #[test]
        fn expected_skips_have_reasons() {
            CONFORMANCE.check(&$harness);
        }

        $(
            #[test]
            fn $case() {
                CONFORMANCE.test(&$harness, stringify!($case));
            }
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    (() $($module:ident :: $case:ident $covers:literal,)*) => {
        &[$($crate::conformance::Case {
            area: stringify!($module),
            name: stringify!($case),
            covers: $covers,
            run: |harness| Box::pin($crate::conformance::$module::$case(harness)),
        },)*]
    };
}
