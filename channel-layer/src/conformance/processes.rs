//! Two handles on one store, which stand for two processes.

use std::collections::HashSet;

use tokio::time::timeout;

use super::{
    Harness, Verdict,
    stage::{Stage, channel, group, number_of},
};
use crate::{
    error::Error,
    layer::{Audience, ChannelLayer, Remote},
};

/// A message reaches a mailbox of another process, in order, and only there.
pub async fn a_message_reaches_another_process(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let peer = stage.peer().await?;
    let (mut here, mut there) = (stage.open().await, peer.open().await);
    let numbers: Vec<_> = (0..50).collect();
    for number in &numbers {
        stage.send(there.channel(), *number).await;
    }
    peer.hears(&mut there, &numbers).await;
    stage.hears_nothing(&mut here).await;
    Ok(())
}

/// A message to a group reaches its members in all processes, once each, and the report says that there are others.
pub async fn a_group_spans_processes(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let (peer, lobby) = (stage.peer().await?, group("lobby"));
    let (mut here, mut there) = (stage.member_of(&lobby).await, peer.member_of(&lobby).await);
    for number in 0..20 {
        let report = stage.group_send(&lobby, number).await;
        assert_ne!(report.remote, Remote::None, "the backend is cross_process");
    }
    let numbers: Vec<_> = (0..20).collect();
    stage.hears(&mut here, &numbers).await;
    peer.hears(&mut there, &numbers).await;
    Ok(())
}

/// Who left a group in another process, or whose mailbox is gone, does not hear it any more.
pub async fn who_left_elsewhere_hears_nothing(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let (peer, lobby) = (stage.peer().await?, group("lobby"));
    let (mut stays, mut leaves) = (peer.member_of(&lobby).await, peer.member_of(&lobby).await);
    drop(peer.member_of(&lobby).await);
    peer.leave(&lobby, leaves.channel()).await;
    stage.say(&lobby, 1).await;
    peer.hears(&mut stays, &[1]).await;
    peer.hears_nothing(&mut leaves).await;
    Ok(())
}

/// The excepted channel is left out in its own process, wherever the message comes from.
pub async fn the_exception_holds_everywhere(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let (peer, lobby) = (stage.peer().await?, group("lobby"));
    let (mut one, mut two) = (peer.member_of(&lobby).await, peer.member_of(&lobby).await);
    stage.say(Audience::from(&lobby).except(one.channel()), 1).await;
    peer.hears(&mut two, &[1]).await;
    peer.hears_nothing(&mut one).await;
    Ok(())
}

/// Who is in several groups hears it once, in another process too.
pub async fn several_groups_are_one_message_everywhere(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let (peer, lobby, admins) = (stage.peer().await?, group("lobby"), group("admins"));
    let mut both = peer.member_of(&lobby).await;
    peer.join(&admins, both.channel()).await;
    stage.say(Audience::from(&lobby).and(&admins), 1).await;
    peer.hears(&mut both, &[1]).await;
    Ok(())
}

/// A message for this process only stays in it.
pub async fn a_local_message_stays_local(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let (peer, lobby) = (stage.peer().await?, group("lobby"));
    let (mut here, mut there) = (stage.member_of(&lobby).await, peer.member_of(&lobby).await);
    stage.say(Audience::from(&lobby).local_only(), 1).await;
    stage.hears(&mut here, &[1]).await;
    peer.hears_nothing(&mut there).await;
    Ok(())
}

/// Workers in several processes share a named channel: each message is received once, by one of them.
pub async fn workers_share_a_channel_across_processes(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    stage.requires(|can| can.stores_messages, "the backend does not claim stores_messages")?;
    let (peer, jobs) = (stage.peer().await?, channel("jobs"));
    let workers = [&stage, &peer].map(|worker| {
        let (layer, jobs, silence) = (worker.layer.clone(), jobs.clone(), worker.timing.silence * 4);
        tokio::spawn(async move {
            let mut received = Vec::new();
            while let Ok(message) = timeout(silence, layer.receive(&jobs)).await {
                received.push(number_of(&message.expect("a message")));
            }
            received
        })
    });
    for number in 0..40 {
        stage.send(&jobs, number).await;
    }
    let mut received = Vec::new();
    for worker in workers {
        received.extend(stage.soon(worker).await.expect("the task ends"));
    }
    assert_eq!(received.iter().collect::<HashSet<_>>().len(), received.len(), "none was received twice");
    assert_eq!(received.len(), 40, "none was lost");
    Ok(())
}

/// What one process put into a channel fills it for all.
pub async fn capacity_holds_across_processes(harness: &dyn Harness) -> Verdict {
    let stage = Stage::with(harness, |config| config.with_capacity(3)).await;
    stage
        .requires(|can| can.reports_full && can.stores_messages, "the backend does not claim reports_full")?;
    let (peer, jobs) = (stage.peer().await?, channel("jobs"));
    for number in 0..3 {
        stage.send(&jobs, number).await;
    }
    let refused = peer.try_send(&jobs, 3).await;
    assert!(matches!(refused, Err(Error::ChannelFull { .. })), "{refused:?}");
    Ok(())
}

/// A flush in one process empties the store for all.
pub async fn a_flush_is_felt_everywhere(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    stage.requires(|can| can.global_flush, "the backend does not claim global_flush")?;
    stage.requires(|can| can.stores_messages, "the backend does not claim stores_messages")?;
    let (peer, jobs) = (stage.peer().await?, channel("jobs"));
    stage.send(&jobs, 1).await;
    peer.soon(peer.layer.flush()).await.expect("a layer can be flushed");
    stage.receives_nothing(&jobs).await;
    Ok(())
}

/// Mailboxes of two processes never have the same name, and are not received from by the other.
pub async fn mailboxes_of_two_processes_differ(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let peer = stage.peer().await?;
    let (mut here, mut there) = (stage.open().await, peer.open().await);
    assert_ne!(here.channel(), there.channel());
    stage.send(here.channel(), 1).await;
    peer.send(there.channel(), 2).await;
    stage.hears(&mut here, &[1]).await;
    peer.hears(&mut there, &[2]).await;
    Ok(())
}

/// Closing one layer leaves the other as it was.
pub async fn one_process_can_end(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let (peer, lobby) = (stage.peer().await?, group("lobby"));
    let mut here = stage.member_of(&lobby).await;
    drop(peer.member_of(&lobby).await);
    peer.soon(peer.layer.close()).await.expect("a layer can be closed");
    stage.say(&lobby, 1).await;
    stage.hears(&mut here, &[1]).await;
    Ok(())
}
