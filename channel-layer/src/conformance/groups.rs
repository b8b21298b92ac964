//! Groups: each member receives once, and no other channel does.

use super::{
    Harness, Skip, Verdict,
    fixture::{Fixture, Route, channel, group, poll_some},
};
use crate::{layer::ChannelLayer, name::GroupName};

variants! {
    /// Members receive a message, whatever their prefix. Former members do not.
    members_hear_until_they_leave = members_hear(Route::Local);
    /// Members in a peer receive a message, whatever their prefix. Former members do not.
    remote_members_hear_until_they_leave = members_hear(Route::Peer);
    /// A hundred members all receive a message once.
    a_hundred_members_hear = a_hundred(Route::Local);
    /// A hundred members in a peer all receive a message once.
    a_hundred_remote_members_hear = a_hundred(Route::Peer);
    /// Members of groups with similar names do not receive a message.
    similar_group_names_are_distinct = similar_names(Route::Local);
    /// Members of groups with similar names in a peer do not receive a message.
    similar_remote_groups_are_distinct = similar_names(Route::Peer);
    /// A channel that was added twice receives a message once, and leaves by one call.
    adding_twice_is_one_membership = adding_twice(Route::Local);
    /// A channel that was added twice in a peer receives a message once, and leaves by one call.
    adding_twice_at_a_peer = adding_twice(Route::Peer);
    /// A channel that leaves and rejoins at once is a member every time.
    a_channel_can_rejoin = come_back(Route::Local);
    /// A channel of a peer that leaves and rejoins at once is a member every time.
    a_remote_channel_can_rejoin = come_back(Route::Peer);
    /// The last member that leaves does not end the membership of the next one.
    a_leave_spares_a_join = leave_against_join(Route::Local);
    /// The last member that leaves in a peer does not end the membership of the next one.
    a_leave_spares_a_remote_join = leave_against_join(Route::Peer);
    /// A future of `group_add` that is dropped does no harm: a later call holds.
    a_dropped_join_is_harmless = dropped_join(Route::Local);
    /// A future of `group_add` that is dropped does no harm in a peer: a later call holds.
    a_dropped_remote_join_is_harmless = dropped_join(Route::Peer);
    /// A full member makes no call fail, and receives messages up to its capacity.
    full_members_fail_no_send = full_member(Route::Local);
    /// A full member of a peer makes no call fail, and receives messages up to its capacity.
    full_remote_members_fail_no_send = full_member(Route::Peer);
    /// A full member does not keep others from receiving.
    full_members_spare_others = full_beside(Route::Local);
    /// A full member of a peer does not keep others from receiving.
    full_remote_members_spare_others = full_beside(Route::Peer);
    /// A channel that leaves one group is still a member of its others.
    leaving_one_group_keeps_others = leaving_one(Route::Local);
    /// A channel of a peer that leaves one group is still a member of its others.
    leaving_one_remote_group_keeps_others = leaving_one(Route::Peer);
    /// A channel can leave all its groups with one call.
    a_channel_can_leave_all_groups = leaving_all(Route::Local);
    /// A channel of a peer can leave all its groups with one call.
    remote_channels_can_leave_all = leaving_all(Route::Peer);
    /// A mailbox that is dropped has left its groups, without any further call.
    a_dropped_mailbox_leaves = dropped_mailbox(Route::Local);
    /// A mailbox of a peer that is dropped has left its groups, without any further call.
    a_dropped_remote_mailbox_leaves = dropped_mailbox(Route::Peer);
}

async fn members_hear(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let (mut members, mut outsider) = (Vec::new(), there.open().await);
    for prefix in ["one", "two", "three"] {
        let mailbox = there.soon(there.layer.open(prefix.into())).await.expect("a mailbox can be opened");
        there.join(&lobby, mailbox.channel()).await;
        members.push(mailbox);
    }
    here.say(&lobby, 1).await;
    for member in &mut members {
        there.hears_first(member, [1]).await;
    }
    there.leave(&lobby, members[1].channel()).await;
    here.say(&lobby, 2).await;
    there.hears_first(&mut members[0], [2]).await;
    there.hears_first(&mut members[2], [2]).await;
    there.silent(members.iter_mut().chain([&mut outsider])).await;
    Ok(())
}

