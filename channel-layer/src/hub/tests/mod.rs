mod broadcast;
#[cfg(shuttle)]
mod models;
mod selections;
mod shards;

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::*;
use crate::{
    config::OverflowPolicy,
    layer::{Audience, Deliveries},
    mailbox::{Bounds, Delivery, Mailbox, MailboxLimits},
    message::Message,
    name::{ChannelName, GroupName},
};

const BOUNDS: Bounds = Bounds { messages: 100, bytes: 1 << 20 };

fn open(hub: &Hub, name: &str) -> Mailbox {
    hub.open(name.parse().unwrap(), BOUNDS).unwrap()
}

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn send(hub: &Hub, to: impl Into<Audience>) -> Deliveries {
    hub.fan_out(&to.into(), Message::new("m"), later()).finish()
}

#[test]
fn dropping_leaves_groups() {
    let hub = Hub::new();
    let mailbox = open(&hub, "a!1");
    hub.join(&group("g"), mailbox.channel());
    assert!(hub.open(mailbox.channel().clone(), BOUNDS).is_none());
    drop(mailbox);
    assert_eq!((hub.mailbox_count(), hub.group_count()), (0, 0));
    open(&hub, "a!1");
}

#[test]
fn receives_once_in_two_groups() {
    let hub = Hub::new();
    let mut both = open(&hub, "a!both");
    let mut one = open(&hub, "a!one");
    for name in ["g", "h"] {
        hub.join(&group(name), both.channel());
    }
    hub.join(&group("h"), one.channel());
    assert_eq!(send(&hub, Audience::from(group("g")).and(group("h"))).delivered, 2);
    assert!(both.try_recv().is_some() && one.try_recv().is_some());
    assert!(both.try_recv().is_none() && one.try_recv().is_none());
}

#[test]
fn leaves_out_a_channel() {
    let hub = Hub::new();
    let (mut me, mut you) = (open(&hub, "a!me"), open(&hub, "a!you"));
    hub.join(&group("g"), me.channel());
    hub.join(&group("g"), you.channel());
    assert_eq!(send(&hub, Audience::from(group("g")).except(me.channel())).matched, 1);
    assert!(me.try_recv().is_none() && you.try_recv().is_some());
}

#[test]
fn serves_each_member_in_slices() {
    let hub = Hub::new();
    let mut members: Vec<_> = (0..3000).map(|n| open(&hub, &format!("a!{n}"))).collect();
    members.iter().for_each(|m| assert!(hub.join(&group("g"), m.channel())));
    members.drain(..1000).for_each(drop);
    let mut fan_out = hub.fan_out(&group("g").into(), Message::new("m"), later());
    let mut steps = 1;
    while fan_out.step() {
        steps += 1;
    }
    assert_eq!((steps, fan_out.deliveries().delivered), (3, 2000));
    for member in &mut members {
        assert!(member.try_recv().is_some() && member.try_recv().is_none());
    }
}

#[test]
fn joining_twice_is_one_membership() {
    let hub = Hub::new();
    let mailbox = open(&hub, "a!1");
    hub.join(&group("g"), mailbox.channel());
    hub.join(&group("g"), mailbox.channel());
    assert_eq!(send(&hub, group("g")).matched, 1);
    hub.leave(&group("g"), mailbox.channel());
    hub.leave(&group("g"), mailbox.channel());
    assert_eq!(hub.group_count(), 0);
}

#[test]
fn reuses_free_slots() {
    let hub = Hub::new();
    let keeper = open(&hub, "a!keeper");
    hub.join(&group("g"), keeper.channel());
    for n in 0..10 {
        let guest = open(&hub, &format!("a!{n}"));
        hub.join(&group("g"), guest.channel());
        assert_eq!(hub.member_count(&group("g")), 2);
    }
    assert_eq!(send(&hub, group("g")).matched, 1);
}

#[test]
fn counts_full_mailboxes() {
    let hub = Hub::new();
    let mut small = hub.open("a!small".parse().unwrap(), Bounds { messages: 1, ..BOUNDS }).unwrap();
    let large = open(&hub, "a!large");
    hub.join(&group("g"), small.channel());
    hub.join(&group("g"), large.channel());
    assert_eq!(send(&hub, group("g")).delivered, 2);
    let second = send(&hub, group("g"));
    assert_eq!((second.matched, second.delivered, second.full), (2, 1, 1));
    assert!(small.try_recv().is_some() && small.try_recv().is_none());
}

#[test]
fn observes_emptied_groups() {
    #[derive(Default)]
    struct Log(std::sync::Mutex<Vec<GroupName>>);
    impl GroupObserver for Log {
        fn group_emptied(&self, group: &GroupName) {
            self.0.lock().unwrap().push(group.clone());
        }
    }
    let (hub, log) = (Hub::new(), Arc::new(Log::default()));
    assert!(hub.observe(log.clone()) && !hub.observe(log.clone()));
    let (one, two) = (open(&hub, "a!1"), open(&hub, "a!2"));
    hub.join(&group("g"), one.channel());
    hub.join(&group("g"), two.channel());
    hub.join(&group("h"), two.channel());
    hub.leave(&group("g"), one.channel());
    assert!(log.0.lock().unwrap().is_empty(), "one member is left");
    drop(two);
    let mut emptied = log.0.lock().unwrap().clone();
    emptied.sort();
    assert_eq!(emptied, [group("g"), group("h")]);
}

