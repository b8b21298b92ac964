//! Operations of the layer: flush, close, health, requests.

use super::{
    Harness, Verdict,
    fixture::{Fixture, Route, channel, group, number_of, numbered},
};
use crate::{error::Error, ext::ChannelLayerExt, layer::ChannelLayer};

variants! {
    /// After a flush no message waits and no group has members. Open mailboxes continue to work.
    a_flush_empties_the_layer = flush_empties(Route::Local);
    /// After a flush by a peer no message waits and no group has members, where a flush is for all processes.
    a_remote_flush_empties_the_layer = flush_empties(Route::Peer);
    /// A request is answered, or times out.
    requests_are_answered = request(Route::Local);
    /// A request to a peer is answered, or times out.
    remote_requests_are_answered = request(Route::Peer);
}

async fn flush_empties(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    if route == Route::Peer {
        here.requires(|can| can.global_flush, "global_flush")?;
    }
    let (lobby, jobs) = (group("lobby"), channel("jobs"));
    let mut mailbox = here.member_of(&lobby).await;
    here.send(&jobs, 1).await;
    if route == Route::Local {
        here.send(mailbox.channel(), 1).await; // a mailbox of another process is not a part of the store
    }
    here.settle().await;
    there.soon(there.layer.flush()).await.expect("a layer can be flushed");
    here.silent([&mut mailbox]).await;
    here.receives_nothing(&jobs).await;
    here.say(&lobby, 2).await;
    there.say(&lobby, 3).await;
    here.silent([&mut mailbox]).await;
    here.send(mailbox.channel(), 4).await;
    here.join(&lobby, mailbox.channel()).await;
    there.say(&lobby, 5).await;
    assert_eq!(here.take_sorted(&mut mailbox, 2).await, [4, 5]);
    Ok(())
}

async fn request(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let mut asked = there.open().await;
    let name = asked.channel().clone();
    let layer = there.layer.clone();
    let answering = tokio::spawn(async move {
        let question = asked.recv().await;
        layer.reply(&question, numbered(42)).await.expect("it can be answered");
        asked
    });
    let answer = here.layer.request(&name, numbered(1), here.timing.arrival).await.expect("an answer");
    assert_eq!(number_of(&answer), 42);
    let _silent = here.soon(answering).await.expect("the task ends");
    let late = here.layer.request(&name, numbered(2), here.timing.silence).await;
    assert!(matches!(late, Err(Error::TimedOut(_))), "{late:?}");
    Ok(())
}

/// A closed layer refuses every call, and closing it again has no effect.
pub async fn a_closed_layer_refuses_calls(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (lobby, mailbox) = (group("lobby"), here.open().await);
    here.close().await;
    here.close().await;
    let (layer, channel) = (&here.layer, mailbox.channel());
    let is_closed = |what: &str, error: Option<Error>| {
        assert!(matches!(error, Some(Error::Closed)), "{what} on a closed layer says {error:?}");
    };
    is_closed("open", here.soon(layer.new_channel()).await.err());
    is_closed("send", here.try_send(channel, 1).await.err());
    is_closed("send to a name", here.try_send(&super::fixture::channel("jobs"), 1).await.err());
    is_closed("receive", here.soon(layer.receive(&super::fixture::channel("jobs"))).await.err());
    is_closed("group_add", here.soon(layer.group_add(&lobby, channel)).await.err());
    is_closed("group_discard", here.soon(layer.group_discard(&lobby, channel)).await.err());
    is_closed("group_discard_all", here.soon(layer.group_discard_all(channel)).await.err());
    is_closed("group_send", here.try_group_send(&lobby, 1).await.err());
    is_closed("health", here.soon(layer.health()).await.err());
    is_closed("flush", here.soon(layer.flush()).await.err());
    Ok(())
}

/// Closing the layer ends every wait for a message or an event.
pub async fn closing_ends_all_waits(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (mut events, state) = (here.layer.events(), here.layer.events().state());
    assert!(!state.is_away(), "the layer works");
    // Separate names: where they have no prefix, another case on the same server may send to the usual ones.
    let names = ["closing", "closing", "closing-too"].map(channel);
    let receiving = names.map(|name| here.spawn_receive(&name));
    here.settle().await;
    here.close().await;
    for received in receiving {
        let received = here.soon(received).await.expect("the task ends");
        assert!(matches!(received, Err(Error::Closed)), "{received:?}");
    }
    while here.event(&mut events).await.is_some() {}
    assert_eq!(here.soon(here.layer.events().next()).await, None);
    assert!(state.is_away() && here.is_away());
    Ok(())
}

/// The messages of a mailbox can be read after its layer was closed.
pub async fn mailboxes_are_readable_after_close(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let lobby = group("lobby");
    let mut mailbox = here.member_of(&lobby).await;
    here.send(mailbox.channel(), 1).await;
    here.say(&lobby, 2).await;
    here.settle().await;
    here.close().await;
    assert_eq!(here.take_sorted(&mut mailbox, 2).await, [1, 2]);
    Ok(())
}

/// A working layer reports its health, and the number of its mailboxes and groups.
pub async fn health_counts_mailboxes(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let _mailbox = here.member_of(&group("lobby")).await;
    let health = here.soon(here.layer.health()).await.expect("a layer that works");
    assert!(health.mailboxes >= 1 && health.groups >= 1, "{health:?}");
    Ok(())
}