async fn a_hundred(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let mut members = Vec::new();
    for _ in 0..100 {
        members.push(there.member_of(&lobby).await);
    }
    here.say(&lobby, 1).await;
    for member in &mut members {
        there.hears_first(member, [1]).await;
    }
    there.silent(&mut members).await;
    Ok(())
}

/// Uses names with every valid character, at both ends and doubled, that differ in one character only.
async fn similar_names(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let (long, longest) = ("x".repeat(98), "x".repeat(99));
    let names =
        ["a", "A", "a.", ".a", "a..", "a.b", "a-b", "a_b", "a.B", "-", "_", ".", "..", "0", &long, &longest];
    let mut members = Vec::new();
    for name in names {
        members.push(there.member_of(&group(name)).await);
    }
    for (number, name) in names.iter().enumerate() {
        here.say(group(name), number as i64).await;
    }
    for (number, member) in members.iter_mut().enumerate() {
        there.hears_first(member, [number as i64]).await;
    }
    there.silent(&mut members).await;
    Ok(())
}

async fn adding_twice(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let mut mailbox = there.member_of(&lobby).await;
    there.join(&lobby, mailbox.channel()).await;
    here.say(&lobby, 1).await;
    there.hears(&mut mailbox, [1]).await;
    there.leave(&lobby, mailbox.channel()).await;
    here.say(&lobby, 2).await;
    there.silent([&mut mailbox]).await;
    Ok(())
}

async fn come_back(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let mut mailbox = there.member_of(&lobby).await;
    for number in 0..20 {
        there.leave(&lobby, mailbox.channel()).await;
        there.join(&lobby, mailbox.channel()).await;
        here.say(&lobby, number).await;
    }
    there.hears(&mut mailbox, 0..20).await;
    Ok(())
}

/// Leaves and joins concurrently, in either order.
async fn leave_against_join(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let mut last = there.member_of(&lobby).await;
    for number in 0..20 {
        let next = there.open().await;
        let (join, leave) = (there.join(&lobby, next.channel()), there.leave(&lobby, last.channel()));
        if number % 2 == 0 {
            tokio::join!(leave, join);
        } else {
            tokio::join!(join, leave);
        }
        let mut left = std::mem::replace(&mut last, next);
        here.say(&lobby, number).await;
        there.hears_first(&mut last, [number]).await;
        assert!(left.try_recv().is_none(), "it has left");
    }
    Ok(())
}

async fn dropped_join(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let (mut joins, mut leaves) = (there.open().await, there.open().await);
    let groups: Vec<_> = (0..20).map(|n| group(&format!("room-{n}"))).collect();
    for (polls, group) in groups.iter().enumerate() {
        for mailbox in [&joins, &leaves] {
            let join = there.layer.group_add(group, mailbox.channel());
            poll_some(join, polls % 4).await;
        }
        there.leave(group, leaves.channel()).await;
        there.join(group, joins.channel()).await;
    }
    for (number, group) in groups.iter().enumerate() {
        here.say(group, number as i64).await;
    }
    assert_eq!(there.take_sorted(&mut joins, 20).await, (0..20).collect::<Vec<_>>());
    there.silent([&mut joins, &mut leaves]).await;
    Ok(())
}

async fn full_member(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::with(harness, |config| config.with_capacity(3)).await;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let mut mailbox = there.member_of(&lobby).await;
    for number in 0..5 {
        here.say(&lobby, number).await;
    }
    there.settle().await;
    there.hears(&mut mailbox, 0..3).await;
    Ok(())
}

async fn full_beside(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::with(harness, |config| config.with_capacity(3)).await;
    here.requires(|can| !can.shares_capacity, "shares_capacity")?;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let (mut slow, mut quick) = (there.member_of(&lobby).await, there.member_of(&lobby).await);
    for number in 0..10 {
        here.say(&lobby, number).await;
        there.hears_first(&mut quick, [number]).await;
    }
    there.hears_first(&mut slow, 0..3).await;
    there.silent([&mut slow, &mut quick]).await;
    Ok(())
}

