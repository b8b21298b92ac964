//! One channel: what is sent arrives, once, in order, as it was.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::timeout};

use super::{
    Harness, Verdict,
    stage::{Stage, channel, number_of},
};
use crate::{
    config::CapacityRules,
    error::Error,
    layer::ChannelLayer,
    message::Message,
    name::ChannelName,
    value::{Map, Value},
};

/// A message arrives in a mailbox, with every kind of value as it was.
pub async fn a_message_arrives_as_it_was(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let mut mailbox = stage.open().await;
    let message = Message::new("every.kind")
        .with("null", Value::Null)
        .with("yes", true)
        .with("integers", Value::list([i64::MIN, -1, 0, 1 << 40, i64::MAX]))
        .with("large", u64::MAX)
        .with("floats", Value::list([-0.5, 1.0, 1e300]))
        .with("text", "汉字 \0 🦀")
        .with("bytes", Value::bytes([0, 159, 146, 150]))
        .with("map", Value::Map(Map::from([("nested", Value::list(["a", ""]))])));
    stage.soon(stage.layer.send(mailbox.channel(), message.clone())).await.expect("the message is taken");
    assert_eq!(stage.soon(mailbox.recv()).await.map(), message.map());
    stage.hears_nothing(&mut mailbox).await;
    Ok(())
}

/// A message of a megabyte passes: the least that Django Channels' specification asks for.
pub async fn a_message_of_a_megabyte_passes(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let mut mailbox = stage.open().await;
    let message = Message::new("large").with("text", "x".repeat(1_000_000));
    stage.soon(stage.layer.send(mailbox.channel(), message.clone())).await.expect("the message is taken");
    assert!(stage.soon(mailbox.recv()).await == message, "it is the same");
    Ok(())
}

/// What is sent to a named channel before anybody receives from it waits.
pub async fn a_named_channel_keeps_messages(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    stage.requires(|can| can.stores_messages, "the backend does not claim stores_messages")?;
    let jobs = channel("jobs");
    stage.send(&jobs, 1).await;
    stage.send(&jobs, 2).await;
    assert_eq!(stage.receive(&jobs).await, 1);
    assert_eq!(stage.receive(&jobs).await, 2);
    stage.receives_nothing(&jobs).await;
    Ok(())
}

/// A receiver that waits already is woken, and a second one after it.
pub async fn a_waiting_receiver_is_woken(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let jobs = channel("jobs");
    for number in 0..2 {
        let waiting = spawn_receive(&stage.layer, &jobs);
        stage.settle().await;
        stage.send(&jobs, number).await;
        assert_eq!(stage.soon(waiting).await.expect("the task ends"), number);
    }
    Ok(())
}

/// Messages arrive in the order in which they were sent, in a mailbox.
pub async fn a_mailbox_is_first_in_first_out(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let mut mailbox = stage.open().await;
    let numbers: Vec<_> = (0..50).collect();
    for number in &numbers {
        stage.send(mailbox.channel(), *number).await;
    }
    stage.hears(&mut mailbox, &numbers).await;
    Ok(())
}

/// Messages arrive in the order in which they were sent, on a named channel.
pub async fn a_named_channel_is_first_in_first_out(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    stage.requires(|can| can.stores_messages, "the backend does not claim stores_messages")?;
    let jobs = channel("jobs");
    for number in 0..50 {
        stage.send(&jobs, number).await;
    }
    for number in 0..50 {
        assert_eq!(stage.receive(&jobs).await, number);
    }
    Ok(())
}

/// A channel takes as many messages as it may, refuses the next by its name, and goes on once one was read.
pub async fn a_full_channel_refuses(harness: &dyn Harness) -> Verdict {
    let stage = Stage::with(harness, |config| config.with_capacity(3)).await;
    stage
        .requires(|can| can.reports_full && can.stores_messages, "the backend does not claim reports_full")?;
    let jobs = channel("jobs");
    for number in 0..3 {
        stage.send(&jobs, number).await;
    }
    assert_full(&stage, &jobs).await;
    assert_eq!(stage.receive(&jobs).await, 0);
    stage.send(&jobs, 3).await;
    for number in 1..4 {
        assert_eq!(stage.receive(&jobs).await, number, "what was taken is kept");
    }
    Ok(())
}

/// A mailbox takes as many messages as it may, and refuses the next by its name.
pub async fn a_full_mailbox_refuses(harness: &dyn Harness) -> Verdict {
    let stage = Stage::with(harness, |config| config.with_capacity(3)).await;
    stage.requires(|can| can.reports_full, "the backend does not claim reports_full")?;
    let mut mailbox = stage.open().await;
    for number in 0..3 {
        stage.send(mailbox.channel(), number).await;
    }
    assert_full(&stage, mailbox.channel()).await;
    stage.hears(&mut mailbox, &[0, 1, 2]).await;
    Ok(())
}

