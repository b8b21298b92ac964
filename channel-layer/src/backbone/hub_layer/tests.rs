use tokio::time::timeout;

use super::*;
use crate::{
    backbone::bus::{Bus, BusBackbone, BusOptions},
    events::LayerEvent,
    ext::ChannelLayerExt,
};

type Layer = HubLayer<BusBackbone>;

async fn layer(bus: &Bus) -> Layer {
    HubLayer::connect(bus.backbone(), HubOptions::default().with_queues(true)).await.unwrap()
}

fn numbered(n: i64) -> Message {
    Message::new("test").with("n", n)
}

async fn next(mailbox: &mut Mailbox) -> i64 {
    let message = timeout(Duration::from_secs(60), mailbox.recv()).await.expect("a message");
    message.get("n").and_then(|n| n.as_i64()).unwrap()
}

async fn member(layer: &Layer, group: &str) -> Mailbox {
    let mailbox = layer.new_channel().await.unwrap();
    layer.join(group, mailbox.channel()).await.unwrap();
    mailbox
}

#[tokio::test(start_paused = true)]
async fn groups_span_processes() {
    let bus = Bus::new();
    let (one, two) = (layer(&bus).await, layer(&bus).await);
    let (mut here, mut there) = (member(&one, "g").await, member(&two, "g").await);
    let report = one.group_send_message("g", numbered(1)).await.unwrap();
    assert_eq!((report.local.delivered, report.remote), (1, Remote::Processes(1)));
    assert_eq!((next(&mut here).await, next(&mut there).await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn probes_unconfirmed_subscriptions() {
    let bus = Bus::with_options(BusOptions { acknowledges: false, counts: false, ..BusOptions::default() });
    let (one, two) = (layer(&bus).await, layer(&bus).await);
    let mut there = member(&two, "g").await;
    let report = one.group_send_message("g", numbered(1)).await.unwrap();
    assert_eq!(report.remote, Remote::Unknown);
    assert_eq!(next(&mut there).await, 1);
}

#[tokio::test(start_paused = true)]
async fn reports_lost_messages() {
    let bus = Bus::new();
    let (one, two) = (layer(&bus).await, layer(&bus).await);
    let mut there = member(&two, "g").await;
    let mut events = two.events();
    let send = async |n| one.group_send_message("g", numbered(n)).await.unwrap().local;
    let _ = send(1).await;
    assert_eq!(next(&mut there).await, 1);
    bus.set_options(BusOptions { loses_one_in: Some(1), ..BusOptions::default() });
    let _ = send(2).await;
    bus.set_options(BusOptions::default());
    let _ = send(3).await;
    assert_eq!(next(&mut there).await, 3);
    assert_eq!(events.next().await, Some(LayerEvent::Lost { count: 1 }));
    assert_eq!(two.stats().lost, 1);
}

#[tokio::test(start_paused = true)]
async fn drops_duplicates() {
    let bus = Bus::with_options(BusOptions { repeats_one_in: Some(1), ..BusOptions::default() });
    let (one, two) = (layer(&bus).await, layer(&bus).await);
    let mut there = member(&two, "g").await;
    for n in 0..3 {
        let _ = one.group_send_message("g", numbered(n)).await.unwrap();
        assert_eq!(next(&mut there).await, n);
    }
    assert!(two.stats().stale >= 3);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_reported_once() {
    let bus = Bus::new();
    let (one, two) = (layer(&bus).await, layer(&bus).await);
    let mut there = member(&two, "g").await;
    for fault in [Bus::sever, Bus::freeze] {
        let mut events = two.events();
        fault(&bus);
        assert_eq!(events.next().await, Some(LayerEvent::Disconnected));
        assert!(matches!(
            one.group_send_message("g", numbered(0)).await,
            Err(Error::Unavailable(_) | Error::TimedOut(_))
        ));
        tokio::time::sleep(Duration::from_secs(10)).await;
        bus.mend();
        let Some(LayerEvent::Reconnected { gap }) = events.next().await else { panic!("not reconnected") };
        assert!(gap >= Duration::from_secs(10), "{gap:?}");
        while one.health().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let _ = one.group_send_message("g", numbered(7)).await.unwrap();
        assert_eq!(next(&mut there).await, 7);
        assert!(there.try_recv().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn closing_unsubscribes() {
    let bus = Bus::new();
    let (one, two) = (layer(&bus).await, layer(&bus).await);
    let before = bus.subscriptions();
    let mailbox = member(&two, "g").await;
    assert_eq!(bus.subscriptions(), before + 1);
    two.close().await.unwrap();
    drop(two);
    assert_eq!((bus.links(), bus.subscriptions()), (1, before / 2));
    drop((mailbox, one));
    tokio::task::yield_now().await;
    assert_eq!((bus.links(), bus.subscriptions()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn discard_all_crosses_processes() {
    let bus = Bus::new();
    let (one, two) = (layer(&bus).await, layer(&bus).await);
    let mut there = two.new_channel().await.unwrap();
    for group in ["g", "h"] {
        one.join(group, there.channel()).await.unwrap();
        let _ = one.group_send_message(group, numbered(1)).await.unwrap();
        assert_eq!(next(&mut there).await, 1);
    }
    one.group_discard_all(there.channel()).await.unwrap();
    let _ = one.group_send_message("g", numbered(2)).await.unwrap();
    one.send(there.channel(), numbered(3)).await.unwrap();
    assert_eq!(next(&mut there).await, 3);
}

#[tokio::test(start_paused = true)]
async fn workers_share_a_channel() {
    for queues in [true, false] {
        let bus = Bus::with_options(BusOptions { queues, ..BusOptions::default() });
        let options = HubOptions::default().with_queues(queues).with_shared_subscriptions(!queues);
        let connect = || HubLayer::connect(bus.backbone(), options.clone());
        let (one, two) = (Arc::new(connect().await.unwrap()), Arc::new(connect().await.unwrap()));
        let jobs: ChannelName = "jobs".parse().unwrap();
        let receive = |layer: &Arc<Layer>| {
            let (layer, jobs) = (layer.clone(), jobs.clone());
            tokio::spawn(async move { layer.receive(&jobs).await.unwrap() })
        };
        let receivers = [receive(&one), receive(&two), receive(&one)];
        tokio::time::sleep(Duration::from_millis(10)).await;
        for n in 0..3 {
            one.send(&jobs, numbered(n)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let done = receivers.iter().filter(|receiver| receiver.is_finished()).count();
        assert!(done == 3 || !queues && done >= 2, "{done} with queues: {queues}");
        receivers.iter().for_each(tokio::task::JoinHandle::abort);
        one.close().await.unwrap();
    }
}
