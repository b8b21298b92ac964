//! Sends numbered messages during a fault and reports the outcome of each.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use channel_layer::{ChannelLayer, ChannelLayerExt, Error, LayerEvent, MailboxOptions};
use channel_layer_redis::RedisLayer;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};

use super::{number, numbered};

const GROUPS: i64 = 10;
const EVERY: Duration = Duration::from_millis(5);
/// The limit of a recovery: every channel receives again within this time after the return of Redis.
const LIVE: Duration = Duration::from_secs(2);
/// The longest call: the wait in the queue, and a round trip.
const LONGEST_CALL: Duration = Duration::from_secs(4);
/// The time in which a message may have been in flight when the fault began.
const UNDER_WAY: Duration = Duration::from_millis(200);

/// The outcome of a message.
struct Sent {
    at: Instant,
    took: Duration,
    result: Result<(), Error>,
}

type Log<T> = Arc<Mutex<T>>;

/// The outcome of a run.
pub(crate) struct Report {
    sent: HashMap<i64, Sent>,
    /// By group: the messages of its member, with their times.
    received: Vec<Vec<(i64, Instant)>>,
    events: Vec<LayerEvent>,
    began: Instant,
    healed: Instant,
}

/// Sends from one layer to members on another during a fault. `fault` returns the time of the recovery of Redis.
pub(crate) async fn observe(
    publisher: &Arc<RedisLayer>,
    subscriber: &Arc<RedisLayer>,
    fault: impl AsyncFnOnce() -> Instant,
) -> Report {
    let mut background = JoinSet::new();
    let events = collect_events(subscriber, &mut background);
    let mut received = Vec::new();
    for group in 0..GROUPS {
        received.push(listen(subscriber, group, &mut background).await);
    }
    let sent = Log::default();
    let publishing = publish(publisher.clone(), sent.clone(), &mut background);
    sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    let healed = fault().await;
    sleep_until(healed + LIVE + UNDER_WAY).await;
    publishing.abort();
    sleep(UNDER_WAY * 5).await; // messages in flight arrive
    background.shutdown().await;
    Report {
        sent: std::mem::take(&mut sent.lock().expect("no holder panics")),
        received: received
            .iter()
            .map(|log| std::mem::take(&mut *log.lock().expect("no holder panics")))
            .collect(),
        events: std::mem::take(&mut events.lock().expect("no holder panics")),
        began,
        healed,
    }
}

fn publish(
    layer: Arc<RedisLayer>,
    sent: Log<HashMap<i64, Sent>>,
    background: &mut JoinSet<()>,
) -> AbortHandle {
    background.spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for n in 0.. {
            ticks.tick().await;
            let (layer, sent) = (layer.clone(), sent.clone());
            // Concurrently: one that waits for its deadline must not delay the others.
            tokio::spawn(async move {
                let at = Instant::now();
                let result = layer.group_send_message(group_of(n), numbered(n)).await.map(drop);
                sent.lock().expect("no holder panics").insert(n, Sent { at, took: at.elapsed(), result });
            });
        }
    })
}

async fn listen(layer: &RedisLayer, group: i64, background: &mut JoinSet<()>) -> Log<Vec<(i64, Instant)>> {
    let options = MailboxOptions::default().with_capacity(100_000);
    let mut mailbox = layer.open(options).await.expect("a mailbox needs no server");
    layer.join(group_of(group), mailbox.channel()).await.expect("Redis is up");
    let log = Log::<Vec<_>>::default();
    let ours = log.clone();
    background.spawn(async move {
        loop {
            let message = mailbox.recv().await;
            ours.lock().expect("no holder panics").push((number(&message), Instant::now()));
        }
    });
    log
}

fn collect_events(layer: &RedisLayer, background: &mut JoinSet<()>) -> Log<Vec<LayerEvent>> {
    let log = Log::<Vec<_>>::default();
    let (mut events, ours) = (layer.events(), log.clone());
    background.spawn(async move {
        while let Some(event) = events.next().await {
            ours.lock().expect("no holder panics").push(event);
        }
    });
    log
}

fn group_of(n: i64) -> String {
    format!("oracle-{}", n % GROUPS)
}

