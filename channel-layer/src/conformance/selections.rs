//! Selections: filters over tags, and passive members.

use std::time::Duration;

use super::{
    Harness, Verdict,
    fixture::{Fixture, Route, channel, group, numbered},
};
use crate::{
    error::Error,
    layer::{Audience, ChannelLayer, Deliveries, SendReport},
    mailbox::Mailbox,
    name::GroupName,
    selection::{Condition, GroupActivity, Selection, Tag},
};

variants! {
    /// A member with a filter receives the messages that match, in their order, and others receive all.
    filters_select = select(Route::Local);
    /// A member with a filter in a peer receives the messages that match, in their order, and others receive all.
    filters_select_at_a_peer = select(Route::Peer);
    /// A later filter replaces the earlier one. A plain `group_add` ends it, and so does leaving.
    filters_are_replaced = replace(Route::Local);
    /// A later filter of a peer replaces the earlier one. A plain `group_add` ends it, and so does leaving.
    filters_of_peers_are_replaced = replace(Route::Peer);
    /// A member of several groups receives a message once if one of its filters matches.
    any_filter_of_a_union_selects = union(Route::Local);
    /// A member of several groups in a peer receives a message once if one of its filters matches.
    any_filter_of_a_remote_union_selects = union(Route::Peer);
    /// A passive member receives a summary, and no message.
    passive_members_hear_summaries = passive(Route::Local);
    /// A passive member of a peer receives a summary, and no message.
    passive_peers_hear_summaries = passive(Route::Peer);
}

async fn add(fixture: &Fixture<'_>, to: &GroupName, mailbox: &Mailbox, selection: Selection) {
    let selected = fixture.layer.group_select(to, mailbox.channel(), selection);
    fixture.soon(selected).await.expect("a mailbox of this process can select");
}

async fn filtered(fixture: &Fixture<'_>, to: &GroupName, condition: Condition) -> Mailbox {
    let mailbox = fixture.open().await;
    add(fixture, to, &mailbox, filter(condition)).await;
    mailbox
}

fn filter(condition: Condition) -> Selection {
    Selection::Where(condition.try_into().expect("it is small"))
}

fn number() -> Tag {
    Tag::new("number")
}

async fn tell(fixture: &Fixture<'_>, to: impl Into<Audience>, number: i64) -> SendReport {
    let message = numbered(number).with_tag("number", number);
    let sent = fixture.soon(fixture.layer.group_send(&to.into(), message)).await;
    sent.expect("a group never refuses")
}

async fn select(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.selects, "selects")?;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let mut all = there.member_of(&lobby).await;
    let mut large = filtered(&there, &lobby, number().more_than(2)).await;
    let mut odd = filtered(&there, &lobby, number().is_one_of([1, 3])).await;
    let mut none = filtered(&there, &lobby, Tag::new("other").exists()).await;
    for number in 1..5 {
        let _ = tell(&here, &lobby, number).await;
    }
    here.say(&lobby, 5).await; // without tags
    there.hears_first(&mut all, 1..6).await;
    there.hears_first(&mut large, [3, 4]).await;
    there.hears_first(&mut odd, [1, 3]).await;
    there.silent([&mut all, &mut large, &mut odd, &mut none]).await;
    Ok(())
}

async fn replace(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.selects, "selects")?;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let mut member = filtered(&there, &lobby, number().is(1)).await;
    add(&there, &lobby, &member, filter(number().is(2))).await;
    let _ = (tell(&here, &lobby, 1).await, tell(&here, &lobby, 2).await);
    there.hears(&mut member, [2]).await;
    there.join(&lobby, member.channel()).await;
    let _ = tell(&here, &lobby, 3).await;
    there.hears(&mut member, [3]).await;
    add(&there, &lobby, &member, filter(number().is(4))).await;
    let _ = (tell(&here, &lobby, 3).await, tell(&here, &lobby, 4).await);
    there.hears(&mut member, [4]).await;
    there.leave(&lobby, member.channel()).await;
    let _ = tell(&here, &lobby, 4).await;
    there.settle().await; // it joins after the message has come in, or would receive it
    there.join(&lobby, member.channel()).await;
    let _ = tell(&here, &lobby, 5).await;
    there.hears(&mut member, [5]).await;
    Ok(())
}