/// Members of every policy and some sizes.
fn members(hub: &Hub) -> Vec<Mailbox> {
    let policies = [
        OverflowPolicy::RefuseNewest,
        OverflowPolicy::DropOldest,
        OverflowPolicy::keep_latest("key"),
        OverflowPolicy::Close,
    ];
    let limits = |n: usize| MailboxLimits {
        bounds: Bounds { messages: [1, 3, 7, 100][n % 4], bytes: 1 << 20 },
        overflow: policies[n / 4 % 4].clone(),
    };
    let members: Vec<_> =
        (0..3000).map(|n| hub.open(format!("a!{n}").parse().unwrap(), limits(n)).unwrap()).collect();
    for (n, member) in members.iter().enumerate() {
        hub.join(&group("g"), member.channel());
        if n % 3 == 0 {
            hub.join(&group("h"), member.channel());
        }
    }
    members
}

#[test]
fn together_equals_one_by_one() {
    let (together, one_by_one) = (Hub::new(), Hub::new());
    let mut boxes = (members(&together), members(&one_by_one));
    let expires = later();
    let message = |n: u64| Message::new("m").with("n", n).with("key", n % 3);
    let mut next = 0;
    for round in 0..12 {
        let to = group(["g", "h"][round % 2]);
        let all = next..next + [0, 1, 2, 9, 40, 70][round % 6];
        next = all.end;
        // Some leave a member out, or one that is in no group here.
        let except = |n: u64| {
            (!n.is_multiple_of(3)).then(|| format!("a!{}", n * 1000 % 4001).parse::<ChannelName>().unwrap())
        };
        let (mut sends, mut received, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
        for n in all {
            let (sender, outcome) = oneshot::channel();
            let delivery = Delivery { message: message(n), expires };
            sends.push(GroupSend { delivery, except: except(n), on_done: Some(sender) });
            received.push(outcome);
            let mut audience = Audience::from(to.clone());
            if let Some(channel) = except(n) {
                audience = audience.except(channel);
            }
            outcomes.push(one_by_one.fan_out(&audience, message(n), expires).finish());
        }
        let mut burst = together.fan_out_all([&to], sends);
        while burst.step() {}
        assert_eq!(burst.outcomes().collect::<Vec<_>>(), outcomes);
        drop(burst);
        let received: Vec<_> = received.iter_mut().map(|outcome| outcome.try_recv().unwrap()).collect();
        assert_eq!(received, outcomes);
        assert_eq!(together.ledger(), one_by_one.ledger());
        let taken = |mailbox: &mut Mailbox| {
            let numbers: Vec<_> =
                std::iter::from_fn(|| mailbox.try_recv()).map(|message| message.get("n").cloned()).collect();
            (numbers, mailbox.is_overflowed())
        };
        for (one, other) in boxes.0.iter_mut().zip(&mut boxes.1).skip(round % 2).step_by(2) {
            assert_eq!(taken(one), taken(other));
        }
    }
    assert!(together.ledger().is_balanced() && together.ledger().dropped.total() > 0);
}

#[tokio::test]
async fn a_burst_wakes_receivers() {
    let hub = Hub::new();
    let mut mailbox = open(&hub, "a!1");
    hub.join(&group("g"), mailbox.channel());
    let receiver = tokio::spawn(async move { (mailbox.recv().await, mailbox.recv().await) });
    tokio::task::yield_now().await;
    let send = || Delivery { message: Message::new("m"), expires: later() }.into();
    hub.fan_out_all([&group("g")], vec![send(), send()]).step();
    receiver.await.unwrap();
}

#[tokio::test]
async fn endless_sender_yields() {
    let hub = Hub::new();
    let (members, sends) = (1000, 500);
    let mut receivers = tokio::task::JoinSet::new();
    for n in 0..members {
        let mut mailbox = open(&hub, &format!("m!{n}"));
        hub.join(&group("g"), mailbox.channel());
        receivers.spawn(async move {
            for _ in 0..sends {
                mailbox.recv().await;
            }
        });
    }
    let sender = tokio::spawn(async move {
        for _ in 0..sends {
            let deliveries = hub.broadcast(&group("g").into(), Message::new("m"), later()).await;
            assert_eq!(deliveries.full, 0, "they have read what was before");
        }
    });
    sender.await.unwrap();
    while receivers.join_next().await.is_some() {}
}

/// Messages to several groups go in slices too, also together, and each member gets each of them once.
#[test]
fn slices_sends_to_several_groups() {
    let hub = Hub::new();
    let _members = members(&hub);
    let send =
        |n: u64| GroupSend::from(Delivery { message: Message::new("m").with("n", n), expires: later() });
    let mut fan_out = hub.fan_out_all([&group("g"), &group("h")], vec![send(0), send(1)]);
    let (mut before, mut steps) = (0, 0);
    loop {
        let more = fan_out.step();
        let tried = fan_out.tried();
        assert!(tried - before <= 1024, "one slice");
        (before, steps) = (tried, steps + 1);
        if !more {
            break;
        }
    }
    assert!(steps > 5, "{steps}");
    let matched: Vec<_> = fan_out.outcomes().map(|outcome| outcome.matched).collect();
    assert_eq!(matched, [3000, 3000]);
    assert_eq!(fan_out.deliveries().matched, 6000);
}
