//! Calls about a channel of another process.

use super::{
    Harness, Verdict,
    fixture::{Fixture, Route, channel, group},
};
use crate::{error::Error, layer::ChannelLayer};

/// A channel that another process adds to a group is a member, and can be taken out by any process.
pub async fn a_peer_can_add_a_channel(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(Route::Peer).await?;
    here.requires(|can| can.adds_foreign, "adds_foreign")?;
    let lobby = group("lobby");
    let (mut mailbox, mut other) = (here.open().await, here.open().await);
    for (number, remover) in [&there, &here, &there].into_iter().enumerate() {
        let number = number as i64 * 10;
        there.join(&lobby, mailbox.channel()).await;
        there.say(&lobby, number).await;
        here.say(&lobby, number + 1).await;
        assert_eq!(here.take_sorted(&mut mailbox, 2).await, [number, number + 1]);
        remover.leave(&lobby, mailbox.channel()).await;
        here.settle().await;
        there.say(&lobby, number + 2).await;
        here.silent([&mut mailbox, &mut other]).await;
    }
    Ok(())
}

/// A channel that a peer takes out of all groups has left them, whichever process added it.
pub async fn a_peer_can_end_all_memberships(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(Route::Peer).await?;
    here.requires(|can| can.adds_foreign, "adds_foreign")?;
    let (lobby, staff) = (group("lobby"), group("staff"));
    let (mut mailbox, mut stays) = (here.member_of(&lobby).await, here.member_of(&lobby).await);
    there.join(&staff, mailbox.channel()).await;
    there.leave_all(mailbox.channel()).await;
    here.settle().await;
    for (number, group) in [&lobby, &staff].into_iter().enumerate() {
        here.say(group, number as i64).await;
        there.say(group, number as i64 + 2).await;
    }
    assert_eq!(here.take_sorted(&mut stays, 2).await, [0, 2]);
    here.silent([&mut mailbox, &mut stays]).await;
    Ok(())
}

/// A channel that a peer added leaves the group with its mailbox.
pub async fn channels_added_remotely_can_drop(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(Route::Peer).await?;
    here.requires(|can| can.adds_foreign, "adds_foreign")?;
    let (lobby, mailbox) = (group("lobby"), here.open().await);
    there.join(&lobby, mailbox.channel()).await;
    assert_eq!(here.group_send(&lobby, 1).await.local.matched, 1);
    drop(mailbox);
    here.settle().await;
    assert_eq!(here.group_send(&lobby, 2).await.local.matched, 0);
    Ok(())
}

/// Adding a channel whose owner is gone, or was never there, is taken and has no effect.
pub async fn adding_unknown_channels_succeeds(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.adds_foreign, "adds_foreign")?;
    let (lobby, gone) = (group("lobby"), here.open().await.channel().clone());
    for unknown in [&gone, &channel("specific.nobody!here")] {
        here.join(&lobby, unknown).await;
        here.leave(&lobby, unknown).await;
        here.leave_all(unknown).await;
        here.join(&lobby, unknown).await;
    }
    let local = here.group_send(&lobby, 1).await.local;
    assert_eq!((local.delivered, local.full), (0, 0), "{local:?}");
    Ok(())
}

/// A backend that claims to add a channel of another process does so. One that does not refuses, and changes no
/// membership.
pub async fn foreign_channels_join_or_fail(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(Route::Peer).await?;
    let (lobby, mut mailbox) = (group("lobby"), here.open().await);
    let result = there.soon(there.layer.group_add(&lobby, mailbox.channel())).await;
    there.say(&lobby, 1).await;
    if here.layer.capabilities().adds_foreign {
        result.expect("the backend claims to add it");
        here.hears(&mut mailbox, [1]).await;
    } else {
        assert!(matches!(result, Err(Error::Unsupported(_))), "{result:?}");
        here.silent([&mut mailbox]).await;
    }
    Ok(())
}
