use std::time::Duration;

use tokio::{
    task::yield_now,
    time::{Instant, timeout},
};

use super::*;
use crate::{
    mailbox::{Bounds, Mailbox},
    message::Message,
};

fn queue() -> (Arc<InboundQueue>, Hub) {
    let hub = Hub::new();
    (InboundQueue::new(hub.clone(), Arc::default()), hub)
}

fn member(hub: &Hub, name: &str, messages: usize) -> Mailbox {
    let mailbox = hub.open(name.parse().unwrap(), Bounds { messages, bytes: 64 << 20 }).unwrap();
    hub.join(&group(), mailbox.channel());
    mailbox
}

fn group() -> GroupName {
    "group".parse().unwrap()
}

fn delivery(n: usize) -> Delivery {
    let expires = Instant::now() + Duration::from_secs(60);
    Delivery { message: Message::new("m").with("n", n as u64), expires }
}

fn to_group(n: usize) -> InboundItem {
    InboundItem::new(group().into(), delivery(n), None)
}

fn numbers(mailbox: &mut Mailbox) -> Vec<usize> {
    let number = |message: Message| message.get("n").and_then(|n| n.as_u64()).unwrap() as usize;
    std::iter::from_fn(|| mailbox.try_recv()).map(number).collect()
}

async fn until_delivered(queue: &InboundQueue) {
    let delivered = async {
        while queue.backlog().is_delivering {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), delivered).await.expect("a task delivers");
}

#[tokio::test]
async fn push_only_queues() {
    let (queue, hub) = queue();
    let mut mailbox = member(&hub, "a!1", 100);
    (0..3).for_each(|n| queue.push(to_group(n)));
    assert!(mailbox.sender().is_empty(), "no other task has run");
    until_delivered(&queue).await;
    assert_eq!(numbers(&mut mailbox), [0, 1, 2]);
}

#[tokio::test]
async fn delivers_in_order() {
    let (queue, hub) = queue();
    let (mut mailbox, mut elsewhere) = (member(&hub, "a!1", 1000), member(&hub, "a!2", 1000));
    let other: GroupName = "other".parse().unwrap();
    hub.join(&other, mailbox.channel());
    for n in 0..300 {
        queue.push(match n % 7 {
            0 => InboundItem::Channel(mailbox.channel().clone(), delivery(n)),
            1 => InboundItem::new(other.clone().into(), delivery(n), None),
            2 => InboundItem::new(Audience::from(group()).and(other.clone()), delivery(n), None),
            _ => to_group(n),
        });
    }
    until_delivered(&queue).await;
    assert!(numbers(&mut mailbox).into_iter().eq(0..300));
    assert!(
        numbers(&mut elsewhere).into_iter().eq((0..300).filter(|n| n % 7 > 1)),
        "without messages to others"
    );
}

#[tokio::test]
async fn group_changes_keep_their_order() {
    let (queue, hub) = queue();
    let mut mailbox = member(&hub, "a!1", 100);
    let (hub_of_later, channel) = (hub.clone(), mailbox.channel().clone());
    queue.push(to_group(0));
    queue.push(InboundItem::Action(Box::new(move || hub_of_later.leave(&group(), &channel))));
    queue.push(to_group(1));
    until_delivered(&queue).await;
    assert_eq!(numbers(&mut mailbox), [0]);
}

#[tokio::test]
async fn each_sender_gets_its_outcome() {
    let (queue, hub) = queue();
    let _keeps_two = member(&hub, "a!small", 2);
    let _keeps_all = member(&hub, "a!large", 100);
    let mut outcomes = Vec::new();
    for n in 0..4 {
        let (sender, receiver) = oneshot::channel();
        queue.push(InboundItem::new(group().into(), delivery(n), Some(sender)));
        outcomes.push(receiver);
    }
    let mut delivered = Vec::new();
    for receiver in outcomes {
        let outcome = receiver.await.unwrap();
        delivered.push((outcome.matched, outcome.delivered, outcome.full));
    }
    assert_eq!(delivered, [(2, 2, 0), (2, 2, 0), (2, 1, 1), (2, 1, 1)]);
    assert_eq!(queue.counters.snapshot().full, 2);
}

#[tokio::test]
async fn members_run_during_a_burst() {
    let (queue, hub) = queue();
    let (members, messages) = (1000, 2000);
    let mut receivers = tokio::task::JoinSet::new();
    for n in 0..members {
        let mut mailbox = member(&hub, &format!("a!{n}"), 100);
        receivers.spawn(async move {
            for n in 0..messages {
                assert_eq!(mailbox.recv().await.get("n").and_then(|n| n.as_u64()), Some(n as u64));
            }
        });
    }
    (0..messages).for_each(|n| queue.push(to_group(n)));
    until_delivered(&queue).await;
    assert_eq!(hub.ledger().dropped.total(), 0);
    while let Some(received) = receivers.join_next().await {
        received.unwrap();
    }
}

#[tokio::test]
async fn a_full_queue_delivers_in_push() {
    let (queue, hub) = queue();
    let all = 3 * MESSAGES;
    let mut mailbox = member(&hub, "a!1", all + 3);
    for n in 0..all {
        queue.push(to_group(n));
        assert!(queue.backlog().queue.len() <= MESSAGES);
    }
    assert!(!mailbox.sender().is_empty());
    let large = Message::new("m").with("n", all as u64).with("text", "x".repeat(BYTES / 2));
    for n in 0..3 {
        let message = large.clone().with("n", (all + n) as u64);
        queue.push(InboundItem::new(group().into(), Delivery { message, ..delivery(0) }, None));
        assert!(queue.backlog().bytes <= BYTES);
    }
    until_delivered(&queue).await;
    assert!(numbers(&mut mailbox).into_iter().eq(0..all + 3));
}

/// Delivers from two threads, as when the queue is full: from the link's task and from the delivering task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tasks_keep_the_order() {
    let (queue, hub) = queue();
    let all = 20_000;
    let mut mailbox = member(&hub, "a!1", all);
    for n in 0..all {
        queue.push(to_group(n));
        if n % 3 == 0 {
            queue.step();
        }
    }
    until_delivered(&queue).await;
    assert!(numbers(&mut mailbox).into_iter().eq(0..all));
}

#[tokio::test]
async fn an_empty_queue_frees_its_memory() {
    let (queue, hub) = queue();
    for round in 0..3 {
        let mut mailbox = member(&hub, "a!1", 1000);
        (0..1000).for_each(|n| queue.push(to_group(n)));
        until_delivered(&queue).await;
        assert_eq!(numbers(&mut mailbox).len(), 1000, "round {round}");
        assert_eq!((queue.backlog().queue.capacity(), Arc::strong_count(&queue)), (0, 1));
    }
}

#[tokio::test]
async fn survives_a_panic() {
    let (queue, hub) = queue();
    let mut mailbox = member(&hub, "a!1", 100);
    queue.push(to_group(0));
    queue.push(InboundItem::Action(Box::new(|| panic!("as an observer may"))));
    queue.push(to_group(1));
    until_delivered(&queue).await;
    queue.push(to_group(2));
    until_delivered(&queue).await;
    assert_eq!(numbers(&mut mailbox), [0, 1, 2]);
}
