//! Groups: who is in hears it once, who is not hears nothing.

use super::{
    Harness, Skip, Verdict,
    stage::{Stage, channel, group},
};
use crate::{
    layer::{Audience, ChannelLayer},
    name::GroupName,
};

/// Members hear it, whatever their prefix; who left does not.
pub async fn members_hear_and_who_left_does_not(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let lobby = group("lobby");
    let (mut members, mut outsider) = (Vec::new(), stage.open().await);
    for prefix in ["one", "two", "three"] {
        let mailbox = stage.soon(stage.layer.open(prefix.into())).await.expect("a mailbox can be opened");
        stage.join(&lobby, mailbox.channel()).await;
        members.push(mailbox);
    }
    stage.leave(&lobby, members[1].channel()).await;
    stage.say(&lobby, 1).await;
    stage.hears(&mut members[0], &[1]).await;
    stage.hears(&mut members[2], &[1]).await;
    stage.hears_nothing(&mut members[1]).await;
    stage.hears_nothing(&mut outsider).await;
    Ok(())
}

/// A hundred members with the same prefix all hear it.
pub async fn a_hundred_members_hear(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let lobby = group("lobby");
    let mut members = Vec::new();
    for _ in 0..100 {
        members.push(stage.member_of(&lobby).await);
    }
    stage.say(&lobby, 1).await;
    for member in &mut members {
        assert_eq!(stage.take(member).await, 1);
    }
    stage.settle().await;
    assert!(members.iter_mut().all(|member| member.try_recv().is_none()), "each hears it once");
    Ok(())
}

/// Messages to a group arrive in the order in which they were sent.
pub async fn a_group_is_first_in_first_out(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let lobby = group("lobby");
    let (mut one, mut two) = (stage.member_of(&lobby).await, stage.member_of(&lobby).await);
    let numbers: Vec<_> = (0..50).collect();
    for number in &numbers {
        stage.say(&lobby, *number).await;
    }
    stage.hears(&mut one, &numbers).await;
    stage.hears(&mut two, &numbers).await;
    if stage.layer.capabilities().orders_calls {
        stage.say_at_once(&lobby, &numbers).await;
        stage.hears(&mut one, &numbers).await;
        stage.hears(&mut two, &numbers).await;
    }
    Ok(())
}

/// Who was added twice hears it once, and is out after leaving once.
pub async fn adding_twice_is_one_membership(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let lobby = group("lobby");
    let mut mailbox = stage.member_of(&lobby).await;
    stage.join(&lobby, mailbox.channel()).await;
    stage.say(&lobby, 1).await;
    stage.hears(&mut mailbox, &[1]).await;
    stage.leave(&lobby, mailbox.channel()).await;
    stage.say(&lobby, 2).await;
    stage.hears_nothing(&mut mailbox).await;
    Ok(())
}

/// Who left can come back.
pub async fn who_left_can_come_back(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let lobby = group("lobby");
    let mut mailbox = stage.member_of(&lobby).await;
    for number in 0..5 {
        stage.leave(&lobby, mailbox.channel()).await;
        stage.join(&lobby, mailbox.channel()).await;
        stage.say(&lobby, number).await;
    }
    stage.hears(&mut mailbox, &[0, 1, 2, 3, 4]).await;
    Ok(())
}

/// Leaving a group that one is not in, or that nobody knows, is fine; joining works afterwards.
pub async fn leaving_before_joining_is_fine(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let lobby = group("lobby");
    let mut mailbox = stage.open().await;
    stage.leave(&lobby, mailbox.channel()).await;
    stage.leave(&lobby, &channel("specific.nobody!here")).await;
    stage.join(&lobby, mailbox.channel()).await;
    stage.say(&lobby, 1).await;
    stage.hears(&mut mailbox, &[1]).await;
    Ok(())
}

/// A message to a group that nobody knows is fine.
pub async fn sending_to_an_unknown_group_is_fine(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let report = stage.group_send(&group("nobody"), 1).await;
    assert_eq!(report.local.matched, 0);
    Ok(())
}

/// A member that is full fails nobody, and is counted where it is known.
pub async fn a_full_member_fails_nobody(harness: &dyn Harness) -> Verdict {
    let stage = Stage::with(harness, |config| config.with_capacity(3)).await;
    let lobby = group("lobby");
    let mut mailbox = stage.member_of(&lobby).await;
    for number in 0..5 {
        stage.say(&lobby, number).await;
    }
    stage.hears(&mut mailbox, &[0, 1, 2]).await;
    Ok(())
}

