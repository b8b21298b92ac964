//! Mailboxes as channels: a single receiver, a capacity, and a name that no other process receives from.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    Harness, Verdict,
    fixture::{Fixture, Route, channel, number_of},
};
use crate::{config::CapacityRules, error::Error, layer::ChannelLayer};

variants! {
    /// Messages arrive in the mailbox that they are for, and in no other one.
    messages_reach_their_mailbox = its_mailbox(Route::Local);
    /// Messages arrive in the mailbox of the peer that they are for, and in no other one.
    messages_reach_a_remote_mailbox = its_mailbox(Route::Peer);
    /// A full mailbox drops later messages, and takes messages again once one was read.
    a_full_mailbox_keeps_the_first = full_mailbox(Route::Local);
    /// A full mailbox drops later messages of a peer, and takes messages again once one was read.
    full_mailboxes_keep_a_peers_first = full_mailbox(Route::Peer);
    /// A full mailbox does not affect others.
    full_mailboxes_are_independent = another_is_full(Route::Local);
    /// A full mailbox does not affect others when a peer sends.
    full_remote_mailboxes_are_independent = another_is_full(Route::Peer);
    /// A pattern that matches the name of a mailbox sets its capacity.
    patterns_bound_mailboxes = pattern_bounds(Route::Local);
    /// A pattern that matches the name of a mailbox sets its capacity for messages of a peer.
    patterns_bound_remote_mailboxes = pattern_bounds(Route::Peer);
    /// Calls of `receive` for the channel of a mailbox are refused in its process.
    mailboxes_refuse_other_receivers = only_the_owner(Route::Local);
    /// Calls of `receive` for the channel of a mailbox are refused in another process, and take no message.
    mailboxes_refuse_remote_receivers = only_the_owner(Route::Peer);
}

async fn its_mailbox(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let (mut one, mut two, mut near) = (there.open().await, there.open().await, here.open().await);
    for number in 0..50 {
        let to = if number % 2 == 0 { &one } else { &two };
        here.send(to.channel(), number).await;
    }
    there.hears_first(&mut one, (0..50).step_by(2)).await;
    there.hears_first(&mut two, (1..50).step_by(2)).await;
    there.silent([&mut one, &mut two, &mut near]).await;
    Ok(())
}

async fn full_mailbox(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::with(harness, |config| config.with_capacity(3)).await;
    let there = here.at(route).await?;
    let mut mailbox = there.open().await;
    for number in 0..5 {
        let _ = here.try_send(mailbox.channel(), number).await; // full from the fourth on
    }
    there.settle().await;
    assert_eq!(there.take(&mut mailbox).await, 0);
    if route == Route::Peer && here.layer.capabilities().shares_capacity {
        return Ok(()); // the others remain in the store until the process takes them
    }
    here.send(mailbox.channel(), 5).await;
    there.hears(&mut mailbox, [1, 2, 5]).await;
    Ok(())
}

async fn another_is_full(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::with(harness, |config| config.with_capacity(3)).await;
    here.requires(|can| !can.shares_capacity, "shares_capacity")?;
    let there = here.at(route).await?;
    let (mut slow, mut quick) = (there.open().await, there.open().await);
    for number in 0..10 {
        let _ = here.try_send(slow.channel(), number).await; // full from the fourth on
    }
    here.send(quick.channel(), 1).await;
    there.hears_first(&mut quick, [1]).await;
    there.hears_first(&mut slow, [0, 1, 2]).await;
    there.silent([&mut slow, &mut quick]).await;
    Ok(())
}

async fn pattern_bounds(harness: &dyn Harness, route: Route) -> Verdict {
    let rules = CapacityRules::default().glob("*small*", 1).expect("the pattern is valid");
    let here = Fixture::with(harness, |config| config.with_capacity(3).with_channel_capacity(rules)).await;
    here.requires(|can| !can.shares_capacity, "shares_capacity")?;
    let there = here.at(route).await?;
    let small = there.soon(there.layer.open("small".into())).await;
    let mut small = small.expect("a mailbox can be opened");
    let (mut usual, mut last) = (there.open().await, there.open().await);
    for number in 0..5 {
        let _ = here.try_send(small.channel(), number).await; // full from the second on
        let _ = here.try_send(usual.channel(), number).await; // full from the fourth on
    }
    // All have arrived with it: a message that arrived after the first was taken would find room.
    here.send(last.channel(), 5).await;
    there.hears_first(&mut last, [5]).await;
    there.hears_first(&mut small, [0]).await;
    there.hears_first(&mut usual, 0..3).await;
    there.silent([&mut small, &mut usual]).await;
    Ok(())
}

async fn only_the_owner(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let mut mailbox = here.open().await;
    here.send(mailbox.channel(), 1).await;
    let refused = there.soon(there.layer.receive(mailbox.channel())).await;
    assert!(matches!(refused, Err(Error::ChannelOwned { .. })), "{refused:?}");
    there.send(mailbox.channel(), 2).await;
    assert_eq!(here.take_sorted(&mut mailbox, 2).await, [1, 2]);
    here.silent([&mut mailbox]).await;
    Ok(())
}

/// A mailbox takes messages up to its capacity, and refuses the next with its name in the error.
pub async fn a_full_mailbox_refuses(harness: &dyn Harness) -> Verdict {
    let here = Fixture::with(harness, |config| config.with_capacity(3)).await;
    here.requires(|can| can.reports_full, "reports_full")?;
    let mut mailbox = here.open().await;
    for number in 0..3 {
        here.send(mailbox.channel(), number).await;
    }
    here.assert_full(mailbox.channel()).await;
    here.hears(&mut mailbox, 0..3).await;
    Ok(())
}

/// The first pattern that matches a channel's name sets its capacity.
pub async fn the_first_pattern_sets_capacity(harness: &dyn Harness) -> Verdict {
    let rules = CapacityRules::default().glob("on[ae]", 1).and_then(|rules| rules.regex("^o", 2));
    let rules = rules.expect("the patterns are valid");
    let here = Fixture::with(harness, |config| config.with_capacity(3).with_channel_capacity(rules)).await;
    here.requires(|can| can.reports_full, "reports_full")?;
    here.requires(|can| can.stores_messages, "stores_messages")?;
    for (name, capacity) in [("one", 1), ("ona", 1), ("other", 2), ("two", 3)] {
        let channel = channel(name);
        for number in 0..capacity {
            here.send(&channel, number).await;
        }
        here.assert_full(&channel).await;
    }
    Ok(())
}

/// Cancelling `recv` at any moment loses no message.
pub async fn a_cancelled_recv_loses_nothing(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let mut mailbox = here.open().await;
    let mut expected = 0;
    for number in 0..20_i64 {
        here.send(mailbox.channel(), number).await;
        let patience = Duration::from_millis(number.unsigned_abs() % 4);
        if let Ok(message) = timeout(patience, mailbox.recv()).await {
            assert_eq!(number_of(&message), expected, "in order, and none lost");
            expected += 1;
        }
    }
    here.hears(&mut mailbox, expected..20).await;
    Ok(())
}

/// A message to a channel that does not exist, or no longer exists, is taken and has no effect.
pub async fn unknown_channels_take_messages(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    here.send(&channel("nobody"), 1).await;
    here.send(&channel("specific.nobody!here"), 1).await;
    let (mailbox, mut other) = (here.open().await, here.open().await);
    let gone = mailbox.channel().clone();
    drop(mailbox);
    here.send(&gone, 1).await;
    here.silent([&mut other]).await;
    Ok(())
}