/// The first pattern that matches a channel's name says how much it holds.
pub async fn capacity_goes_by_the_first_pattern(harness: &dyn Harness) -> Verdict {
    let rules = CapacityRules::default().glob("on[ae]", 1).and_then(|rules| rules.regex("^o", 2));
    let rules = rules.expect("valid patterns");
    let stage = Stage::with(harness, |config| config.with_capacity(3).with_channel_capacity(rules)).await;
    stage
        .requires(|can| can.reports_full && can.stores_messages, "the backend does not claim reports_full")?;
    for (name, capacity) in [("one", 1), ("ona", 1), ("other", 2), ("two", 3)] {
        let channel = channel(name);
        for number in 0..capacity {
            stage.send(&channel, number).await;
        }
        assert_full(&stage, &channel).await;
    }
    Ok(())
}

/// One full mailbox leaves the others as they are.
pub async fn a_full_mailbox_does_not_fill_another(harness: &dyn Harness) -> Verdict {
    let stage = Stage::with(harness, |config| config.with_capacity(3)).await;
    stage.requires(|can| !can.shares_capacity, "the backend claims shares_capacity")?;
    let (slow, mut quick) = (stage.open().await, stage.open().await);
    for number in 0..10 {
        let _ = stage.try_send(slow.channel(), number).await; // full from the fourth on
    }
    stage.send(quick.channel(), 1).await;
    stage.hears(&mut quick, &[1]).await;
    Ok(())
}

/// Receivers of one channel share its messages: each goes to exactly one.
pub async fn receivers_share_a_channel(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let jobs = channel("jobs");
    let receivers: Vec<_> = (0..10).map(|_| spawn_receive(&stage.layer, &jobs)).collect();
    stage.settle().await;
    for number in 0..10 {
        stage.send(&jobs, number).await;
    }
    let mut received = HashSet::new();
    for receiver in receivers {
        received.insert(stage.soon(receiver).await.expect("the task ends"));
    }
    assert_eq!(received.len(), 10, "no message was received twice");
    stage.receives_nothing(&jobs).await;
    Ok(())
}

/// Receivers that are cancelled, at any moment, take no message with them.
pub async fn a_cancelled_receiver_loses_nothing(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    stage.requires(|can| can.stores_messages, "the backend does not claim stores_messages")?;
    let jobs = channel("jobs");
    let mut expected = 0;
    for number in 0..20_i64 {
        let waiting = spawn_receive(&stage.layer, &jobs);
        abort_after(Duration::from_millis(number.unsigned_abs() % 11), &waiting);
        stage.send(&jobs, number).await;
        if let Ok(received) = waiting.await {
            assert_eq!(received, expected, "in order, nothing lost");
            expected += 1;
        }
    }
    while expected < 20 {
        assert_eq!(stage.receive(&jobs).await, expected, "in order, nothing lost");
        expected += 1;
    }
    stage.receives_nothing(&jobs).await;
    Ok(())
}

/// A mailbox whose owner stops waiting, at any moment, loses nothing.
pub async fn a_cancelled_recv_loses_nothing(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let mut mailbox = stage.open().await;
    let mut expected = 0;
    for number in 0..20_i64 {
        stage.send(mailbox.channel(), number).await;
        let patience = Duration::from_millis(number.unsigned_abs() % 4);
        if let Ok(message) = timeout(patience, mailbox.recv()).await {
            assert_eq!(number_of(&message), expected, "in order, nothing lost");
            expected += 1;
        }
    }
    let rest: Vec<_> = (expected..20).collect();
    stage.hears(&mut mailbox, &rest).await;
    Ok(())
}

/// The channel of a mailbox is received from by its owner, and by nobody else.
pub async fn a_mailbox_is_received_by_its_owner_only(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let mailbox = stage.open().await;
    let refused = stage.soon(stage.layer.receive(mailbox.channel())).await;
    assert!(matches!(refused, Err(Error::ChannelOwned { .. })), "{refused:?}");
    Ok(())
}

/// Sending where nobody is, or was, is fine.
pub async fn sending_to_an_unknown_channel_is_fine(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    stage.send(&channel("nobody"), 1).await;
    stage.send(&channel("specific.nobody!here"), 1).await;
    let mailbox = stage.open().await;
    let gone = mailbox.channel().clone();
    drop(mailbox);
    stage.send(&gone, 1).await;
    Ok(())
}

async fn assert_full(stage: &Stage<'_>, channel: &ChannelName) {
    match stage.try_send(channel, 99).await {
        Err(Error::ChannelFull { channel: named }) => assert_eq!(named, channel.as_str()),
        other => panic!("`{channel}` is full, and says {other:?}"),
    }
}

fn spawn_receive(layer: &Arc<dyn ChannelLayer>, channel: &ChannelName) -> JoinHandle<i64> {
    let (layer, channel) = (layer.clone(), channel.clone());
    tokio::spawn(async move { number_of(&layer.receive(&channel).await.expect("a message")) })
}

fn abort_after(patience: Duration, task: &JoinHandle<i64>) {
    let abort = task.abort_handle();
    tokio::spawn(async move {
        tokio::time::sleep(patience).await;
        abort.abort();
    });
}
