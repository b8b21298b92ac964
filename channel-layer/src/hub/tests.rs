use std::time::Duration;

use tokio::sync::oneshot;

use super::*;
use crate::{
    config::{MailboxLimits, OverflowPolicy},
    layer::Deliveries,
    mailbox::{Bounds, Delivery},
    message::Message,
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
fn a_dropped_mailbox_leaves_its_groups_and_frees_its_name() {
    let hub = Hub::new();
    let mailbox = open(&hub, "a!1");
    hub.join(&group("g"), mailbox.channel());
    assert!(hub.open(mailbox.channel().clone(), BOUNDS).is_none());
    drop(mailbox);
    assert_eq!((hub.mailbox_count(), hub.group_count()), (0, 0));
    open(&hub, "a!1");
}

#[test]
fn who_is_in_two_groups_receives_once() {
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
fn the_excepted_channel_hears_nothing() {
    let hub = Hub::new();
    let (mut me, mut you) = (open(&hub, "a!me"), open(&hub, "a!you"));
    hub.join(&group("g"), me.channel());
    hub.join(&group("g"), you.channel());
    assert_eq!(send(&hub, Audience::from(group("g")).except(me.channel())).matched, 1);
    assert!(me.try_recv().is_none() && you.try_recv().is_some());
}

#[test]
fn every_member_of_a_large_group_is_served_exactly_once_in_slices() {
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
fn joining_twice_is_one_membership_and_leaving_twice_is_fine() {
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
fn a_place_that_became_free_is_used_again() {
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
fn a_full_mailbox_is_counted_and_the_others_are_served() {
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
fn an_observer_is_told_when_a_group_loses_its_last_member() {
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

/// Members of every policy and some sizes; the last is closed halfway by its own.
fn crowd(hub: &Hub) -> Vec<Mailbox> {
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
fn a_burst_is_what_its_messages_would_be_one_by_one() {
    let (together, one_by_one) = (Hub::new(), Hub::new());
    let mut boxes = (crowd(&together), crowd(&one_by_one));
    let expires = later();
    let message = |n: u64| Message::new("m").with("n", n).with("key", n % 3);
    let mut next = 0;
    for round in 0..12 {
        let to = group(["g", "h"][round % 2]);
        let all = next..next + [0, 1, 2, 9, 40][round % 5];
        next = all.end;
        // Some leave a member out, or one that is in no group here.
        let except = |n: u64| {
            (!n.is_multiple_of(3)).then(|| format!("a!{}", n * 1000 % 4001).parse::<ChannelName>().unwrap())
        };
        let (mut posts, mut told, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
        for n in all {
            let (sender, outcome) = oneshot::channel();
            let delivery = Delivery { message: message(n), expires };
            posts.push(Post { delivery, except: except(n), told: Some(sender) });
            told.push(outcome);
            let mut audience = Audience::from(to.clone());
            if let Some(channel) = except(n) {
                audience = audience.except(channel);
            }
            outcomes.push(one_by_one.fan_out(&audience, message(n), expires).finish());
        }
        let mut burst = together.burst(&to, posts);
        while burst.step() {}
        assert_eq!(burst.outcomes().collect::<Vec<_>>(), outcomes);
        drop(burst);
        let told: Vec<_> = told.iter_mut().map(|outcome| outcome.try_recv().unwrap()).collect();
        assert_eq!(told, outcomes);
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
async fn a_burst_wakes_who_waits() {
    let hub = Hub::new();
    let mut mailbox = open(&hub, "a!1");
    hub.join(&group("g"), mailbox.channel());
    let receiver = tokio::spawn(async move { (mailbox.recv().await, mailbox.recv().await) });
    tokio::task::yield_now().await;
    let post = || Delivery { message: Message::new("m"), expires: later() }.into();
    hub.burst(&group("g"), vec![post(), post()]).step();
    receiver.await.unwrap();
}

#[tokio::test]
async fn a_task_that_sends_without_end_gives_members_their_turn() {
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
