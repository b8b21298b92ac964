//! Expiry: what waited for too long is dropped, and makes room.

use std::time::Duration;

use super::{
    Harness, Verdict,
    stage::{Stage, channel, group},
};

/// Longer than any store's resolution.
const A_LITTLE: Duration = Duration::from_millis(1100);

/// A message that waited for too long in a mailbox is not received; a new one is.
pub async fn a_mailbox_drops_what_expired(harness: &dyn Harness) -> Verdict {
    let stage = Stage::expiring(harness).await;
    let mut mailbox = stage.open().await;
    stage.send(mailbox.channel(), 1).await;
    stage.elapse(stage.timing.expiry + A_LITTLE).await;
    stage.hears_nothing(&mut mailbox).await;
    stage.send(mailbox.channel(), 2).await;
    stage.hears(&mut mailbox, &[2]).await;
    Ok(())
}

/// A message that waited for too long on a named channel is not received; a new one is.
pub async fn a_named_channel_drops_what_expired(harness: &dyn Harness) -> Verdict {
    let stage = Stage::expiring(harness).await;
    stage.requires(|can| can.stores_messages, "the backend does not claim stores_messages")?;
    let jobs = channel("jobs");
    stage.send(&jobs, 1).await;
    stage.elapse(stage.timing.expiry + A_LITTLE).await;
    stage.receives_nothing(&jobs).await;
    stage.send(&jobs, 2).await;
    assert_eq!(stage.receive(&jobs).await, 2);
    Ok(())
}

/// One is read, two expire, the fourth is delivered, and then there is nothing.
pub async fn some_are_read_and_some_expire(harness: &dyn Harness) -> Verdict {
    let stage = Stage::expiring(harness).await;
    stage.requires(|can| can.stores_messages, "the backend does not claim stores_messages")?;
    let jobs = channel("jobs");
    for number in 1..4 {
        stage.send(&jobs, number).await;
    }
    assert_eq!(stage.receive(&jobs).await, 1);
    stage.elapse(stage.timing.expiry + A_LITTLE).await;
    stage.send(&jobs, 4).await;
    assert_eq!(stage.receive(&jobs).await, 4);
    stage.receives_nothing(&jobs).await;
    Ok(())
}

/// Messages expire one by one, each at its own time.
pub async fn the_earliest_message_expires_first(harness: &dyn Harness) -> Verdict {
    let stage = Stage::expiring(harness).await;
    let two_thirds = stage.timing.expiry * 2 / 3;
    let mut mailbox = stage.open().await;
    stage.send(mailbox.channel(), 1).await;
    stage.elapse(two_thirds).await;
    stage.send(mailbox.channel(), 2).await;
    stage.send(mailbox.channel(), 3).await;
    stage.elapse(two_thirds).await;
    stage.hears(&mut mailbox, &[2, 3]).await;
    Ok(())
}

/// What is read in time is received, whatever happened meanwhile.
pub async fn a_message_lives_until_it_expires(harness: &dyn Harness) -> Verdict {
    let stage = Stage::expiring(harness).await;
    let mut mailbox = stage.open().await;
    for number in 1..4 {
        stage.send(mailbox.channel(), number).await;
        stage.elapse(stage.timing.expiry / 6).await;
    }
    stage.hears(&mut mailbox, &[1, 2, 3]).await;
    Ok(())
}

/// A channel full of expired messages takes new ones.
pub async fn expired_messages_make_room(harness: &dyn Harness) -> Verdict {
    let stage = Stage::expiring(harness).await;
    let mut mailbox = stage.open().await;
    for number in 0..3 {
        stage.send(mailbox.channel(), number).await;
    }
    stage.elapse(stage.timing.expiry + A_LITTLE).await;
    for number in 3..6 {
        stage.send(mailbox.channel(), number).await;
    }
    stage.hears(&mut mailbox, &[3, 4, 5]).await;
    Ok(())
}

/// A message to a group expires for each member by itself: who read it in time has read it.
pub async fn a_group_message_expires_for_each_member(harness: &dyn Harness) -> Verdict {
    let stage = Stage::expiring(harness).await;
    let lobby = group("lobby");
    let (mut quick, mut slow) = (stage.member_of(&lobby).await, stage.member_of(&lobby).await);
    stage.say(&lobby, 1).await;
    assert_eq!(stage.take(&mut quick).await, 1);
    stage.elapse(stage.timing.expiry + A_LITTLE).await;
    stage.hears_nothing(&mut slow).await;
    stage.say(&lobby, 2).await;
    stage.hears(&mut quick, &[2]).await;
    stage.hears(&mut slow, &[2]).await;
    Ok(())
}

/// The membership of a named channel ends some time after it was last added.
pub async fn a_membership_by_name_expires(harness: &dyn Harness) -> Verdict {
    let stage = Stage::expiring(harness).await;
    stage.requires(|can| can.stores_messages, "the backend does not claim stores_messages")?;
    let (lobby, jobs) = (group("lobby"), channel("jobs"));
    stage.join(&lobby, &jobs).await;
    stage.elapse(stage.timing.group_expiry + A_LITTLE).await;
    stage.say(&lobby, 1).await;
    stage.receives_nothing(&jobs).await;
    Ok(())
}

/// Adding a named channel again renews its membership.
pub async fn adding_again_renews_a_membership(harness: &dyn Harness) -> Verdict {
    let stage = Stage::expiring(harness).await;
    stage.requires(|can| can.stores_messages, "the backend does not claim stores_messages")?;
    let (lobby, jobs) = (group("lobby"), channel("jobs"));
    let two_thirds = stage.timing.group_expiry * 2 / 3;
    stage.join(&lobby, &jobs).await;
    stage.elapse(two_thirds).await;
    stage.join(&lobby, &jobs).await;
    stage.elapse(two_thirds).await;
    stage.say(&lobby, 1).await;
    assert_eq!(stage.receive(&jobs).await, 1);
    Ok(())
}

/// A mailbox stays a member for as long as it lives.
pub async fn a_mailbox_outlives_the_group_expiry(harness: &dyn Harness) -> Verdict {
    let stage = Stage::expiring(harness).await;
    let lobby = group("lobby");
    let mut mailbox = stage.member_of(&lobby).await;
    stage.elapse(stage.timing.group_expiry * 2 + A_LITTLE).await;
    stage.say(&lobby, 1).await;
    stage.hears(&mut mailbox, &[1]).await;
    Ok(())
}
