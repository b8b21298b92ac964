//! Named channels: messages are stored where the backend can, and receivers share them.

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    Harness, Verdict,
    fixture::{Fixture, Route, channel, group, number_of},
};
use crate::{layer::Audience, layer::ChannelLayer, name::ChannelName};

variants! {
    /// Messages are stored until there is a receiver.
    named_channels_store = keeps_messages(Route::Local);
    /// Messages are stored until there is a receiver in a peer.
    named_channels_store_for_peers = keeps_messages(Route::Peer);
    /// A message wakes a waiting receiver, and the next message a second one.
    a_send_wakes_a_receiver = receiver_is_woken(Route::Local);
    /// A message of a peer wakes a waiting receiver, and the next message a second one.
    a_remote_send_wakes_a_receiver = receiver_is_woken(Route::Peer);
    /// Messages arrive on a named channel in order.
    named_channels_are_fifo = in_order(Route::Local);
    /// Messages of a peer arrive on a named channel in order.
    named_channels_are_fifo_for_peers = in_order(Route::Peer);
    /// A channel takes messages up to its capacity, refuses the next, and takes messages again once one was read.
    a_full_channel_refuses = full_channel(Route::Local);
    /// Messages of one process fill a channel for all of them.
    a_full_channel_refuses_a_peer = full_channel(Route::Peer);
    /// Receivers of one channel share its messages: each goes to exactly one.
    receivers_share_a_channel = receivers_share(Route::Local);
    /// Receivers in two processes share a channel: each message goes to exactly one.
    remote_receivers_share_a_channel = receivers_share(Route::Peer);
    /// Messages go to current receivers, and not to former ones.
    former_receivers_take_nothing = receiver_left(Route::Local);
    /// Messages go to another process once one has stopped receiving.
    former_remote_receivers_take_nothing = receiver_left(Route::Peer);
    /// Cancelling receivers at any moment loses no message.
    a_cancelled_receive_loses_nothing = cancelled_receiver(Route::Local);
    /// Cancelling receivers at any moment loses no message of a peer.
    cancelled_receives_lose_no_remote_message = cancelled_receiver(Route::Peer);
    /// A receiver that waits for a few milliseconds at a time, as in a `select!` inside a loop, loses no message.
    short_waits_lose_nothing = short_waits(Route::Local);
    /// A receiver that waits for a few milliseconds at a time loses no message of a peer.
    short_waits_lose_no_remote_message = short_waits(Route::Peer);
    /// A named channel can be a member of a group.
    named_channels_can_be_members = named_member(Route::Local);
    /// A named channel that one process added to a group can be received from in another.
    named_channels_can_be_remote_members = named_member(Route::Peer);
    /// A named channel that is in several groups receives from all of them.
    a_named_member_hears_all_groups = named_in_each(Route::Local);
    /// A named channel that two processes added to one group each receives from both of them.
    named_members_hear_remote_groups = named_in_each(Route::Peer);
    /// A named channel that is in several groups of a union receives once.
    unions_reach_named_members_once = named_in_several(Route::Local);
    /// A named channel that is in several groups of a union receives once in a peer.
    unions_reach_remote_names_once = named_in_several(Route::Peer);
}

async fn keeps_messages(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.stores_messages, "stores_messages")?;
    let (there, jobs) = (here.at(route).await?, channel("jobs"));
    here.send(&jobs, 1).await;
    here.send(&jobs, 2).await;
    assert_eq!(there.receive(&jobs).await, 1);
    assert_eq!(there.receive(&jobs).await, 2);
    there.receives_nothing(&jobs).await;
    Ok(())
}

async fn receiver_is_woken(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, jobs) = (here.at(route).await?, channel("jobs"));
    for number in 0..2 {
        let waiting = there.spawn_receive(&jobs);
        there.settle().await;
        here.send(&jobs, number).await;
        assert_eq!(received(&there, waiting).await, number);
    }
    Ok(())
}

async fn in_order(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.stores_messages, "stores_messages")?;
    let (there, jobs) = (here.at(route).await?, channel("jobs"));
    for number in 0..50 {
        here.send(&jobs, number).await;
    }
    for number in 0..50 {
        assert_eq!(there.receive(&jobs).await, number);
    }
    there.receives_nothing(&jobs).await;
    Ok(())
}

async fn full_channel(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::with(harness, |config| config.with_capacity(3)).await;
    here.requires(|can| can.reports_full, "reports_full")?;
    here.requires(|can| can.stores_messages, "stores_messages")?;
    let (there, jobs) = (here.at(route).await?, channel("jobs"));
    for number in 0..3 {
        here.send(&jobs, number).await;
    }
    there.assert_full(&jobs).await;
    assert_eq!(there.receive(&jobs).await, 0);
    there.send(&jobs, 3).await;
    for number in 1..4 {
        assert_eq!(here.receive(&jobs).await, number, "taken messages are kept");
    }
    Ok(())
}

