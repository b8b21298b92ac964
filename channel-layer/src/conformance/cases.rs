//! The list of cases: the one place where a new one is entered.

/// Calls a macro with what it is given and all cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($then:ident ! ($($given:tt)*)) => {
        $crate::$then! {
            ($($given)*)
            channels::a_message_arrives_as_it_was "L3 M1 M4 R1 R5 P2",
            channels::a_message_of_a_megabyte_passes "",
            channels::a_named_channel_keeps_messages "M1 R1",
            channels::a_waiting_receiver_is_woken "M2 P6 R34",
            channels::a_mailbox_is_first_in_first_out "M5 R6 P3",
            channels::a_named_channel_is_first_in_first_out "M5 R6",
            channels::a_full_channel_refuses "M3 R3",
            channels::a_full_mailbox_refuses "M3 R26",
            channels::capacity_goes_by_the_first_pattern "M20 R4",
            channels::a_full_mailbox_does_not_fill_another "M21",
            channels::receivers_share_a_channel "M22 R36",
            channels::a_cancelled_receiver_loses_nothing "M22 R17 P10",
            channels::a_cancelled_recv_loses_nothing "R17",
            channels::a_mailbox_is_received_by_its_owner_only "R8",
            channels::sending_to_an_unknown_channel_is_fine "",
            mailboxes::mailbox_names_are_unique_and_unguessable "R18 R19 P7",
            mailboxes::a_bad_prefix_is_refused "L1 L2 R7",
            mailboxes::a_dropped_mailbox_leaves_its_groups "P17",
            mailboxes::refuse_newest_keeps_the_oldest "M3",
            mailboxes::drop_oldest_keeps_the_newest "R26",
            mailboxes::keep_latest_replaces_by_key "",
            mailboxes::close_ends_a_full_mailbox "",
            mailboxes::bytes_bound_a_mailbox_too "",
            groups::members_hear_and_who_left_does_not "M6 R9 P4",
            groups::a_hundred_members_hear "R12 R13 P5",
            groups::a_group_is_first_in_first_out "R9",
            groups::adding_twice_is_one_membership "M14",
            groups::who_left_can_come_back "M14",
            groups::leaving_before_joining_is_fine "M12 P12",
            groups::sending_to_an_unknown_group_is_fine "M13",
            groups::a_full_member_fails_nobody "M7 R10 R14",
            groups::a_full_member_silences_nobody "R15",
            groups::a_named_channel_can_be_a_member "M6",
            groups::the_excepted_channel_hears_nothing "",
            groups::who_is_in_several_groups_hears_once "",
            groups::a_local_message_reaches_local_members "",
            groups::a_channel_can_leave_all_groups "",
            groups::the_directory_lists_groups_and_members "",
            expiry::a_mailbox_drops_what_expired "M8 R20",
            expiry::a_named_channel_drops_what_expired "M8",
            expiry::some_are_read_and_some_expire "M10",
            expiry::the_earliest_message_expires_first "R20",
            expiry::a_message_lives_until_it_expires "R21",
            expiry::expired_messages_make_room "M9",
            expiry::a_group_message_expires_for_each_member "R22 R23",
            expiry::a_membership_by_name_expires "M15",
            expiry::adding_again_renews_a_membership "M14",
            expiry::a_mailbox_outlives_the_group_expiry "M15",
            life::a_flush_empties_and_leaves_open "M19",
            life::a_closed_layer_says_so "P1",
            life::health_counts_what_is_open "",
            life::a_request_is_answered_or_times_out "",
            life::closing_ends_what_waits "P1",
            outages::an_outage_and_its_end_are_told "R35",
            outages::calls_fail_at_once_and_reach_nobody "",
            outages::members_come_and_go_during_an_outage "",
            processes::a_message_reaches_another_process "R2",
            processes::a_group_spans_processes "R9",
            processes::who_left_elsewhere_hears_nothing "P17",
            processes::the_exception_holds_everywhere "",
            processes::several_groups_are_one_message_everywhere "",
            processes::a_local_message_stays_local "",
            processes::workers_share_a_channel_across_processes "R36",
            processes::capacity_holds_across_processes "R32",
            processes::a_flush_is_felt_everywhere "R33",
            processes::mailboxes_of_two_processes_differ "R18 R19",
            processes::one_process_can_end "P1",
        }
    };
}

/// One line in a backend's tests: makes a test of every case.
///
/// The expression makes a [`Harness`](crate::conformance::Harness); each test makes its own. Tests are named after
/// their case, so give each mount a module of its own.
/// There is an example in the [module's documentation](crate::conformance).
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr) => {
        $crate::conformance::__conformance_cases! { __conformance_mount!($harness) }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_mount {
    (($harness:expr) $($module:ident :: $case:ident $covers:literal,)*) => {
        $(
            #[test]
            fn $case() {
                let case = $crate::conformance::case(stringify!($case)).expect("the list is the same");
                let _ = $crate::conformance::run(&$harness, &case);
            }
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    (() $($module:ident :: $case:ident $covers:literal,)*) => {
        &[$($crate::conformance::Case {
            name: stringify!($case),
            covers: $covers,
            run: |harness| Box::pin($crate::conformance::$module::$case(harness)),
        },)*]
    };
}
