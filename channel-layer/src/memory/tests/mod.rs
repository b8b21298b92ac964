mod oracle;

use std::time::Duration;

use tokio::time::{advance, timeout};

use super::*;
use crate::ext::ChannelLayerExt;

fn small() -> MemoryLayer {
    MemoryLayer::new(LayerConfig { capacity: 3, ..LayerConfig::default() })
}

fn jobs() -> ChannelName {
    "jobs".parse().unwrap()
}

fn numbered(n: i64) -> Message {
    Message::new("job").with("n", n)
}

async fn number(layer: &MemoryLayer) -> i64 {
    let message = timeout(Duration::from_millis(50), layer.receive(&jobs())).await.expect("in time").unwrap();
    message.get("n").and_then(|n| n.as_i64()).unwrap()
}

async fn is_silent(layer: &MemoryLayer) -> bool {
    timeout(Duration::from_millis(50), layer.receive(&jobs())).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn named_channels_are_queues() {
    let layer = small();
    for n in 0..3 {
        layer.send(&jobs(), numbered(n)).await.unwrap();
    }
    let refused = layer.send(&jobs(), numbered(3)).await;
    assert!(matches!(refused, Err(Error::ChannelFull { channel }) if channel == "jobs"));
    for n in 0..3 {
        assert_eq!(number(&layer).await, n);
    }
}

#[tokio::test(start_paused = true)]
async fn expired_messages_make_room() {
    let layer = small();
    for n in 0..3 {
        layer.send(&jobs(), numbered(n)).await.unwrap();
    }
    advance(Duration::from_secs(61)).await;
    layer.send(&jobs(), numbered(3)).await.unwrap();
    assert_eq!(number(&layer).await, 3);
    assert!(is_silent(&layer).await);
}

#[tokio::test(start_paused = true)]
async fn cancelling_loses_no_message() {
    let layer = std::sync::Arc::new(small());
    let receive = |layer: std::sync::Arc<MemoryLayer>| tokio::spawn(async move { number(&layer).await });
    let (one, two) = (receive(layer.clone()), receive(layer.clone()));
    let cancelled = tokio::spawn({
        let layer = layer.clone();
        async move { layer.receive(&jobs()).await.map(drop) }
    });
    tokio::task::yield_now().await;
    cancelled.abort();
    for n in 0..2 {
        layer.send(&jobs(), numbered(n)).await.unwrap();
    }
    let mut got = [one.await.unwrap(), two.await.unwrap()];
    got.sort_unstable();
    assert_eq!(got, [0, 1]);
}

#[tokio::test]
async fn mailbox_channel_is_exclusive() {
    let layer = small();
    let mailbox = layer.new_channel().await.unwrap();
    assert!(matches!(layer.receive(mailbox.channel()).await, Err(Error::ChannelOwned { .. })));
}

#[tokio::test(start_paused = true)]
async fn named_memberships_expire() {
    let layer = small();
    layer.join("g", &jobs()).await.unwrap();
    assert_eq!(layer.group_send_message("g", numbered(1)).await.unwrap().local.delivered, 1);
    assert_eq!(number(&layer).await, 1);
    advance(Duration::from_secs(86_402)).await;
    assert_eq!(layer.group_send_message("g", numbered(2)).await.unwrap().local.matched, 0);
    assert_eq!(layer.hub().mailbox_count(), 0, "swept");
}

#[tokio::test(start_paused = true)]
async fn open_mailboxes_remain_members() {
    let layer = small();
    let mailbox = layer.new_channel().await.unwrap();
    layer.join("g", mailbox.channel()).await.unwrap();
    advance(Duration::from_secs(10 * 86_400)).await;
    assert_eq!(layer.group_send_message("g", numbered(1)).await.unwrap().local.delivered, 1);
}

#[tokio::test]
async fn accepts_unknown_names() {
    let layer = small();
    let gone = "specific.memory!gone".parse().unwrap();
    layer.send(&gone, numbered(1)).await.unwrap();
    layer.leave("g", &gone).await.unwrap();
    layer.join("g", &gone).await.unwrap();
    assert_eq!(layer.group_send_message("g", numbered(1)).await.unwrap().local.matched, 0);
}

#[tokio::test]
async fn flush_keeps_mailboxes_open() {
    let layer = small();
    let mut mailbox = layer.new_channel().await.unwrap();
    layer.join("g", mailbox.channel()).await.unwrap();
    layer.send(mailbox.channel(), numbered(1)).await.unwrap();
    layer.flush().await.unwrap();
    assert!(mailbox.try_recv().is_none());
    assert_eq!(layer.group_send_message("g", numbered(1)).await.unwrap().local.matched, 0);
    layer.send(mailbox.channel(), numbered(2)).await.unwrap();
    assert!(mailbox.try_recv().is_some());
}

#[tokio::test]
async fn fails_once_closed() {
    let layer = small();
    layer.close().await.unwrap();
    layer.close().await.unwrap();
    assert!(matches!(layer.send(&jobs(), numbered(1)).await, Err(Error::Closed)));
    assert!(matches!(layer.new_channel().await, Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn closing_ends_receivers() {
    let layer = small();
    let mut mailbox = layer.new_channel().await.unwrap();
    layer.join("g", mailbox.channel()).await.unwrap();
    let _report = layer.group_send_message("g", numbered(1)).await.unwrap();
    let (jobs, more, mut events) = (jobs(), "more".parse().unwrap(), layer.events());
    let waiting = async { tokio::join!(layer.receive(&jobs), layer.receive(&jobs), layer.receive(&more)) };
    let ((one, two, three), closed) = tokio::join!(waiting, layer.close());
    closed.unwrap();
    for received in [one, two, three] {
        assert!(matches!(received, Err(Error::Closed)), "{received:?}");
    }
    assert_eq!(events.next().await, None);
    assert_eq!(mailbox.recv().await, numbered(1));
    assert_eq!((layer.hub().group_count(), layer.hub().mailbox_count()), (0, 1));
}

#[tokio::test]
async fn discards_all_memberships_of_one() {
    let layer = small();
    let (mine, other) = (layer.new_channel().await.unwrap(), layer.new_channel().await.unwrap());
    let named = jobs();
    for group in ["a", "b"] {
        for channel in [mine.channel(), other.channel(), &named] {
            layer.join(group, channel).await.unwrap();
        }
    }
    for (channel, left) in [(mine.channel(), 2), (&named, 1), (mine.channel(), 1)] {
        layer.group_discard_all(channel).await.unwrap();
        for group in ["a", "b"] {
            let report = layer.group_send_message(group, numbered(1)).await.unwrap();
            assert_eq!(report.local.matched, left, "{channel}");
        }
    }
    layer.join("a", mine.channel()).await.unwrap();
    assert_eq!(layer.group_send_message("a", numbered(1)).await.unwrap().local.matched, 2);
}

#[tokio::test]
async fn accepts_endless_times() {
    let config = LayerConfig::default().with_expiry(Duration::MAX).with_group_expiry(Duration::MAX);
    let layer = MemoryLayer::new(config);
    let mut mailbox = layer.new_channel().await.unwrap();
    layer.join("g", mailbox.channel()).await.unwrap();
    layer.send(mailbox.channel(), Message::new("one")).await.unwrap();
    let _ = layer.group_send_message("g", Message::new("two")).await.unwrap();
    assert_eq!(mailbox.recv().await.event_type(), Some("one"));
    assert_eq!(mailbox.recv().await.event_type(), Some("two"));
}
