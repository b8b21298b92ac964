//! The layer as a whole: flush, close, health.

use super::{
    Harness, Verdict,
    stage::{Stage, channel, group, numbered},
};
use crate::{error::Error, ext::ChannelLayerExt, layer::ChannelLayer};

/// After a flush nothing waits and no group has members, and the open mailboxes work on.
pub async fn a_flush_empties_and_leaves_open(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let (lobby, jobs) = (group("lobby"), channel("jobs"));
    let mut mailbox = stage.member_of(&lobby).await;
    stage.send(mailbox.channel(), 1).await;
    stage.send(&jobs, 1).await;
    stage.settle().await;
    stage.soon(stage.layer.flush()).await.expect("a layer can be flushed");
    stage.hears_nothing(&mut mailbox).await;
    stage.receives_nothing(&jobs).await;
    stage.say(&lobby, 2).await;
    stage.hears_nothing(&mut mailbox).await;
    stage.send(mailbox.channel(), 3).await;
    stage.join(&lobby, mailbox.channel()).await;
    stage.say(&lobby, 4).await;
    let mut heard = [stage.take(&mut mailbox).await, stage.take(&mut mailbox).await];
    heard.sort_unstable(); // a message to a channel and one to a group may take two ways
    assert_eq!(heard, [3, 4]);
    Ok(())
}

/// A closed layer says so, to every call, and closing it again is fine.
pub async fn a_closed_layer_says_so(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let (lobby, mailbox) = (group("lobby"), stage.open().await);
    for _ in 0..2 {
        stage.soon(stage.layer.close()).await.expect("closing twice is fine");
    }
    let (layer, channel) = (&stage.layer, mailbox.channel());
    let is_closed = |what: &str, error: Option<Error>| {
        assert!(matches!(error, Some(Error::Closed)), "{what} on a closed layer says {error:?}");
    };
    is_closed("open", stage.soon(layer.new_channel()).await.err());
    is_closed("send", stage.soon(layer.send(channel, numbered(1))).await.err());
    is_closed("receive", stage.soon(layer.receive(&super::stage::channel("jobs"))).await.err());
    is_closed("group_add", stage.soon(layer.group_add(&lobby, channel)).await.err());
    is_closed("group_send", stage.soon(layer.group_send(&(&lobby).into(), numbered(1))).await.err());
    is_closed("health", stage.soon(layer.health()).await.err());
    Ok(())
}

/// Closing the layer ends every wait for a message or an event.
pub async fn closing_ends_what_waits(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let (mut events, state) = (stage.layer.events(), stage.layer.events().state());
    assert!(!state.is_away(), "the layer works");
    // Names of its own: where they have no prefix, another case on the same server may send to the usual ones.
    let receiving: Vec<_> = ["closing", "closing", "closing-too"]
        .map(|name| {
            let layer = stage.layer.clone();
            tokio::spawn(async move { layer.receive(&super::stage::channel(name)).await })
        })
        .into();
    stage.settle().await;
    stage.soon(stage.layer.close()).await.expect("a layer can be closed");
    for received in receiving {
        let received = stage.soon(received).await.expect("the task ends");
        assert!(matches!(received, Err(Error::Closed)), "{received:?}");
    }
    while stage.soon(events.next()).await.is_some() {}
    assert_eq!(stage.soon(stage.layer.events().next()).await, None);
    assert!(state.is_away() && stage.layer.events().state().is_away());
    Ok(())
}

/// A layer that works says so, and how much it holds.
pub async fn health_counts_what_is_open(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let _mailbox = stage.member_of(&group("lobby")).await;
    let health = stage.soon(stage.layer.health()).await.expect("a layer that works");
    assert!(health.mailboxes >= 1 && health.groups >= 1, "{health:?}");
    Ok(())
}

/// Somebody is asked, and answers in time; who does not answer is not waited for.
pub async fn a_request_is_answered_or_times_out(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let mut asked = stage.open().await;
    let name = asked.channel().clone();
    let layer = stage.layer.clone();
    let answering = tokio::spawn(async move {
        let question = asked.recv().await;
        layer.reply(&question, numbered(42)).await.expect("it can be answered");
        asked
    });
    let answer = stage.layer.request(&name, numbered(1), stage.timing.arrival).await.expect("an answer");
    assert_eq!(super::stage::number_of(&answer), 42);
    let _silent = stage.soon(answering).await.expect("the task ends");
    let late = stage.layer.request(&name, numbered(2), stage.timing.silence).await;
    assert!(matches!(late, Err(Error::TimedOut(_))), "{late:?}");
    Ok(())
}
