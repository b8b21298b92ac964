//! The list of cases: the one place where a new one is entered.

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

/// Calls a macro with what it is given and all cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($then:ident ! ($($given:tt)*)) => {
        $crate::$then! {
            ($($given)*)
            content::every_value_arrives "L3 M1 M4 R1 R5 P2",
            content::every_value_arrives_at_a_peer "",
            content::every_value_arrives_in_a_group "",
            content::every_value_arrives_in_a_group_of_a_peer "",
            content::every_value_arrives_in_a_union "",
            content::every_value_arrives_in_a_union_of_a_peer "",
            content::every_value_arrives_on_a_named_channel "",
            content::every_value_arrives_on_a_named_channel_of_a_peer "",
            content::a_mebibyte_arrives "",
            content::a_mebibyte_arrives_at_a_peer "",
            content::a_mebibyte_arrives_in_a_group "",
            content::a_mebibyte_arrives_in_a_group_of_a_peer "",
            content::a_mebibyte_arrives_on_a_named_channel "",
            content::a_mebibyte_arrives_on_a_named_channel_of_a_peer "",
            content::the_size_limit_holds_for_a_mailbox "",
            content::the_size_limit_holds_for_a_group "",
            content::the_size_limit_holds_for_a_union "",
            content::the_size_limit_holds_for_a_named_channel "",
            order::a_long_run_arrives "M5 R6 P3",
            order::a_long_run_arrives_at_a_peer "",
            order::a_long_run_arrives_in_a_group "R9",
            order::a_long_run_arrives_in_a_group_of_a_peer "",
            order::a_long_run_arrives_in_a_union "",
            order::a_long_run_arrives_in_a_union_of_a_peer "",
            order::a_long_run_arrives_on_a_named_channel "",
            order::a_long_run_arrives_on_a_named_channel_of_a_peer "",
            order::calls_at_once_keep_their_order "",
            order::calls_at_once_keep_their_order_at_a_peer "",
            order::audiences_of_a_group_share_one_order "",
            order::members_of_a_process_hear_one_order "",
            channels::a_message_arrives_in_its_mailbox "",
            channels::a_message_arrives_in_its_mailbox_at_a_peer "R2",
            channels::a_full_mailbox_keeps_the_first "",
            channels::a_full_mailbox_keeps_the_first_of_a_peer "",
            channels::a_full_mailbox_does_not_fill_another "M21",
            channels::a_full_mailbox_does_not_fill_another_of_a_peer "",
            channels::a_mailbox_is_received_by_its_owner_only "R8",
            channels::a_mailbox_is_not_received_by_a_peer "",
            channels::a_full_mailbox_refuses "M3 R26",
            channels::capacity_goes_by_the_first_pattern "M20 R4",
            channels::a_pattern_bounds_mailboxes "",
            channels::a_pattern_bounds_mailboxes_of_a_peer "",
            channels::a_cancelled_recv_loses_nothing "R17",
            channels::sending_to_an_unknown_channel_is_fine "",
            named::a_named_channel_keeps_messages "M1 R1",
            named::a_named_channel_keeps_messages_for_a_peer "",
            named::a_waiting_receiver_is_woken "M2 P6 R34",
            named::a_waiting_receiver_is_woken_by_a_peer "",
            named::a_named_channel_is_first_in_first_out "M5 R6",
            named::a_named_channel_is_first_in_first_out_for_a_peer "",
            named::a_full_channel_refuses "M3 R3",
            named::a_full_channel_refuses_a_peer "R32",
            named::receivers_share_a_channel "M22 R36",
            named::receivers_of_two_processes_share_a_channel "R36",
            named::a_receiver_that_left_takes_no_messages "",
            named::a_process_that_stopped_receiving_takes_no_messages "",
            named::a_cancelled_receiver_loses_nothing "M22 R17 P10",
            named::a_cancelled_receiver_loses_nothing_of_a_peer "",
            named::a_receiver_with_short_waits_loses_nothing "",
            named::a_receiver_with_short_waits_loses_nothing_of_a_peer "",
            named::a_named_channel_can_be_a_member "M6",
            named::a_named_channel_can_be_a_member_for_a_peer "",
            named::a_named_member_hears_each_of_its_groups "",
            named::a_named_member_hears_the_groups_of_each_process "",
            named::a_named_member_of_several_groups_receives_once "",
            named::a_named_member_of_several_groups_receives_once_at_a_peer "",
            mailboxes::mailbox_names_are_unique_and_unguessable "R18 R19 P7",
            mailboxes::mailbox_names_of_two_processes_differ "R18 R19",
            mailboxes::refuse_newest_keeps_the_oldest "M3",
            mailboxes::refuse_newest_keeps_the_oldest_of_a_peer "",
            mailboxes::drop_oldest_keeps_the_newest "R26",
            mailboxes::drop_oldest_keeps_the_newest_of_a_peer "",
            mailboxes::keep_latest_replaces_by_key "",
            mailboxes::keep_latest_replaces_by_key_of_a_peer "",
            mailboxes::close_ends_a_full_mailbox "",
            mailboxes::close_ends_a_mailbox_that_a_peer_filled "",
            mailboxes::bytes_bound_a_mailbox_too "",
            mailboxes::bytes_bound_a_mailbox_for_a_peer "",
            mailboxes::a_bad_prefix_is_refused "L1 L2 R7",
            groups::members_hear_until_they_leave "M6 R9 P4",
            groups::members_of_a_peer_hear_until_they_leave "",
            groups::a_hundred_members_hear "R12 R13 P5",
            groups::a_hundred_members_of_a_peer_hear "",
            groups::groups_with_similar_names_are_apart "",
            groups::groups_with_similar_names_are_apart_at_a_peer "",
            groups::adding_twice_is_one_membership "M14",
            groups::adding_twice_is_one_membership_at_a_peer "",
            groups::a_channel_can_come_back_at_once "M14",
            groups::a_channel_can_come_back_at_once_at_a_peer "",
            groups::a_leave_does_not_undo_a_join "",
            groups::a_leave_does_not_undo_a_join_at_a_peer "",
            groups::a_dropped_join_does_no_harm "",
            groups::a_dropped_join_does_no_harm_at_a_peer "",
            groups::a_full_member_fails_nobody "M7 R10 R14",
            groups::a_full_member_of_a_peer_fails_nobody "",
            groups::a_full_member_silences_nobody "R15",
            groups::a_full_member_of_a_peer_silences_nobody "",
            groups::leaving_one_group_keeps_the_others "",
            groups::leaving_one_group_keeps_the_others_at_a_peer "",
            groups::a_channel_can_leave_all_groups "",
            groups::a_channel_of_a_peer_can_leave_all_groups "",
            groups::a_dropped_mailbox_leaves_its_groups "P17",
            groups::a_dropped_mailbox_of_a_peer_leaves_its_groups "P17",
            groups::leaving_before_joining_is_fine "M12 P12",
            groups::sending_to_an_unknown_group_is_fine "M13",
            groups::the_directory_lists_groups_and_members "",
            audiences::the_excepted_channel_hears_nothing "",
            audiences::the_excepted_channel_of_a_peer_hears_nothing "",
            audiences::the_exception_holds_for_a_union "",
            audiences::the_exception_holds_for_a_union_at_a_peer "",
            audiences::a_member_of_several_groups_hears_once "",
            audiences::a_member_of_several_groups_hears_once_at_a_peer "",
            audiences::a_union_reaches_each_of_its_groups "",
            audiences::a_union_reaches_each_of_its_groups_at_a_peer "",
            audiences::a_group_named_twice_hears_once "",
            audiences::a_group_named_twice_hears_once_at_a_peer "",
            audiences::a_local_message_reaches_local_members "",
            audiences::a_local_message_stays_local "",
            reports::a_report_counts_local_members "",
            reports::a_report_counts_full_members "",
            reports::a_report_counts_nobody_who_is_left_out "",
            reports::a_report_counts_other_processes "",
            foreign::a_peer_can_add_a_channel "",
            foreign::a_peer_can_end_all_memberships "",
            foreign::a_channel_added_by_a_peer_leaves_with_its_mailbox "",
            foreign::adding_an_unknown_channel_has_no_effect "",
            foreign::a_foreign_channel_joins_or_is_refused "",
            expiry::what_expired_is_dropped "M8 R20 R22 R23",
            expiry::what_expired_is_dropped_at_a_peer "",
            expiry::the_earliest_message_expires_first "R20 R21",
            expiry::the_earliest_message_expires_first_at_a_peer "",
            expiry::expired_messages_make_room "M9",
            expiry::expired_messages_make_room_at_a_peer "",
            expiry::a_named_channel_drops_what_expired "M8 M10",
            expiry::a_named_channel_drops_what_expired_for_a_peer "",
            expiry::a_membership_by_name_expires "M14 M15",
            expiry::a_membership_by_name_expires_for_a_peer "",
            expiry::one_process_decides_the_expiry "",
            expiry::a_mailbox_outlives_the_group_expiry "M15",
            life::a_flush_empties_and_leaves_open "M19",
            life::a_flush_by_a_peer_empties_and_leaves_open "R33",
            life::a_request_is_answered_or_times_out "",
            life::a_request_to_a_peer_is_answered_or_times_out "",
            life::a_closed_layer_refuses_calls "P1",
            life::closing_ends_what_waits "P1",
            life::a_mailbox_is_readable_after_close "",
            life::health_counts_what_is_open "",
            outages::a_severed_backend_is_told_once "R35",
            outages::a_frozen_backend_is_told_once "",
            outages::calls_to_a_severed_backend_reach_nobody "",
            outages::calls_to_a_frozen_backend_reach_nobody "",
            outages::calls_on_the_eve_of_a_severance_end "",
            outages::calls_on_the_eve_of_a_freeze_end "",
            outages::members_outlive_a_severance "",
            outages::members_outlive_a_freeze "",
            outages::members_come_and_go_during_a_severance "",
            outages::members_come_and_go_during_a_freeze "",
            outages::a_receiver_outlives_a_severance "",
            outages::a_receiver_outlives_a_freeze "",
            outages::a_severed_layer_can_be_closed "",
            outages::a_frozen_layer_can_be_closed "",
            outages::a_subscription_made_in_an_outage_is_live "",
            outages::outages_in_a_row_are_told_one_by_one "",
            outages::stored_messages_outlive_an_outage "",
            outages::lost_messages_are_told "",
            outages::no_event_without_an_outage "",
            processes::a_group_spans_processes "R9",
            processes::one_process_can_end "P1",
            processes::closing_one_process_ends_its_receivers_only "",
            processes::closing_under_load_ends_in_time "",
            residue::closing_leaves_nothing_at_the_server "",
            residue::leaving_leaves_nothing_at_the_server "",
            residue::dropped_joins_leave_nothing_at_the_server "",
            residue::stopped_receivers_leave_nothing_at_the_server "",
        }
    };
}

/// Makes a test of every case, in one line of a backend's tests.
///
/// The expression makes a [`Harness`](crate::conformance::Harness); each test makes its own. Tests are named after
/// their case, so give each mount a module of its own. There is an example in the
/// [module's documentation](crate::conformance).
///
/// `skips` names the cases that do not apply, or what they are [skipped](crate::conformance::Skip) for. Without it, none
/// is expected. A test fails if its case is skipped without being expected to, or is expected to and runs. One more test
/// checks that the list holds no other name.
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
