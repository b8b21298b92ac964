//! Members that select a part of their groups' messages.

use std::collections::BTreeSet;

use super::{group, later, members, open, send};
use crate::{
    hub::{GroupSend, Hub, cooperative::SLICE},
    layer::{Audience, Deliveries},
    mailbox::{Delivery, Mailbox},
    message::Message,
    name::ChannelName,
    selection::{GroupActivity, Selection, Tag},
};

fn multiples_of(n: u64) -> Selection {
    Selection::Where(Tag::new(format!("by{n}")).is(true).try_into().unwrap())
}

/// A message with tags that tell by which small numbers its number can be divided.
fn message(n: u64) -> Message {
    let divisors = (1..7).filter(|by| n.is_multiple_of(*by));
    let message = Message::new("m").with("n", n).with("key", n % 3);
    divisors.fold(message, |message, by| message.with_tag(format!("by{by}"), true))
}

fn delivery(n: u64) -> Delivery {
    Delivery { message: message(n), expires: later() }
}

fn number(message: &Message) -> u64 {
    message.get("n").unwrap().as_u64().unwrap()
}

fn taken(mailbox: &mut Mailbox) -> Vec<u64> {
    std::iter::from_fn(|| mailbox.try_recv()).map(|message| number(&message)).collect()
}

fn select(hub: &Hub, to: &str, mailbox: &Mailbox, selection: &Selection) {
    assert!(hub.join_selecting(&group(to), mailbox.channel(), selection));
}

/// The selection of the n-th member in one of the groups.
fn selection_of(n: usize, group: usize) -> Option<Selection> {
    match (n + 3 * group) % 8 {
        0 => None,
        1 => Some(Selection::All),
        2 => Some(Selection::Passive(Selection::MIN_PASSIVE)),
        by => Some(multiples_of(by as u64 - 1)),
    }
}

fn is_selected(selection: &Option<Selection>, n: u64) -> bool {
    match selection {
        Some(Selection::All) => true,
        Some(Selection::Where(filter)) => filter.matches(&message(n)),
        Some(Selection::Passive(_)) | None => false,
    }
}

const GROUPS: [&str; 2] = ["g", "h"];

/// All kinds of audiences and bursts, against what each member should receive.
#[test]
fn each_member_receives_what_it_selects() {
    let hub = Hub::new();
    let mut mailboxes: Vec<_> = (0..48).map(|n| open(&hub, &format!("a!{n}"))).collect();
    for (n, mailbox) in mailboxes.iter().enumerate() {
        for (at, name) in GROUPS.iter().enumerate() {
            if let Some(selection) = selection_of(n, at) {
                select(&hub, name, mailbox, &selection);
            }
        }
    }
    let audiences: [&[usize]; 5] = [&[0], &[1], &[0, 1], &[1, 0], &[0, 0]];
    for (round, audience) in audiences.iter().flat_map(|audience| [audience; 6]).enumerate() {
        let numbers = 60..60 + [1, 2, 3, 7, 33, 70][round % 6];
        let except = |n: u64| (n % 4 == 1).then(|| format!("a!{}", n % 48).parse::<ChannelName>().unwrap());
        let sends = numbers.clone().map(|n| GroupSend { except: except(n), ..delivery(n).into() });
        let names: Vec<_> = audience.iter().map(|at| group(GROUPS[*at])).collect();
        let mut fan_out = hub.fan_out_all(&names, sends.collect());
        while fan_out.step() {}
        let mut expected = vec![Deliveries::default(); (numbers.end - numbers.start) as usize];
        for (member, mailbox) in mailboxes.iter_mut().enumerate() {
            let selections: Vec<_> = audience.iter().map(|at| selection_of(member, *at)).collect();
            let is_member = selections.iter().any(Option::is_some);
            let mut received = Vec::new();
            for (outcome, n) in expected.iter_mut().zip(numbers.clone()) {
                if !is_member || except(n).is_some_and(|channel| channel == *mailbox.channel()) {
                    continue;
                }
                outcome.matched += 1;
                if selections.iter().any(|selection| is_selected(selection, n)) {
                    received.push(n);
                    outcome.delivered += 1;
                } else {
                    outcome.filtered += 1;
                }
            }
            // A mailbox holds a hundred messages.
            assert_eq!(taken(mailbox), received, "member {member}, audience {audience:?}, {numbers:?}");
        }
        assert_eq!(fan_out.outcomes().collect::<Vec<_>>(), expected);
        let sum: usize = expected.iter().map(|outcome| outcome.filtered).sum();
        let before = hub.ledger().filtered;
        assert_eq!(fan_out.deliveries().filtered, sum);
        drop(fan_out);
        assert_eq!(hub.ledger().filtered, before + sum as u64);
    }
    assert!(hub.ledger().is_balanced());
}

