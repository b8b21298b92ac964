use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    hub::{Hub, cooperative::SLICE},
    layer::{Audience, Deliveries},
    mailbox::{Bounds, Mailbox},
    message::Message,
};

fn members(hub: &Hub, count: usize) -> Vec<Mailbox> {
    let join = |n: usize| {
        let bounds = Bounds { messages: 10_000, bytes: 64 << 20 };
        let mailbox = hub.open(format!("a!{n}").parse().unwrap(), bounds).unwrap();
        hub.join(&"g".parse().unwrap(), mailbox.channel());
        mailbox
    };
    (0..count).map(join).collect()
}

fn room() -> Audience {
    Audience::from("g".parse::<crate::GroupName>().unwrap())
}

fn send(hub: &Hub, n: u64) -> impl Future<Output = Deliveries> + Send + 'static {
    let (hub, room, expires) = (hub.clone(), room(), Instant::now() + Duration::from_secs(60));
    async move { hub.broadcast(&room, Message::new("m").with("n", n), expires).await }
}

fn numbers(mailbox: &mut Mailbox) -> Vec<u64> {
    let number = |message: Message| message.get("n").and_then(|n| n.as_u64()).unwrap();
    std::iter::from_fn(|| mailbox.try_recv()).map(number).collect()
}

/// The limit for futures that must end.
const PATIENCE: Duration = Duration::from_secs(20);

/// More than one slice.
const LARGE: usize = 3 * SLICE;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_see_one_order() {
    for count in [3, LARGE] {
        let hub = Hub::new();
        let mut members = members(&hub, count);
        let mut senders = JoinSet::new();
        for sender in 0..16 {
            let hub = hub.clone();
            senders.spawn(async move {
                for n in 0..50 {
                    assert_eq!(send(&hub, sender * 50 + n).await.delivered, count);
                }
            });
        }
        while let Some(sent) = timeout(PATIENCE, senders.join_next()).await.expect("there is a run") {
            sent.unwrap();
        }
        let order = numbers(&mut members[0]);
        members[1..].iter_mut().for_each(|member| assert_eq!(numbers(member), order));
        for sender in 0..16 {
            let own: Vec<_> = order.iter().copied().filter(|n| n / 50 == sender).collect();
            assert!(own.into_iter().eq(sender * 50..sender * 50 + 50), "as it sent them");
        }
        assert_eq!(order.len(), 800);
    }
}

#[tokio::test]
async fn queued_messages_go_together() {
    let hub = Hub::new();
    let mut members = members(&hub, LARGE);
    let sends: Vec<_> = (0..100).map(|n| tokio::spawn(send(&hub, n))).collect();
    for sent in sends {
        assert_eq!(sent.await.unwrap().delivered, LARGE);
    }
    members.iter_mut().for_each(|member| assert!(numbers(member).into_iter().eq(0..100)));
}

#[tokio::test]
async fn each_sender_may_be_excepted() {
    let hub = Hub::new();
    let mut members = members(&hub, LARGE);
    let sends: Vec<_> = (0..3)
        .map(|n: usize| {
            let (hub, to) = (hub.clone(), room().except(members[n].channel()));
            tokio::spawn(async move {
                let expires = Instant::now() + Duration::from_secs(60);
                hub.broadcast(&to, Message::new("m").with("n", n as u64), expires).await
            })
        })
        .collect();
    for sent in sends {
        assert_eq!(sent.await.unwrap().matched, LARGE - 1);
    }
    assert_eq!(numbers(&mut members[1]), [0, 2]);
    assert_eq!(numbers(&mut members[3]), [0, 1, 2]);
}

#[tokio::test]
async fn unpolled_senders_block_none() {
    let hub = Hub::new();
    let mut members = members(&hub, LARGE);
    let mut first = Box::pin(send(&hub, 0));
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let second = timeout(PATIENCE, send(&hub, 1)).await.expect("the first one is never polled");
    assert_eq!(second.delivered, LARGE);
    assert_eq!(numbers(&mut members[LARGE - 1]), [0, 1]);
    drop(first);
}

#[test]
fn ended_runtimes_block_none() {
    let hub = Hub::new();
    let mut members = members(&hub, LARGE);
    let runtime = || Builder::new_current_thread().enable_time().build().unwrap();
    let ends = runtime();
    // Its runner is spawned, and never polled.
    let entered = ends.enter();
    let mut first = Box::pin(send(&hub, 0));
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(entered);
    drop(ends);
    let both = async { (first.await.delivered, send(&hub, 1).await.delivered) };
    let both = runtime().block_on(async { timeout(PATIENCE, both).await });
    assert_eq!(both.expect("there is another run"), (LARGE, LARGE));
    assert_eq!(numbers(&mut members[LARGE - 1]), [0, 1]);
}

#[test]
fn works_without_a_runtime() {
    let hub = Hub::new();
    let mut members = members(&hub, LARGE);
    let sent = pin!(send(&hub, 0)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(sent, Poll::Ready(deliveries) if deliveries.delivered == LARGE));
    assert_eq!(numbers(&mut members[LARGE - 1]), [0]);
}

#[tokio::test]
async fn panicking_wakers_block_none() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("as a waker may");
        }
    }
    for count in [1, LARGE] {
        let hub = Hub::new();
        let mut members = members(&hub, count);
        assert!(members[0].poll_ready(&mut Context::from_waker(&Arc::new(Panics).into())).is_pending());
        // In a large group it is the runner that panics, and its caller tries again.
        let sent = tokio::spawn(send(&hub, 0)).await;
        assert_eq!(sent.is_err(), count == 1);
        let second = timeout(PATIENCE, send(&hub, 1)).await.expect("there is a run");
        assert_eq!(second.delivered, count);
        assert_eq!(numbers(&mut members[count - 1]).last(), Some(&1));
    }
}