/// A member that is full does not keep others from hearing.
pub async fn a_full_member_silences_nobody(harness: &dyn Harness) -> Verdict {
    let stage = Stage::with(harness, |config| config.with_capacity(3)).await;
    stage.requires(|can| !can.shares_capacity, "the backend claims shares_capacity")?;
    let lobby = group("lobby");
    let mut slow = stage.member_of(&lobby).await;
    let mut quick = stage.member_of(&lobby).await;
    for number in 0..10 {
        stage.say(&lobby, number).await;
        assert_eq!(stage.take(&mut quick).await, number);
    }
    stage.settle().await;
    stage.hears(&mut slow, &[0, 1, 2]).await;
    Ok(())
}

/// A named channel can be a member.
pub async fn a_named_channel_can_be_a_member(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    stage.requires(|can| can.stores_messages, "the backend does not claim stores_messages")?;
    let (lobby, jobs) = (group("lobby"), channel("jobs"));
    stage.join(&lobby, &jobs).await;
    stage.say(&lobby, 1).await;
    assert_eq!(stage.receive(&jobs).await, 1);
    stage.leave(&lobby, &jobs).await;
    stage.say(&lobby, 2).await;
    stage.receives_nothing(&jobs).await;
    Ok(())
}

/// The channel that a message is not for does not hear it.
pub async fn the_excepted_channel_hears_nothing(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let lobby = group("lobby");
    let (mut me, mut you) = (stage.member_of(&lobby).await, stage.member_of(&lobby).await);
    stage.say(Audience::from(&lobby).except(me.channel()), 1).await;
    stage.hears(&mut you, &[1]).await;
    stage.hears_nothing(&mut me).await;
    Ok(())
}

/// Who is in several groups that a message is for hears it once.
pub async fn who_is_in_several_groups_hears_once(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let (lobby, admins) = (group("lobby"), group("admins"));
    let (mut both, mut one) = (stage.member_of(&lobby).await, stage.member_of(&admins).await);
    stage.join(&admins, both.channel()).await;
    stage.say(Audience::from(&lobby).and(&admins).and(group("nobody")), 1).await;
    stage.hears(&mut both, &[1]).await;
    stage.hears(&mut one, &[1]).await;
    Ok(())
}

/// A message for this process only reaches the members in it.
pub async fn a_local_message_reaches_local_members(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let lobby = group("lobby");
    let mut mailbox = stage.member_of(&lobby).await;
    let report = stage.group_send(Audience::from(&lobby).local_only(), 1).await;
    assert_eq!(report.local.delivered, 1);
    stage.hears(&mut mailbox, &[1]).await;
    Ok(())
}

/// A channel can leave all its groups at once.
pub async fn a_channel_can_leave_all_groups(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let groups: Vec<_> = (0..5).map(|n| group(&format!("room-{n}"))).collect();
    let (mut leaver, mut stayer) = (stage.open().await, stage.open().await);
    for group in &groups {
        stage.join(group, leaver.channel()).await;
        stage.join(group, stayer.channel()).await;
    }
    stage.soon(stage.layer.group_discard_all(leaver.channel())).await.expect("it can leave");
    stage.soon(stage.layer.group_discard_all(leaver.channel())).await.expect("leaving twice is fine");
    for (number, group) in groups.iter().enumerate() {
        stage.say(group, number as i64).await;
    }
    stage.hears_nothing(&mut leaver).await;
    stage.settle().await;
    let mut heard = Vec::new();
    while heard.len() < groups.len() {
        heard.push(stage.take(&mut stayer).await);
    }
    heard.sort_unstable(); // several groups may take several ways
    assert_eq!(heard, [0, 1, 2, 3, 4]);
    Ok(())
}

/// The directory lists groups and members as they come and go.
pub async fn the_directory_lists_groups_and_members(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let directory = stage.layer.directory().ok_or(Skip("the backend has no directory"))?;
    let (lobby, admins) = (group("lobby"), group("admins"));
    let (one, two) = (stage.member_of(&lobby).await, stage.member_of(&lobby).await);
    stage.join(&admins, one.channel()).await;
    let sorted = |mut names: Vec<GroupName>| {
        names.sort();
        names
    };
    let mut both = [one.channel().clone(), two.channel().clone()];
    both.sort();
    let mut members = stage.soon(directory.members(&lobby)).await.expect("members");
    members.sort();
    assert_eq!(members, both);
    assert_eq!(stage.soon(directory.member_count(&lobby)).await.expect("a count"), 2);
    assert_eq!(
        sorted(stage.soon(directory.groups()).await.expect("groups")),
        [admins.clone(), lobby.clone()]
    );
    let of_one = stage.soon(directory.groups_of(one.channel())).await.expect("groups");
    assert_eq!(sorted(of_one), [admins.clone(), lobby.clone()]);

    stage.leave(&lobby, one.channel()).await;
    drop(two);
    stage.settle().await;
    assert_eq!(stage.soon(directory.member_count(&lobby)).await.expect("a count"), 0);
    assert_eq!(stage.soon(directory.groups()).await.expect("groups"), [admins]);
    assert!(stage.soon(directory.members(&group("nobody"))).await.expect("members").is_empty());
    Ok(())
}