/// Under all policies and in small mailboxes, with thousands of members.
#[test]
fn together_equals_one_by_one_with_selections() {
    let (together, one_by_one) = (Hub::new(), Hub::new());
    let mut boxes = (members(&together), members(&one_by_one));
    for (hub, boxes) in [(&together, &boxes.0), (&one_by_one, &boxes.1)] {
        for (n, mailbox) in boxes.iter().enumerate() {
            if let Some(selection) = selection_of(n, 0) {
                select(hub, "g", mailbox, &selection);
            }
        }
    }
    for (round, count) in [1, 2, 9, 33, 70].into_iter().enumerate() {
        let numbers = round as u64 * 100..round as u64 * 100 + count;
        let sends = numbers.clone().map(|n| delivery(n).into()).collect();
        let sum = together.fan_out_all([&group("g")], sends).finish();
        let mut alone = Deliveries::default();
        for n in numbers {
            alone += one_by_one.fan_out(&group("g").into(), message(n), later()).finish();
        }
        assert_eq!(sum, alone);
        assert!(sum.filtered > 0);
        assert_eq!(together.ledger(), one_by_one.ledger());
        for (one, other) in boxes.0.iter_mut().zip(&mut boxes.1).skip(round % 2).step_by(2) {
            assert_eq!((taken(one), one.is_overflowed()), (taken(other), other.is_overflowed()));
        }
    }
    assert!(together.ledger().is_balanced());
}

/// Changes of selections between the slices of one fan-out, which also use numbers again.
#[test]
fn selections_change_between_slices() {
    let hub = Hub::new();
    let mut mailboxes: Vec<_> = (0..4 * SLICE).map(|n| open(&hub, &format!("a!{n}"))).collect();
    for mailbox in &mailboxes {
        select(&hub, "g", mailbox, &multiples_of(2));
    }
    let mut fan_out = hub.fan_out(&group("g").into(), message(2), later());
    assert!(fan_out.step());
    // The number of the first filter is free now, and the next one gets it.
    mailboxes.iter().for_each(|mailbox| select(&hub, "g", mailbox, &Selection::All));
    assert!(fan_out.step());
    mailboxes.iter().for_each(|mailbox| select(&hub, "g", mailbox, &multiples_of(3)));
    assert!(fan_out.step());
    mailboxes.iter().for_each(|mailbox| select(&hub, "g", mailbox, &multiples_of(1)));
    let sum = fan_out.finish();
    assert_eq!((sum.matched, sum.delivered, sum.filtered), (4 * SLICE, 3 * SLICE, SLICE));
    let received = mailboxes.iter_mut().filter_map(|mailbox| mailbox.try_recv()).count();
    assert_eq!(received, 3 * SLICE);
}

#[test]
fn a_selection_ends_with_its_membership() {
    let hub = Hub::new();
    let (mut one, mut two) = (open(&hub, "a!1"), open(&hub, "a!2"));
    select(&hub, "g", &one, &multiples_of(2));
    hub.leave(&group("g"), one.channel());
    assert_eq!(hub.group_count(), 0);
    // The slot is used again.
    hub.join(&group("g"), two.channel());
    hub.join(&group("g"), one.channel());
    assert_eq!(send(&hub, group("g")).delivered, 2);
    assert!(one.try_recv().is_some() && two.try_recv().is_some());
    select(&hub, "g", &one, &multiples_of(2));
    drop(one);
    let three = open(&hub, "a!3");
    hub.join(&group("g"), three.channel());
    assert_eq!(send(&hub, group("g")).delivered, 2);
    assert!(!hub.join_selecting(&group("g"), &"a!none".parse().unwrap(), &multiples_of(2)));
}

