//! The layer against a naive one, step by step.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::{Instant, advance, timeout};

use super::super::*;
use crate::ext::ChannelLayerExt;

const CAPACITY: usize = 3;
const EXPIRY: Duration = Duration::from_secs(60);

/// Mailboxes 0 to 3, and the named channels 4 and 5; groups 0 to 2.
#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Discard(usize, usize),
    DiscardAll(usize),
    Drop(usize),
    Flush,
    GroupSend(Vec<usize>, Option<usize>),
    Join(usize, usize),
    Open(usize),
    Receive(usize),
    Send(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (channel, group) = (0..6_usize, 0..3_usize);
    prop_oneof![
        2 => (1..40_u64).prop_map(Step::Advance),
        2 => (group.clone(), channel.clone()).prop_map(|(g, c)| Step::Discard(g, c)),
        1 => channel.clone().prop_map(Step::DiscardAll),
        1 => (0..4_usize).prop_map(Step::Drop),
        1 => Just(Step::Flush),
        6 => (prop::collection::vec(group.clone(), 1..3), prop::option::of(channel.clone()))
            .prop_map(|(groups, except)| Step::GroupSend(groups, except)),
        5 => (group, channel.clone()).prop_map(|(g, c)| Step::Join(g, c)),
        3 => (0..4_usize).prop_map(Step::Open),
        5 => channel.clone().prop_map(Step::Receive),
        5 => channel.prop_map(Step::Send),
    ]
}

/// The naive layer: the messages of each channel with the time at which each expires, and the memberships.
#[derive(Default)]
struct Oracle {
    queues: BTreeMap<usize, VecDeque<(i64, Instant)>>,
    members: BTreeSet<(usize, usize)>,
}

impl Oracle {
    fn exists(&self, channel: usize) -> bool {
        channel >= 4 || self.queues.contains_key(&channel)
    }

    /// Whether the channel took the message; one that does not exist takes all.
    fn send(&mut self, channel: usize, number: i64, now: Instant) -> bool {
        if !self.exists(channel) {
            return true;
        }
        let queue = self.queues.entry(channel).or_default();
        queue.retain(|(_, expires)| *expires > now);
        let room = queue.len() < CAPACITY;
        if room {
            queue.push_back((number, now + EXPIRY));
        }
        room
    }

    fn receive(&mut self, channel: usize, now: Instant) -> Option<i64> {
        let queue = self.queues.get_mut(&channel)?;
        queue.retain(|(_, expires)| *expires > now);
        Some(queue.pop_front()?.0)
    }

    fn audience(&self, groups: &[usize], except: Option<usize>) -> BTreeSet<usize> {
        let addressed = self.members.iter().filter(|(group, _)| groups.contains(group));
        addressed.map(|(_, channel)| *channel).filter(|channel| Some(*channel) != except).collect()
    }
}

struct Run {
    layer: MemoryLayer,
    mailboxes: BTreeMap<usize, Mailbox>,
    oracle: Oracle,
    sent: i64,
}

impl Run {
    /// The channel's name; an unknown one for a mailbox that is not open.
    fn name(&self, channel: usize) -> ChannelName {
        let named =
            || ChannelName::new(if channel < 4 { "a!gone".into() } else { format!("named-{channel}") });
        self.mailboxes.get(&channel).map_or_else(|| named().unwrap(), |mailbox| mailbox.channel().clone())
    }

    fn next(&mut self) -> (i64, Message) {
        self.sent += 1;
        (self.sent, Message::new("m").with("n", self.sent))
    }

    async fn step(&mut self, step: Step) {
        let now = Instant::now();
        match step {
            Step::Advance(seconds) => advance(Duration::from_secs(seconds)).await,
            Step::Discard(group, channel) => {
                self.layer.group_discard(&name(group), &self.name(channel)).await.unwrap();
                self.oracle.members.remove(&(group, channel));
            }
            Step::DiscardAll(channel) => {
                self.layer.group_discard_all(&self.name(channel)).await.unwrap();
                self.oracle.members.retain(|(_, member)| *member != channel);
            }
            Step::Drop(channel) => {
                self.mailboxes.remove(&channel);
                self.oracle.queues.remove(&channel);
                self.oracle.members.retain(|(_, member)| *member != channel);
            }
            Step::Flush => {
                self.layer.flush().await.unwrap();
                self.oracle.members.clear();
                self.oracle.queues.values_mut().for_each(VecDeque::clear);
            }
            Step::GroupSend(groups, except) => self.group_send(groups, except, now).await,
            Step::Join(group, channel) => {
                self.layer.group_add(&name(group), &self.name(channel)).await.unwrap();
                if self.oracle.exists(channel) {
                    self.oracle.members.insert((group, channel));
                }
            }
            Step::Open(channel) if !self.mailboxes.contains_key(&channel) => {
                self.mailboxes.insert(channel, self.layer.new_channel().await.unwrap());
                self.oracle.queues.insert(channel, VecDeque::new());
            }
            Step::Open(_) => {}
            Step::Receive(channel) => {
                let expected = self.oracle.receive(channel, now);
                assert_eq!(self.receive(channel).await, expected, "from channel {channel}");
            }
            Step::Send(channel) => {
                let (number, message) = self.next();
                let sent = self.layer.send(&self.name(channel), message).await;
                assert_eq!(sent.is_ok(), self.oracle.send(channel, number, now), "{sent:?}");
            }
        }
    }

    async fn group_send(&mut self, groups: Vec<usize>, except: Option<usize>, now: Instant) {
        let (number, message) = self.next();
        let mut to = Audience::from(name(groups[0]));
        for group in &groups[1..] {
            to = to.and(name(*group));
        }
        if let Some(except) = except {
            to = to.except(self.name(except));
        }
        let audience = self.oracle.audience(&groups, except);
        let taken = audience.iter().filter(|member| self.oracle.send(**member, number, now)).count();
        let local = self.layer.group_send(&to, message).await.unwrap().local;
        assert_eq!((local.matched, local.delivered), (audience.len(), taken));
        assert_eq!((local.full, local.closed), (audience.len() - taken, 0));
    }

    async fn receive(&mut self, channel: usize) -> Option<i64> {
        let message = match self.mailboxes.get_mut(&channel) {
            Some(mailbox) => mailbox.try_recv(),
            None if channel < 4 => None,
            None => {
                let name = self.name(channel);
                let receiving = self.layer.receive(&name);
                timeout(Duration::ZERO, receiving).await.ok().map(|received| received.unwrap())
            }
        };
        message?.get("n")?.as_i64()
    }

    fn check(&self) {
        let ledger = self.layer.hub().ledger();
        assert!(ledger.is_balanced(), "{ledger:?}");
        let groups: BTreeSet<_> = self.oracle.members.iter().map(|(group, _)| *group).collect();
        assert_eq!(self.layer.hub().group_count(), groups.len());
        for group in groups {
            let expected = self.oracle.audience(&[group], None).len();
            assert_eq!(self.layer.hub().member_count(&name(group)), expected);
        }
    }
}

fn name(group: usize) -> GroupName {
    GroupName::new(format!("group-{group}")).unwrap()
}

async fn agree(steps: Vec<Step>) {
    let config = LayerConfig::default().with_capacity(CAPACITY).with_expiry(EXPIRY);
    let layer = MemoryLayer::new(config);
    let mut run = Run { layer, mailboxes: BTreeMap::new(), oracle: Oracle::default(), sent: 0 };
    for step in steps {
        run.step(step).await;
        run.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn equals_a_naive_layer(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(agree(steps));
    }
}