async fn leaving_one(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby, others) = (here.at(route).await?, group("lobby"), ["staff", "guests"].map(group));
    let mut mailbox = there.member_of(&lobby).await;
    for other in &others {
        there.join(other, mailbox.channel()).await;
    }
    there.leave(&lobby, mailbox.channel()).await;
    here.say(&lobby, 1).await;
    for (number, other) in others.iter().enumerate() {
        here.say(other, number as i64 + 2).await;
    }
    assert_eq!(there.take_sorted(&mut mailbox, 2).await, [2, 3]);
    there.silent([&mut mailbox]).await;
    Ok(())
}

async fn leaving_all(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let groups: Vec<_> = (0..5).map(|n| group(&format!("room-{n}"))).collect();
    let (mut leaver, mut stayer) = (there.open().await, there.open().await);
    for group in &groups {
        there.join(group, leaver.channel()).await;
        there.join(group, stayer.channel()).await;
    }
    there.leave_all(leaver.channel()).await;
    there.leave_all(leaver.channel()).await;
    for (number, group) in groups.iter().enumerate() {
        here.say(group, number as i64).await;
    }
    assert_eq!(there.take_sorted(&mut stayer, 5).await, [0, 1, 2, 3, 4]);
    there.silent([&mut leaver, &mut stayer]).await;
    there.join(&groups[0], leaver.channel()).await;
    here.say(&groups[0], 5).await;
    there.hears(&mut leaver, [5]).await;
    Ok(())
}

async fn dropped_mailbox(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let mut stays = there.member_of(&lobby).await;
    drop(there.member_of(&lobby).await);
    there.settle().await;
    let report = here.group_send(&lobby, 1).await;
    assert!(report.local.matched <= 1, "{report:?}");
    there.hears(&mut stays, [1]).await;
    Ok(())
}

/// Leaving a group without being a member, or an unknown group, has no effect. Joining works afterwards.
pub async fn leaving_before_joining_succeeds(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let lobby = group("lobby");
    let mut mailbox = here.open().await;
    here.leave(&lobby, mailbox.channel()).await;
    here.leave_all(mailbox.channel()).await;
    here.join(&lobby, mailbox.channel()).await;
    here.say(&lobby, 1).await;
    here.hears(&mut mailbox, [1]).await;
    Ok(())
}

/// A message to an unknown group is taken and has no effect.
pub async fn unknown_groups_take_messages(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let mut mailbox = here.member_of(&group("lobby")).await;
    let report = here.group_send(&group("nobody"), 1).await;
    assert_eq!(report.local.matched, 0);
    here.silent([&mut mailbox]).await;
    Ok(())
}

/// The directory lists current groups and members.
pub async fn the_directory_lists_members(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let directory = here.layer.directory().ok_or(Skip("directory"))?;
    let (lobby, admins) = (group("lobby"), group("admins"));
    let (one, two) = (here.member_of(&lobby).await, here.member_of(&lobby).await);
    here.join(&admins, one.channel()).await;
    let sorted = |mut names: Vec<GroupName>| {
        names.sort();
        names
    };
    let mut both = [one.channel().clone(), two.channel().clone()];
    both.sort();
    let mut members = here.soon(directory.members(&lobby)).await.expect("members");
    members.sort();
    assert_eq!(members, both);
    assert_eq!(here.soon(directory.member_count(&lobby)).await.expect("a count"), 2);
    let groups = here.soon(directory.groups()).await.expect("groups");
    assert_eq!(sorted(groups), [admins.clone(), lobby.clone()]);
    let of_one = here.soon(directory.groups_of(one.channel())).await.expect("groups");
    assert_eq!(sorted(of_one), [admins.clone(), lobby.clone()]);

    here.leave(&lobby, one.channel()).await;
    drop(two);
    here.settle().await;
    assert_eq!(here.soon(directory.member_count(&lobby)).await.expect("a count"), 0);
    assert_eq!(here.soon(directory.groups()).await.expect("groups"), [admins]);
    assert!(here.soon(directory.members(&group("nobody"))).await.expect("members").is_empty());
    let unknown = here.soon(directory.groups_of(&channel("nobody"))).await.expect("groups");
    assert!(unknown.is_empty());
    Ok(())
}