/// The counts of the summaries in a mailbox.
fn summaries(mailbox: &mut Mailbox) -> Vec<u64> {
    let activity = |message: Message| GroupActivity::from_message(&message).unwrap();
    let activities = std::iter::from_fn(|| mailbox.try_recv()).map(activity);
    activities.map(|activity| activity.count).collect()
}

async fn intervals(count: u32) {
    tokio::time::sleep(Selection::MIN_PASSIVE * count + Selection::MIN_PASSIVE / 10).await;
}

#[tokio::test(start_paused = true)]
async fn summaries_count_messages() {
    let hub = Hub::new();
    let [mut early, mut late, mut slow] = ["a!early", "a!late", "a!slow"].map(|name| open(&hub, name));
    let (fast, long) = (Selection::Passive(Selection::MIN_PASSIVE / 2), Selection::MIN_PASSIVE * 3);
    select(&hub, "g", &early, &fast);
    select(&hub, "g", &slow, &Selection::Passive(long));
    let to = Audience::from(group("g"));
    send_times(&hub, &to, 2);
    select(&hub, "g", &late, &fast); // has missed two
    send_times(&hub, &to, 3);
    send_times(&hub, &to.clone().except(early.channel()), 1);
    assert!(summaries(&mut early).is_empty(), "not at once");
    intervals(1).await;
    assert_eq!(
        (summaries(&mut early), summaries(&mut late), summaries(&mut slow)),
        (vec![5], vec![4], vec![])
    );
    intervals(5).await;
    assert_eq!(
        (summaries(&mut early), summaries(&mut late), summaries(&mut slow)),
        (vec![], vec![], vec![6])
    );
    send_times(&hub, &to.clone().except(early.channel()), 1);
    intervals(1).await;
    assert_eq!((summaries(&mut early), summaries(&mut late)), (vec![], vec![1]), "none of only its own");
    // A burst counts each of its messages; those who are not passive any more hear nothing.
    select(&hub, "g", &late, &multiples_of(5));
    let burst: Vec<GroupSend> = (1..5).map(|n| delivery(n).into()).collect();
    hub.fan_out_all([&group("g")], burst).finish();
    intervals(1).await;
    assert_eq!((summaries(&mut early), summaries(&mut late)), (vec![4], vec![]));
    assert!(hub.ledger().is_balanced());
}

/// A message counts also for members that receive it by another group, whichever group is served first.
#[tokio::test(start_paused = true)]
async fn summaries_count_messages_of_unions() {
    let hub = Hub::new();
    let mut mailboxes = ["a!all", "a!odd"].map(|name| open(&hub, name));
    for (mailbox, in_other) in mailboxes.iter().zip([Selection::All, multiples_of(2)]) {
        select(&hub, "g", mailbox, &Selection::Passive(Selection::MIN_PASSIVE));
        select(&hub, "h", mailbox, &in_other);
    }
    let union = |names: &[&str]| {
        let first = Audience::from(group(names[0]));
        names[1..].iter().fold(first, |to, name| to.and(group(name)))
    };
    for names in [&["g", "h"][..], &["h", "g"], &["g", "h", "g"], &["h", "g", "g"]] {
        for excepted in [None, Some(0), Some(1)] {
            let to = match excepted {
                Some(at) => union(names).except(mailboxes[at].channel()),
                None => union(names),
            };
            // The message is for the first member alone by `h`, and for none by `g`.
            let sent = hub.fan_out(&to, message(1), later()).finish();
            let takes = usize::from(excepted != Some(0));
            assert_eq!((sent.delivered, sent.filtered), (takes, usize::from(excepted != Some(1))), "{to:?}");
            assert_eq!([0, 1].map(|at| taken(&mut mailboxes[at]).len()), [takes, 0], "{to:?}");
            intervals(1).await;
            let counts = [0, 1].map(|at| summaries(&mut mailboxes[at]));
            let expected = [0, 1].map(|at| if excepted == Some(at) { vec![] } else { vec![1] });
            assert_eq!(counts, expected, "{to:?}");
        }
    }
    assert!(hub.ledger().is_balanced());
}

