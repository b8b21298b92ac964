//! Residue: the state of the server after members left, calls were cancelled, or layers were closed.

use super::{
    Harness, Skip, Verdict,
    fixture::{Fixture, Route, channel, group, poll_some},
    harness::Residue,
};
use crate::{layer::ChannelLayer, name::GroupName};

/// A closed layer leaves neither connections nor subscriptions nor entries at the server.
pub async fn closing_leaves_no_residue(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(Route::Peer).await?;
    let held = here.residue().await?;
    assert!(held.connections > 0, "two layers are connected, and the harness counts {held:?}");
    let rooms = rooms();
    let mut members = Vec::new();
    for room in &rooms {
        members.push(here.member_of(room).await);
        members.push(there.member_of(room).await);
    }
    let (jobs, lobby) = (channel("closing"), group("lobby"));
    let receivers = [here.spawn_receive(&jobs), there.spawn_receive(&jobs)];
    if here.layer.capabilities().stores_messages {
        here.join(&lobby, &jobs).await;
        here.leave(&lobby, &jobs).await;
    }
    for (number, room) in rooms.iter().enumerate() {
        here.say(room, number as i64).await;
    }
    here.settle().await;
    here.close().await;
    there.close().await;
    until_held(&here, "nothing", |now| *now == Residue::default()).await?;
    receivers.iter().for_each(|receiver| receiver.abort());
    Ok(())
}

/// Members that left, in any way, leave neither subscriptions nor entries at the server.
pub async fn leaving_leaves_no_residue(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (leaves, leaves_all) = (here.open().await, here.open().await);
    let before = settled(&here).await?;
    let rooms = rooms();
    let dropped = here.open().await;
    for (number, room) in rooms.iter().enumerate() {
        here.join(room, [&leaves, &leaves_all, &dropped][number % 3].channel()).await;
        here.say(room, number as i64).await;
    }
    let held = here.residue().await?;
    let sum = |held: &Residue| held.subscriptions + held.keys;
    assert!(sum(&held) > sum(&before), "groups take memory at the server: {held:?} after {before:?}");
    for room in rooms.iter().step_by(3) {
        here.leave(room, leaves.channel()).await;
    }
    here.leave_all(leaves_all.channel()).await;
    drop(dropped);
    until_held(&here, "no more than before", |now| is_within(now, &before)).await
}

/// Futures of `group_add` that are dropped leave no subscription without a member at the server.
pub async fn dropped_joins_leave_no_residue(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let mailbox = here.open().await;
    let before = settled(&here).await?;
    for (polls, room) in rooms().iter().enumerate() {
        poll_some(here.layer.group_add(room, mailbox.channel()), polls % 4).await;
        here.leave(room, mailbox.channel()).await;
    }
    until_held(&here, "no more than before", |now| is_within(now, &before)).await
}

/// Receivers that stopped leave no subscription at the server.
pub async fn stopped_receivers_leave_no_residue(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let before = settled(&here).await?;
    for number in 0..10 {
        let receiver = here.spawn_receive(&channel(&format!("jobs-{number}")));
        here.settle().await;
        receiver.abort();
    }
    let no_more = |now: &Residue| now.subscriptions <= before.subscriptions && now.keys <= before.keys;
    until_held(&here, "no more than before", no_more).await
}

/// The state that the server holds once the layer has connected.
async fn settled(here: &Fixture<'_>) -> Result<Residue, Skip> {
    here.soon(here.layer.health()).await.expect("a layer that works");
    here.settle().await;
    here.residue().await
}

fn is_within(now: &Residue, before: &Residue) -> bool {
    now.connections <= before.connections
        && now.subscriptions <= before.subscriptions
        && now.keys <= before.keys
}

/// Waits until a condition on the server's state holds.
async fn until_held(here: &Fixture<'_>, what: &str, holds: impl Fn(&Residue) -> bool) -> Verdict {
    let mut last = here.residue().await?;
    let deadline = tokio::time::Instant::now() + here.timing.arrival;
    while !holds(&last) {
        assert!(tokio::time::Instant::now() < deadline, "the server should hold {what}, and holds {last:?}");
        here.settle().await;
        last = here.residue().await?;
    }
    Ok(())
}

fn rooms() -> Vec<GroupName> {
    (0..20).map(|number| group(&format!("room-{number}"))).collect()
}
