use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::{ext::ChannelLayerExt, memory::MemoryLayer};

fn jobs() -> ChannelName {
    "jobs".parse().unwrap()
}

#[tokio::test]
async fn lossy_drops_every_nth_message() {
    let layer = Wrapped::new(MemoryLayer::default(), Lossy::every(3));
    for n in 1..=6 {
        layer.send(&jobs(), Message::new("job").with("n", n)).await.unwrap();
    }
    for n in [1, 2, 4, 5] {
        assert_eq!(layer.receive(&jobs()).await.unwrap(), Message::new("job").with("n", n));
    }
    assert_eq!(layer.inner().hub().ledger().queued, 0);
}

#[tokio::test(start_paused = true)]
async fn delayed_calls_take_time() {
    let layer = Wrapped::new(MemoryLayer::default(), Delayed::new(Duration::from_millis(30)));
    let began = Instant::now();
    layer.send(&jobs(), Message::new("job")).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn records_calls_in_order() {
    let recording = Recording::default();
    let layer = Wrapped::new(MemoryLayer::default(), recording.clone());
    let mailbox = layer.new_channel().await.unwrap();
    let (channel, lobby) = (mailbox.channel(), GroupName::new("lobby").unwrap());
    layer.group_add(&lobby, channel).await.unwrap();
    layer.send(channel, Message::new("a")).await.unwrap();
    layer.group_discard_all(channel).await.unwrap();
    let expected = [
        Recorded::GroupAdd { group: lobby, channel: channel.clone() },
        Recorded::Send { channel: channel.clone(), message: Message::new("a") },
        Recorded::GroupDiscardAll { channel: channel.clone() },
    ];
    assert_eq!(recording.take(), expected);
    assert!(recording.take().is_empty());
}