fn send_times(hub: &Hub, to: &Audience, times: usize) {
    for _ in 0..times {
        hub.fan_out(to, message(1), later()).finish();
    }
}

#[tokio::test(start_paused = true)]
async fn summaries_reach_many_and_only_members() {
    let hub = Hub::new();
    let mut mailboxes: Vec<_> = (0..5000).map(|n| open(&hub, &format!("a!{n}"))).collect();
    for mailbox in &mailboxes {
        select(&hub, "g", mailbox, &Selection::Passive(Selection::MIN_PASSIVE));
    }
    let to = Audience::from(group("g"));
    send_times(&hub, &to, 2);
    hub.leave(&group("g"), mailboxes[7].channel());
    mailboxes.truncate(4000);
    intervals(2).await;
    let heard = mailboxes.iter_mut().map(summaries).filter(|counts| *counts == [2]).count();
    assert_eq!((heard, summaries(&mut mailboxes[7])), (3999, vec![]));
    send_times(&hub, &to, 1);
    drop(mailboxes);
    assert_eq!((hub.group_count(), hub.mailbox_count()), (0, 0));
    intervals(2).await;
    assert!(hub.ledger().is_balanced());
}

#[tokio::test(start_paused = true)]
async fn summaries_expire_with_their_messages() {
    let hub = Hub::new();
    let mut mailbox = open(&hub, "a!1");
    select(&hub, "g", &mailbox, &Selection::Passive(Selection::MIN_PASSIVE));
    let expires = tokio::time::Instant::now() + Selection::MIN_PASSIVE;
    hub.fan_out(&group("g").into(), message(1), expires).finish();
    intervals(1).await;
    intervals(2).await;
    assert!(mailbox.try_recv().is_none());
    assert_eq!(hub.ledger().dropped.expired, 1);
}

/// Without a runtime there is no timer, and one that ended with its runtime is replaced.
#[test]
fn ended_runtimes_keep_no_summary() {
    let hub = Hub::new();
    let mut mailbox = open(&hub, "a!1");
    select(&hub, "g", &mailbox, &Selection::Passive(Selection::MIN_PASSIVE));
    let to = Audience::from(group("g"));
    send_times(&hub, &to, 1);
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime().block_on(async { send_times(&hub, &to, 1) });
    assert!(summaries(&mut mailbox).is_empty());
    runtime().block_on(async {
        send_times(&hub, &to, 1);
        intervals(1).await;
    });
    assert_eq!(summaries(&mut mailbox), [3]);
}

/// Concurrent senders, whose messages go together, in groups of more than one slice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn combined_sends_are_selected() {
    for count in [8, 2 * SLICE] {
        let hub = Hub::new();
        let mut mailboxes: Vec<_> = (0..count).map(|n| open(&hub, &format!("a!{n}"))).collect();
        for (n, mailbox) in mailboxes.iter().enumerate() {
            select(&hub, "g", mailbox, &multiples_of(1 + n as u64 % 6));
        }
        let send = |n| {
            let hub = hub.clone();
            tokio::spawn(async move { hub.broadcast(&group("g").into(), message(n), later()).await })
        };
        let sends: Vec<_> = (0..60).map(send).collect();
        let mut sum = Deliveries::default();
        for sent in sends {
            sum += sent.await.unwrap();
        }
        assert_eq!((sum.matched, sum.matched), (60 * count, sum.delivered + sum.filtered));
        for (n, mailbox) in mailboxes.iter_mut().enumerate() {
            let by = 1 + n as u64 % 6;
            let received: BTreeSet<_> = taken(mailbox).into_iter().collect();
            assert_eq!(received, (0..60).filter(|n| n % by == 0).collect());
        }
    }
}