impl Report {
    /// Asserts the guarantees of every fault: no duplicates, no delivery of refused messages, no loss outside of the fault, an
    /// end of every call, and the recovery of every channel in time.
    pub(crate) fn check(&self) -> &Self {
        eprintln!("{self}");
        assert_eq!(self.duplicates(), 0, "nothing comes twice");
        let lost = self.lost_outside();
        assert!(lost.is_empty(), "lost outside of the fault: {lost:?}");
        let longest = self.sent.values().map(|sent| sent.took).max().unwrap_or_default();
        assert!(longest < LONGEST_CALL, "a call took {longest:?}");
        let false_refusals = self.refused_and_received();
        assert!(false_refusals.is_empty(), "refused as unavailable, and received: {false_refusals:?}");
        let mut errors = self.sent.values().filter_map(|sent| sent.result.as_ref().err());
        let other = errors.find(|error| !error.is_outage());
        assert!(other.is_none(), "speakers outlive an outage: {other:?}");
        let live = self.live_after().expect("every channel is live again");
        assert!(live < LIVE, "live after {live:?}");
        self
    }

    /// Asserts that consumers learn of a gap of about the right length.
    pub(crate) fn check_gap(&self) -> &Self {
        let gap = self.events.iter().find_map(|event| match event {
            LayerEvent::Reconnected { gap } => Some(*gap),
            _ => None,
        });
        assert!(gap.is_some(), "a gap was raised: {:?}", self.events);
        // Losses before the detection of the fault may be reported first.
        let mut events = self.events.iter().filter(|event| !matches!(event, LayerEvent::Lost { .. }));
        assert_eq!(events.next(), Some(&LayerEvent::Disconnected));
        self
    }

    /// Asserts that no message was lost.
    pub(crate) fn check_lossless(&self) -> &Self {
        assert_eq!(self.lost().count(), 0, "nothing is lost");
        self
    }

    fn duplicates(&self) -> usize {
        let unique = |log: &Vec<(i64, Instant)>| log.iter().map(|(n, _)| n).collect::<HashSet<_>>().len();
        self.received.iter().map(|log| log.len() - unique(log)).sum()
    }

    fn lost(&self) -> impl Iterator<Item = (&i64, &Sent)> {
        let received: HashSet<_> = self.received.iter().flatten().map(|(n, _)| *n).collect();
        self.sent.iter().filter(move |(n, sent)| sent.result.is_ok() && !received.contains(n))
    }

    /// Messages that were reported as unsent but received: a retry would duplicate them.
    fn refused_and_received(&self) -> Vec<i64> {
        let is_refused = |n: &i64| {
            let result = self.sent.get(n).map(|sent| &sent.result);
            matches!(result, Some(Err(Error::Unavailable(_))))
        };
        self.received.iter().flatten().map(|(n, _)| *n).filter(is_refused).collect()
    }

    /// Messages that were accepted outside of the fault and lost.
    fn lost_outside(&self) -> Vec<i64> {
        let (from, to) = (self.began - UNDER_WAY, self.healed + LIVE);
        self.lost().filter(|(_, sent)| sent.at < from || sent.at > to).map(|(n, _)| *n).collect()
    }

    /// The time from the recovery of Redis until every channel received a message.
    fn live_after(&self) -> Option<Duration> {
        let first = |log: &Vec<(i64, Instant)>| {
            let fresh = |n| self.sent.get(n).is_some_and(|sent| sent.at >= self.healed);
            log.iter().find(|(n, at)| *at >= self.healed && fresh(n)).map(|(_, at)| *at - self.healed)
        };
        self.received.iter().map(first).try_fold(Duration::ZERO, |last, first| Some(last.max(first?)))
    }

    fn longest_silence(&self) -> Duration {
        let silence = |log: &Vec<(i64, Instant)>| log.windows(2).map(|pair| pair[1].1 - pair[0].1).max();
        self.received.iter().filter_map(silence).max().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |is: fn(&Error) -> bool| {
            self.sent.values().filter(|sent| sent.result.as_ref().is_err_and(is)).count()
        };
        write!(
            f,
            "accepted {}, unavailable {}, timed out {}, other {}, received {}, duplicated {}, lost {}, outage {:?}, \
             silence {:?}, live after {:?}, events {:?}",
            self.sent.values().filter(|sent| sent.result.is_ok()).count(),
            count(|error| matches!(error, Error::Unavailable(_))),
            count(|error| matches!(error, Error::TimedOut(_))),
            count(|error| !matches!(error, Error::TimedOut(_) | Error::Unavailable(_))),
            self.received.iter().map(Vec::len).sum::<usize>(),
            self.duplicates(),
            self.lost().count(),
            self.healed - self.began,
            self.longest_silence(),
            self.live_after(),
            self.events,
        )
    }
}