/// Works without storage too, because the receivers start before the first message.
async fn receivers_share(harness: &dyn Harness, route: Route) -> Verdict {
    const RUN: i64 = 1_000;
    let here = Fixture::roomy(harness).await;
    here.requires(|can| can.shares_work, "shares_work")?;
    let (there, jobs) = (here.at(route).await?, channel("jobs"));
    let receivers: Vec<_> =
        [&here, &there].into_iter().cycle().take(6).map(|at| receive_all(at, &jobs)).collect();
    here.settle().await;
    for number in 0..RUN {
        [&here, &there][(number % 2) as usize].send(&jobs, number).await;
    }
    let mut numbers = Vec::new();
    for receiver in receivers {
        numbers.extend(here.soon(receiver).await.expect("the task ends"));
    }
    let once: BTreeSet<_> = numbers.iter().copied().collect();
    let lost: Vec<_> = (0..RUN).filter(|number| !once.contains(number)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(once.len(), numbers.len(), "no message is received twice");
    Ok(())
}

/// Receives in a task until no message has come for a while.
fn receive_all(at: &Fixture<'_>, jobs: &ChannelName) -> JoinHandle<Vec<i64>> {
    let (layer, jobs, silence) = (at.layer.clone(), jobs.clone(), at.timing.silence * 8);
    tokio::spawn(async move {
        let mut numbers = Vec::new();
        while let Ok(message) = timeout(silence, layer.receive(&jobs)).await {
            numbers.push(number_of(&message.expect("a message")));
        }
        numbers
    })
}

/// Allows for the grace of the former receiver's process, which may delay messages, but neither loses nor repeats them.
async fn receiver_left(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.shares_work, "shares_work")?;
    let (there, jobs) = (here.at(route).await?, channel("jobs"));
    let leaving = there.spawn_receive(&jobs);
    there.settle().await;
    here.send(&jobs, 0).await;
    assert_eq!(received(&there, leaving).await, 0);
    let leaving = there.spawn_receive(&jobs);
    there.settle().await;
    leaving.abort();
    let staying = receive_all(&here, &jobs);
    here.settle().await;
    for number in 1..21 {
        here.send(&jobs, number).await;
    }
    let numbers = here.soon(staying).await.expect("the task ends");
    let once: BTreeSet<_> = numbers.iter().copied().collect();
    assert_eq!(once.len(), numbers.len(), "no message is received twice");
    assert_eq!(once, (1..21).collect(), "no message is lost");
    Ok(())
}

async fn cancelled_receiver(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.stores_messages, "stores_messages")?;
    let (there, jobs) = (here.at(route).await?, channel("jobs"));
    let mut expected = 0;
    for number in 0..20_i64 {
        let waiting = there.spawn_receive(&jobs);
        let abort = waiting.abort_handle();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(number.unsigned_abs() % 11)).await;
            abort.abort();
        });
        here.send(&jobs, number).await;
        if let Ok(received) = waiting.await {
            assert_eq!(received.expect("a message"), expected, "in order, and none lost");
            expected += 1;
        }
    }
    while expected < 20 {
        assert_eq!(there.receive(&jobs).await, expected, "in order, and none lost");
        expected += 1;
    }
    there.receives_nothing(&jobs).await;
    Ok(())
}

/// Works without storage too, because the process is a receiver between two waits.
async fn short_waits(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, jobs) = (here.at(route).await?, channel("jobs"));
    let (layer, name, silence) = (there.layer.clone(), jobs.clone(), there.timing.silence * 8);
    let receiving = tokio::spawn(async move {
        let (mut numbers, mut last) = (Vec::new(), Instant::now());
        for wait in (1..8).cycle() {
            if let Ok(message) = timeout(Duration::from_millis(wait), layer.receive(&name)).await {
                numbers.push(number_of(&message.expect("a message")));
                last = Instant::now();
            } else if last.elapsed() > silence {
                break;
            }
        }
        numbers
    });
    there.settle().await;
    for number in 0..50 {
        here.send(&jobs, number).await;
        here.elapse(Duration::from_millis(2)).await;
    }
    let mut numbers = here.soon(receiving).await.expect("the task ends");
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>(), "each message once");
    Ok(())
}

async fn named_member(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.stores_messages, "stores_messages")?;
    let (there, lobby, jobs) = (here.at(route).await?, group("lobby"), channel("jobs"));
    here.join(&lobby, &jobs).await;
    here.say(&lobby, 1).await;
    assert_eq!(there.receive(&jobs).await, 1);
    there.say(&lobby, 2).await;
    assert_eq!(here.receive(&jobs).await, 2);
    here.leave(&lobby, &jobs).await;
    here.say(&lobby, 3).await;
    there.receives_nothing(&jobs).await;
    Ok(())
}

async fn named_in_several(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.stores_messages, "stores_messages")?;
    let (there, jobs) = (here.at(route).await?, channel("jobs"));
    let [lobby, staff, guests] = ["lobby", "staff", "guests"].map(group);
    here.join(&lobby, &jobs).await;
    there.join(&staff, &jobs).await;
    let _others = (here.member_of(&lobby).await, there.member_of(&staff).await);
    here.say(Audience::from(&lobby).and(&staff).and(&guests), 1).await;
    assert_eq!(there.receive(&jobs).await, 1);
    there.receives_nothing(&jobs).await;
    Ok(())
}

/// Alternates messages, so that the process that forwarded one of them is not preferred for the next.
async fn named_in_each(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.stores_messages, "stores_messages")?;
    let (there, jobs) = (here.at(route).await?, channel("jobs"));
    let [lobby, staff, guests] = ["lobby", "staff", "guests"].map(group);
    here.join(&lobby, &jobs).await;
    there.join(&staff, &jobs).await;
    for number in 0..10 {
        let to = Audience::from([&lobby, &staff][(number % 2) as usize]);
        here.say(if number % 3 == 0 { to.and(&guests) } else { to }, number).await;
        assert_eq!(there.receive(&jobs).await, number);
    }
    here.receives_nothing(&jobs).await;
    Ok(())
}

async fn received(at: &Fixture<'_>, receiver: JoinHandle<crate::Result<i64>>) -> i64 {
    at.soon(receiver).await.expect("the task ends").expect("a message")
}
