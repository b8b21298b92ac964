//! Expiry: a message or a membership ends at its time, neither earlier nor later, and frees its capacity.

use super::{
    Harness, Verdict,
    fixture::{Fixture, Route, channel, group, numbered},
};
use crate::layer::ChannelLayer;

variants! {
    /// A message that waited for too long is not received. A new one is.
    messages_expire = expired_is_dropped(Route::Local);
    /// A message to a peer that waited for too long is not received. A new one is.
    messages_expire_at_a_peer = expired_is_dropped(Route::Peer);
    /// Each message expires at its time, and not before.
    the_earliest_expires_first = earliest_first(Route::Local);
    /// Each message to a peer expires at its time, and not before.
    the_earliest_expires_first_at_a_peer = earliest_first(Route::Peer);
    /// A channel full of expired messages takes new ones.
    expired_messages_free_capacity = make_room(Route::Local);
    /// A channel of a peer that is full of expired messages takes new ones.
    expired_messages_free_remote_capacity = make_room(Route::Peer);
    /// A named channel drops expired messages, and keeps the others.
    named_messages_expire = named_drops(Route::Local);
    /// A named channel drops expired messages for a peer, and keeps the others.
    named_messages_expire_for_peers = named_drops(Route::Peer);
    /// The membership of a named channel ends some time after it was last added, and not before.
    named_memberships_expire = membership_expires(Route::Local);
    /// The membership of a named channel that a peer added ends some time after that, and not before.
    named_memberships_expire_for_peers = membership_expires(Route::Peer);
}

/// By `send`, and by `group_send` to a member that reads in time and one that does not.
async fn expired_is_dropped(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::expiring(harness).await;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let (mut quick, mut slow) = (there.member_of(&lobby).await, there.member_of(&lobby).await);
    let mut single = there.open().await;
    here.say(&lobby, 1).await;
    here.send(single.channel(), 1).await;
    there.hears_first(&mut quick, [1]).await;
    here.elapse(here.timing.expiry + here.timing.resolution).await;
    there.silent([&mut quick, &mut slow, &mut single]).await;
    here.say(&lobby, 2).await;
    here.send(single.channel(), 2).await;
    for mailbox in [&mut quick, &mut slow, &mut single] {
        there.hears_first(mailbox, [2]).await;
    }
    Ok(())
}

async fn earliest_first(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::expiring(harness).await;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let two_thirds = here.timing.expiry * 2 / 3;
    let (mut single, mut member) = (there.open().await, there.member_of(&lobby).await);
    for (number, pause) in
        [(1, two_thirds), (2, here.timing.expiry / 6), (3, two_thirds - here.timing.expiry / 6)]
    {
        here.send(single.channel(), number).await;
        here.say(&lobby, number).await;
        here.elapse(pause).await;
    }
    there.hears(&mut single, [2, 3]).await;
    there.hears(&mut member, [2, 3]).await;
    Ok(())
}

async fn make_room(harness: &dyn Harness, route: Route) -> Verdict {
    let timing = harness.timing();
    let here = Fixture::with(harness, |config| config.with_expiry(timing.expiry).with_capacity(3)).await;
    let there = here.at(route).await?;
    let mut mailbox = there.open().await;
    for number in 0..3 {
        here.send(mailbox.channel(), number).await;
    }
    here.elapse(timing.expiry + timing.resolution).await;
    for number in 3..6 {
        here.send(mailbox.channel(), number).await;
    }
    there.hears(&mut mailbox, 3..6).await;
    Ok(())
}

/// Reads the first message, lets two expire, and receives the fourth and no other.
async fn named_drops(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::expiring(harness).await;
    here.requires(|can| can.stores_messages, "stores_messages")?;
    let (there, jobs) = (here.at(route).await?, channel("jobs"));
    for number in 1..4 {
        here.send(&jobs, number).await;
    }
    let two_thirds = here.timing.expiry * 2 / 3;
    here.elapse(two_thirds).await;
    assert_eq!(there.receive(&jobs).await, 1, "it has not expired yet");
    here.elapse(here.timing.expiry - two_thirds + here.timing.resolution).await;
    here.send(&jobs, 4).await;
    assert_eq!(there.receive(&jobs).await, 4);
    there.receives_nothing(&jobs).await;
    Ok(())
}

/// The second `group_add` renews the membership.
async fn membership_expires(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::expiring(harness).await;
    here.requires(|can| can.stores_messages, "stores_messages")?;
    let (there, lobby, jobs) = (here.at(route).await?, group("lobby"), channel("jobs"));
    let (expiry, two_thirds) = (here.timing.group_expiry, here.timing.group_expiry * 2 / 3);
    here.join(&lobby, &jobs).await;
    here.elapse(two_thirds).await;
    here.join(&lobby, &jobs).await;
    here.elapse(two_thirds).await;
    there.say(&lobby, 1).await;
    assert_eq!(here.receive(&jobs).await, 1, "it was renewed");
    here.elapse(expiry + here.timing.resolution - two_thirds).await;
    there.say(&lobby, 2).await;
    here.receives_nothing(&jobs).await;
    Ok(())
}

/// A message expires by the setting of its sender, or of its receiver where the format cannot carry it: one of the
/// two, for all messages.
pub async fn one_side_sets_the_expiry(harness: &dyn Harness) -> Verdict {
    let here = Fixture::expiring(harness).await;
    let long = here.timing.expiry * 20;
    let there = here.peer_with(|config| config.with_expiry(long)).await?;
    let (mut near, mut far) = (here.open().await, there.open().await);
    for (from, to) in [(&here, &far), (&there, &near)] {
        from.soon(from.layer.send(to.channel(), numbered(1))).await.expect("the message is taken");
    }
    here.settle().await;
    here.elapse(here.timing.expiry + here.timing.resolution).await;
    let [near, far] = [near.try_recv(), far.try_recv()].map(|message| message.is_some());
    assert!(near != far, "one of them has expired: from the short setting {far}, to it {near}");
    Ok(())
}

/// A mailbox remains a member until it is dropped.
pub async fn mailboxes_outlive_group_expiry(harness: &dyn Harness) -> Verdict {
    let here = Fixture::expiring(harness).await;
    let lobby = group("lobby");
    let mut mailbox = here.member_of(&lobby).await;
    here.elapse(here.timing.group_expiry * 2 + here.timing.resolution).await;
    here.say(&lobby, 1).await;
    here.hears(&mut mailbox, [1]).await;
    Ok(())
}
