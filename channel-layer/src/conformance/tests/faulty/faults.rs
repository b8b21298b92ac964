//! The faults that a layer can be given.

/// Declares faults, and the list of them.
macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident,)*) => {
        /// A fault of a backend.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(in super::super) enum Fault {
            $($(#[$doc])* $fault,)*
        }

        impl Fault {
            /// All faults.
            pub(in super::super) const ALL: &'static [Self] = &[$(Self::$fault),*];
        }
    };
}

faults! {
    /// Loses one message in thirty, of whatever kind.
    LosesOneInThirty,
    /// Loses one message in thirty to a mailbox.
    LosesOneSendInThirty,
    /// Loses one message in thirty to a named channel.
    LosesOneNamedInThirty,
    /// Loses one message in thirty to a group.
    LosesOneGroupSendInThirty,
    /// Loses one message in thirty to a union.
    LosesOneUnionInThirty,
    /// Loses one message in thirty on the way to another process.
    LosesOneInThirtyToPeers,
    /// Loses the first message that it is asked to send.
    LosesTheFirst,
    /// Loses the thousandth message that it is asked to send.
    LosesTheThousandth,
    /// Sends each message when the next one is sent.
    HoldsTheLastBack,
    /// Loses the first message on each topic that it has subscribed to.
    LosesTheFirstOfATopic,
    /// Sends no message to groups to other processes.
    LosesGroupSendsToPeers,
    /// Sends no message to unions to other processes.
    LosesUnionsToPeers,
    /// Sends no message to mailboxes of other processes.
    LosesSendsToPeers,
    /// Delivers no message to groups in the sender's process.
    LosesGroupSendsAtHome,
    /// Loses messages to groups during another send.
    LosesConcurrentCalls,
    /// Delivers every message twice.
    DeliversTwice,
    /// Delivers one message in fifty twice.
    DeliversOneInFiftyTwice,
    /// Delivers messages to mailboxes twice.
    DeliversSendsTwice,
    /// Delivers messages to named channels twice.
    DeliversNamedTwice,
    /// Delivers messages to unions twice.
    DeliversUnionsTwice,
    /// Delivers messages to other processes twice.
    DeliversToPeersTwice,
    /// Delivers messages twice once there has been an outage.
    DeliversTwiceAfterAnOutage,
    /// Repeats a call whose outcome was uncertain.
    RepeatsUncertainCalls,
    /// Sends one message in ten to a mailbox so late that the next one overtakes it.
    ReordersSends,
    /// Sends one message in ten to a named channel so late that the next one overtakes it.
    ReordersNamed,
    /// Sends one message in ten to a group so late that the next one overtakes it.
    ReordersGroupSends,
    /// Sends one message in ten to a union so late that the next one overtakes it.
    ReordersUnions,
    /// Delivers neighbours in the opposite order to other processes.
    ReordersToPeers,
    /// Sends messages with an exception so late that the next one overtakes them.
    ReordersExceptions,
    /// Sends concurrent messages to groups in any order.
    ReordersConcurrentCalls,
    /// Adds members with a filter for all messages.
    IgnoresFilters,
    /// Keeps the first filter of a member when it gets another one.
    KeepsTheFirstFilter,
    /// Keeps the filter of a member that is added for all messages.
    KeepsFiltersOfMembers,
    /// Sends messages to passive members.
    IgnoresPassive,
    /// Sends nothing to passive members.
    SilencesPassive,
    /// Accepts selections of named channels, without an effect.
    SelectsNames,
    /// Accepts selections of channels of other processes, without an effect.
    SelectsForStrangers,
    /// Delivers messages to groups to one of the members in each process later than to the others.
    DelaysOneMember,
    /// Delivers to the excepted channel too.
    IgnoresExceptions,
    /// Delivers to the excepted channel too, in the sender's process.
    IgnoresExceptionsAtHome,
    /// Delivers to the excepted channel too, in other processes.
    IgnoresExceptionsAtPeers,
    /// Delivers to the excepted channel too, for unions.
    IgnoresExceptionsOfUnions,
    /// Looks for the excepted channel in the first group of a union only.
    ExceptsFromTheFirstGroup,
    /// Sends to the first group of a union only.
    SendsToTheFirstGroup,
    /// Sends to the last group of a union only.
    SendsToTheLastGroup,
    /// Delivers a message to a union once for each group.
    DeliversForEachGroup,
    /// Delivers a message to a union to those that are in all of its groups.
    SendsToMembersOfAllGroups,
    /// Delivers a message twice to a group that is named twice.
    CountsGroupsNamedTwice,
    /// Sends local messages to all processes.
    LeaksLocalMessages,
    /// Sends local messages to all processes, for unions.
    LeaksLocalUnions,
    /// Delivers no local message.
    LosesLocalMessages,
    /// Keeps messages for a year.
    IgnoresExpiry,
    /// Drops messages after half of their time.
    HalvesExpiry,
    /// Keeps messages to other processes for a year.
    IgnoresExpiryAtPeers,
    /// Drops messages to other processes after half of their time.
    HalvesExpiryAtPeers,
    /// Drops messages by the longer setting of sender and receiver.
    ExpiresByTheLongerSetting,
    /// Drops messages by the shorter setting of sender and receiver.
    ExpiresByTheShorterSetting,
    /// Keeps messages on named channels for a year.
    IgnoresExpiryOfNamed,
    /// Drops messages on named channels after half of their time.
    HalvesExpiryOfNamed,
    /// Counts messages that have expired as long as the mailbox is open.
    CountsExpiredMessages,
    /// Keeps memberships of named channels for a year.
    IgnoresGroupExpiry,
    /// Ends memberships of named channels after half of their time.
    HalvesGroupExpiry,
    /// Ends memberships of mailboxes after the group expiry.
    ExpiresMailboxes,
    /// Changes byte strings to lists.
    ListsBytes,
    /// Changes byte strings to lists on the way to other processes.
    ListsBytesToPeers,
    /// Changes byte strings to lists in queues.
    ListsBytesOfNamed,
    /// Changes byte strings to lists in messages to groups.
    ListsBytesOfGroupSends,
    /// Changes byte strings to lists in messages to unions.
    ListsBytesOfUnions,
    /// Changes integers to floats.
    FloatsIntegers,
    /// Rounds integers to 53 bits.
    RoundsIntegers,
    /// Makes integers above `i64::MAX` negative.
    WrapsUnsigned,
    /// Drops fields that are null.
    DropsNulls,
    /// Changes an empty text to null.
    DropsEmptyText,
    /// Drops empty lists and maps.
    DropsEmptyLists,
    /// Changes an empty byte string to null.
    DropsEmptyBytes,
    /// Changes characters that are not ASCII.
    ManglesUnicode,
    /// Composes characters.
    ComposesUnicode,
    /// Removes control characters from text.
    StripsControls,
    /// Removes white space at the ends of text.
    TrimsText,
    /// Cuts text after 65,535 bytes.
    CutsText,
    /// Sorts the keys of maps.
    SortsKeys,
    /// Drops values nested more than eight levels deep.
    DropsDepth,
    /// Rounds floats to single precision.
    RoundsFloats,
    /// Changes the negative zero to zero.
    DropsNegativeZero,
    /// Changes floats without a fraction to integers.
    ShortensFloats,
    /// Changes the dots in the type of a message.
    RenamesTypes,
    /// Drops the fields whose names begin with an underscore or are empty.
    DropsFields,
    /// Drops the channel for the reply.
    DropsReplyChannels,
    /// Loses messages over 256 KiB.
    LosesLargeMessages,
    /// Loses messages over 256 KiB to other processes.
    LosesLargeMessagesToPeers,
    /// Loses messages over 256 KiB to groups.
    LosesLargeGroupSends,
    /// Loses messages over 256 KiB to named channels.
    LosesLargeNamed,
    /// Reports a message over the limit as a failure of the backend.
    ReportsSizeAsFailure,
    /// Loses messages over the limit without an error.
    LosesOversized,
    /// Takes messages over the limit.
    IgnoresTheSizeLimit,
    /// Takes messages over the limit to groups.
    IgnoresTheSizeLimitOfGroupSends,
    /// Refuses messages below the limit.
    RefusesLargeMessages,
    /// Omits the sizes when it refuses a message.
    HidesSizes,
    /// Breaks the connection when a message is over the limit.
    BreaksOnOversized,
    /// Ends a subscription at once when the last member leaves, and does not make it again.
    UnsubscribesForGood,
    /// Ends a subscription when any member leaves.
    UnsubscribesWithAnyMember,
    /// Ends a subscription that a member has joined while the last one was leaving.
    UnsubscribesUnderAJoin,
    /// Fails to end subscriptions.
    StaysSubscribed,
    /// Fails to end the subscriptions of mailboxes that are dropped.
    StaysSubscribedForDropped,
    /// Fails to end the subscriptions of calls that are dropped.
    StaysSubscribedForDroppedJoins,
    /// Fails to end the subscriptions of receivers that have stopped.
    StaysSubscribedForReceivers,
    /// Confirms a subscription before it is in effect.
    ConfirmsEarly,
    /// Takes a channel out of all groups when it leaves one.
    LeavesAllForOne,
    /// Ignores `group_discard`.
    IgnoresLeaving,
    /// Ignores `group_discard_all`.
    IgnoresLeavingAll,
    /// Takes a channel out of its first group only.
    LeavesTheFirst,
    /// Keeps members whose mailbox was dropped.
    KeepsDroppedMembers,
    /// Requires a `group_discard` for each `group_add`.
    CountsJoins,
    /// Ignores a call of `group_add` after a `group_discard`.
    JoinsOnce,
    /// Sends a message once for each `group_add` of a channel.
    HearsForEachJoin,
    /// Reports an error when a channel leaves that is not a member.
    RefusesLeavingStrangers,
    /// Ignores `group_add` for channels of other processes.
    IgnoresForeignJoins,
    /// Refuses `group_add` for channels of other processes.
    RefusesForeignJoins,
    /// Ignores `group_discard` for channels of other processes.
    IgnoresForeignLeaves,
    /// Reports an error when an unknown channel is added to a group.
    RefusesUnknownChannels,
    /// Waits endlessly for the owner of an unknown channel.
    WaitsForUnknownChannels,
    /// Delivers to groups whose names differ by case only.
    IgnoresCase,
    /// Delivers to groups whose names differ by dots.
    ConfusesDots,
    /// Delivers to groups whose names share their first 64 bytes.
    CutsNames,
    /// Removes dots at the ends of names.
    TrimsNames,
    /// Reports an error when a group has no members.
    RefusesEmptyGroups,
    /// Reports no deliveries.
    ReportsZero,
    /// Counts the sender's process among the others.
    CountsItself,
    /// Reports that there are no other processes.
    ReportsNoPeers,
    /// Counts members of other processes instead of the processes.
    CountsRemoteMembers,
    /// Counts members that are full among those that took the message.
    CountsFullAsDelivered,
    /// Fails to count members that are full.
    OmitsFull,
    /// Counts the excepted channel.
    CountsExcepted,
    /// Counts a member for each group of a union.
    CountsForEachGroup,
    /// Reports other processes for a message to this one.
    ReportsPeersForLocal,
    /// Never refuses a message.
    IsNeverFull,
    /// Takes one message more than it may.
    TakesOneMore,
    /// Takes one message less than it may.
    TakesOneLess,
    /// Drops messages to a full channel without an error.
    HidesFull,
    /// Names another channel when one is full.
    NamesAnotherChannel,
    /// Reports an error when a member of a group is full.
    FailsForFullMembers,
    /// Loses messages to groups with a member that is full.
    SilencesGroupsOfFullMembers,
    /// Loses messages while any mailbox is full.
    FillsAllMailboxes,
    /// Refuses messages although a full mailbox was read.
    StaysFull,
    /// Ignores the policy of mailboxes.
    IgnoresPolicies,
    /// Drops the oldest message whatever the policy is.
    DropsTheOldest,
    /// Ignores the byte capacity.
    IgnoresBytes,
    /// Ignores the capacities by pattern.
    IgnoresPatterns,
    /// Raises no events.
    RaisesNoEvents,
    /// Raises no `Disconnected`.
    HidesDisconnected,
    /// Raises no `Reconnected`.
    HidesReconnected,
    /// Raises every event twice.
    RaisesEventsTwice,
    /// Raises the events of the first outage only.
    TellsTheFirstOutage,
    /// Raises `Reconnected` with a gap of zero.
    ReportsNoGap,
    /// Raises `Reconnected` with a gap of an hour.
    ReportsALongGap,
    /// Raises `Reconnected` before members are live.
    ReconnectsEarly,
    /// Raises events when it is busy.
    RaisesEventsWhenBusy,
    /// Raises events when another process closes.
    RaisesEventsForPeers,
    /// Fails to end its events when it is closed.
    KeepsEventsOpen,
    /// Never reports that it is away.
    IsNeverAway,
    /// Always reports that it is away.
    IsAlwaysAway,
    /// Fails to notice that the server is silent.
    OverlooksFreezes,
    /// Calls hang during an outage.
    HangsInOutages,
    /// Calls hang before an outage is detected.
    HangsOnTheEve,
    /// Calls during an outage fail with the error for a failure.
    FailsInOutages,
    /// Sends messages after an outage that it has refused.
    SendsAfterRefusing,
    /// Takes messages during an outage and sends them afterwards.
    BuffersInOutages,
    /// Delivers messages that it refuses during an outage to members in this process.
    DeliversWhatItRefuses,
    /// Reports health during an outage.
    IsHealthyInOutages,
    /// Loses memberships with the connection.
    LosesMemberships,
    /// Loses memberships that were made during an outage.
    LosesMembershipsOfOutages,
    /// Refuses to add members during an outage.
    RefusesJoinsInOutages,
    /// Ignores that members leave during an outage.
    IgnoresLeavesInOutages,
    /// Fails to subscribe to topics that became necessary during an outage.
    SkipsTopicsOfOutages,
    /// Opens mailboxes during an outage that receive no message.
    OpensDeadMailboxes,
    /// Opens no mailboxes during an outage.
    OpensNoneInOutages,
    /// Sends no message to mailboxes of this process during an outage.
    RefusesOwnMailboxes,
    /// Sends no message for this process during an outage.
    RefusesLocalMessages,
    /// Ends receivers during an outage.
    EndsReceiversInOutages,
    /// Forgets receivers during an outage.
    ForgetsReceiversInOutages,
    /// Loses stored messages with the connection.
    LosesStoredMessages,
    /// Waits for the server when it is closed.
    HangsAtCloseInOutages,
    /// Fails to return when it is closed.
    HangsAtClose,
    /// Fails to end receivers when it is closed.
    KeepsReceiversWaiting,
    /// Ignores a close.
    IgnoresClose,
    /// Refuses to be closed again.
    RefusesASecondClose,
    /// Empties mailboxes when it is closed.
    EmptiesMailboxesAtClose,
    /// Closes all processes.
    ClosesPeers,
    /// Keeps a connection when it is closed.
    KeepsConnections,
    /// Fails to flush other processes.
    FlushesAlone,
    /// Closes mailboxes when it is flushed.
    FlushClosesMailboxes,
    /// Fails to end memberships when it is flushed.
    FlushesMessagesOnly,
    /// Fails to drop messages when it is flushed.
    FlushesMembershipsOnly,
    /// Fails to drop messages on named channels when it is flushed.
    FlushKeepsNamed,
    /// Loses a message with the future of `receive`.
    LosesWhatIsCancelled,
    /// Continues to receive for a dropped future.
    ReceivesForCancelled,
    /// Delivers a message to all receivers of a channel.
    CopiesToReceivers,
    /// Delivers one message in thirty to two receivers.
    TakesTwice,
    /// Wakes the first receiver of a channel only.
    WakesTheFirst,
    /// Drops messages to named channels without a receiver.
    StoresNone,
    /// Delivers messages on named channels to receivers in the sender's process.
    KeepsNamedAtHome,
    /// Reverses the order of queues when a receiver leaves.
    ReversesQueues,
    /// Waits in `receive` for the channel of a mailbox.
    ReceivesFromMailboxes,
    /// Delivers to a named channel once for each of its groups.
    CountsGroupsOfNamed,
    /// Delivers to a named channel once for each process that has added it to a group.
    ForwardsFromEachProcess,
    /// Fails to deliver messages to groups to named channels.
    SkipsNamedMembers,
    /// Delivers messages to a group to named channels that have left.
    KeepsNamedMembers,
    /// Counts the names of mailboxes.
    CountsNames,
    /// Gives the same names to mailboxes of two processes.
    SharesNames,
    /// Makes the names of mailboxes without their prefix.
    OmitsPrefixes,
    /// Refuses prefixes with dots.
    RefusesDots,
    /// Takes prefixes that make no valid name.
    TakesBadPrefixes,
    /// Delivers messages for one mailbox to another one.
    ConfusesMailboxes,
    /// Reports an error for messages to unknown channels.
    RefusesStrangers,
    /// Lists no groups in its directory.
    ListsNoGroups,
    /// Counts neither mailboxes nor groups.
    CountsNoMailboxes,
    /// Never reports health.
    IsNeverHealthy,
}