async fn union(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.selects, "selects")?;
    let (there, lobby, staff) = (here.at(route).await?, group("lobby"), group("staff"));
    let mut member = filtered(&there, &lobby, number().less_than(3)).await;
    add(&there, &staff, &member, filter(number().is_one_of([2, 4]))).await;
    let mut plain = filtered(&there, &lobby, number().is(0)).await;
    there.join(&staff, plain.channel()).await;
    for number in 1..6 {
        let _ = tell(&here, Audience::from(&lobby).and(&staff), number).await;
    }
    there.hears_first(&mut member, [1, 2, 4]).await;
    there.hears_first(&mut plain, 1..6).await;
    there.silent([&mut member, &mut plain]).await;
    Ok(())
}

async fn passive(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.selects, "selects")?;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let (mut active, mut passive) = (there.member_of(&lobby).await, there.open().await);
    // Longer than the messages take.
    let every = there.timing.silence.max(Duration::from_millis(500)) * 2;
    add(&there, &lobby, &passive, Selection::Passive(every)).await;
    for numbers in [1..4, 4..6] {
        let count = numbers.clone().count() as u64;
        for number in numbers.clone() {
            let _ = tell(&here, &lobby, number).await;
        }
        there.hears_first(&mut active, numbers).await;
        assert!(passive.try_recv().is_none(), "the summary comes later");
        here.elapse(every).await;
        let summary = there.soon(passive.recv()).await;
        let activity = GroupActivity::from_message(&summary).expect("a summary");
        assert_eq!((activity.group, activity.count), (lobby.clone(), count));
    }
    there.silent([&mut active, &mut passive]).await;
    Ok(())
}

/// A report counts members whose filters left the message out. As in other reports, a backend may not know the outcome of a
/// message to several groups, or with an exception.
pub async fn reports_count_filtered_members(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.selects, "selects")?;
    let (lobby, staff) = (group("lobby"), group("staff"));
    let _all = here.member_of(&lobby).await;
    let one = filtered(&here, &lobby, number().is(1)).await;
    let _passive = filtered(&here, &staff, number().is(1)).await;
    let local = tell(&here, &lobby, 1).await.local;
    assert_eq!((local.matched, local.delivered, local.filtered), (2, 2, 0));
    let local = tell(&here, &lobby, 2).await.local;
    assert_eq!((local.matched, local.delivered, local.filtered), (2, 1, 1));
    for (to, expected) in [
        (Audience::from(&lobby).and(&staff), (3, 1, 2)),
        (Audience::from(&lobby).except(one.channel()), (1, 1, 0)),
    ] {
        let local = tell(&here, to.clone(), 2).await.local;
        let counts = (local.matched, local.delivered, local.filtered);
        assert!(counts == expected || local == Deliveries::default(), "{local:?} for {to:?}");
    }
    Ok(())
}

/// A layer selects for mailboxes of its process, or refuses; for named channels it refuses.
pub async fn other_selections_are_refused(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (lobby, mailbox) = (group("lobby"), here.open().await);
    let refused = |result| matches!(result, Err(Error::Unsupported(_)));
    let select = async |to: &crate::name::ChannelName| {
        here.soon(here.layer.group_select(&lobby, to, filter(number().is(1)))).await
    };
    let jobs = channel("jobs");
    assert!(refused(select(&jobs).await), "a named channel has receivers in any process");
    let receiving = here.spawn_receive(&jobs);
    here.settle().await;
    assert!(refused(select(&jobs).await), "also while this process receives from it");
    receiving.abort();
    let selects = here.layer.capabilities().selects;
    let outcome = select(mailbox.channel()).await;
    assert!(if selects { outcome.is_ok() } else { refused(outcome) });
    let gone = here.open().await;
    let name = gone.channel().clone();
    drop(gone);
    // A closed mailbox is no error, except where one could be another process'.
    let added = here.soon(here.layer.group_add(&lobby, &name)).await;
    assert!(!selects || select(&name).await.is_ok() == added.is_ok(), "as for `group_add`");
    let all = here.layer.group_select(&lobby, mailbox.channel(), Selection::All);
    here.soon(all).await.expect("every layer has members for all messages");
    Ok(())
}

/// A layer refuses to select for a channel of another process.
pub async fn foreign_selections_are_refused(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.peer().await?, group("lobby"));
    let mut far = there.open().await;
    let selected = here.layer.group_select(&lobby, far.channel(), filter(number().is(1)));
    let refused = here.soon(selected).await;
    assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
    let _ = tell(&here, &lobby, 1).await;
    here.silent([&mut far]).await;
    Ok(())
}
