//! The backend is away for a while, without a loss of what it holds.

use super::{
    Harness, Verdict,
    stage::{Stage, channel, group, numbered},
};
use crate::{error::Error, events::LayerEvent, layer::Audience};

/// The state says at any moment whether the backend is in reach, and the events say when that changes.
pub async fn an_outage_and_its_end_are_told(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let mut events = stage.layer.events();
    let (waiting, jobs) = (stage.layer.clone(), channel("jobs"));
    let receiving = tokio::spawn(async move { waiting.receive(&channel("jobs")).await });
    stage.begin_outage().await?;
    assert_eq!(stage.soon(events.next()).await, Some(LayerEvent::Disconnected));
    stage.settle().await;
    assert!(stage.layer.events().state().is_away() && !receiving.is_finished());
    stage.end_outage().await;
    let back = stage.soon(events.next()).await;
    assert!(matches!(back, Some(LayerEvent::Reconnected { .. })), "{back:?}");
    stage.soon(stage.layer.health()).await.expect("it works again");
    while !receiving.is_finished() {
        stage.try_send(&jobs, 1).await.expect("it works again"); // at most once: the receiver may not be back yet
        stage.settle().await;
    }
    assert!(stage.soon(receiving).await.expect("the task ends").is_ok(), "it waited the outage out");
    Ok(())
}

/// Calls that need the backend say so at once; what was refused arrives nowhere, now or later. What needs no backend
/// works.
pub async fn calls_fail_at_once_and_reach_nobody(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let (lobby, hall) = (group("lobby"), group("hall"));
    let mut mailbox = stage.member_of(&lobby).await;
    stage.join(&hall, mailbox.channel()).await;
    stage.begin_outage().await?;
    let is_unavailable = |what: &str, error: Option<Error>| {
        assert!(
            matches!(error, Some(Error::Unavailable(_))),
            "{what} while the backend is away says {error:?}"
        );
    };
    let layer = &stage.layer;
    for to in [Audience::from(&lobby), Audience::from(&lobby).and(&hall)] {
        is_unavailable("group_send", stage.soon(layer.group_send(&to, numbered(1))).await.err());
    }
    is_unavailable("send", stage.try_send(&channel("jobs"), 1).await.err());
    is_unavailable("health", stage.soon(layer.health()).await.err());
    if layer.capabilities().global_flush {
        is_unavailable("flush", stage.soon(layer.flush()).await.err());
    }
    stage.hears_nothing(&mut mailbox).await;
    stage.say(Audience::from(&lobby).local_only(), 2).await;
    stage.send(mailbox.channel(), 3).await;
    let mut heard = [stage.take(&mut mailbox).await, stage.take(&mut mailbox).await];
    heard.sort_unstable(); // a message to a channel and one to a group may take two ways
    assert_eq!(heard, [2, 3]);
    stage.end_outage().await;
    stage.hears_nothing(&mut mailbox).await;
    stage.say(&lobby, 4).await;
    stage.hears(&mut mailbox, &[4]).await;
    Ok(())
}

/// Channels are opened, join and leave during an outage, and that is so when the layer says that it is over.
pub async fn members_come_and_go_during_an_outage(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let (old, new) = (group("old"), group("new"));
    let mut stays = stage.member_of(&old).await;
    let (mut leaves, mut leaves_all) = (stage.member_of(&old).await, stage.member_of(&old).await);
    stage.begin_outage().await?;
    let (mut late, mut gives_up) = (stage.open().await, stage.open().await);
    for channel in [stays.channel(), late.channel(), gives_up.channel()] {
        stage.join(&new, channel).await;
    }
    stage.join(&old, late.channel()).await;
    stage.leave(&old, leaves.channel()).await;
    stage.soon(stage.layer.group_discard_all(leaves_all.channel())).await.expect("a channel can leave");
    stage.leave(&new, gives_up.channel()).await;
    drop(stage.member_of(&new).await);
    stage.end_outage().await;
    stage.say(&old, 1).await;
    stage.say(&new, 2).await;
    for mailbox in [&mut stays, &mut late] {
        let mut heard = [stage.take(mailbox).await, stage.take(mailbox).await];
        heard.sort_unstable(); // there is no order between groups
        assert_eq!(heard, [1, 2]);
    }
    for mailbox in [&mut leaves, &mut leaves_all, &mut gives_up] {
        stage.hears_nothing(mailbox).await;
    }
    let late_sends = stage.layer.send(late.channel(), numbered(3));
    stage.soon(late_sends).await.expect("its own channel works");
    stage.hears(&mut late, &[3]).await;
    Ok(())
}
