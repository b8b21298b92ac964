use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{sync::Notify, task::yield_now};

use super::*;
use crate::backbone::{Changed, Inbound, Push, Pushed, Subscription};

const LONG: Duration = Duration::from_secs(60);

/// The messages at the server: they outlive a link.
#[derive(Debug, Default)]
struct Server {
    messages: Mutex<Vec<Taken>>,
    pushed: Notify,
    takers: AtomicUsize,
    /// Whether the first taker never returns.
    is_stuck: AtomicBool,
    /// The failures of the next calls of `give_back`.
    failures: Mutex<Vec<Error>>,
    /// The wanted channels of each call of `take`.
    calls: Mutex<Vec<Vec<Wanted>>>,
}

impl Server {
    fn push(&self, channel: &str, n: u8) {
        let body = Bytes::copy_from_slice(&[n]);
        let taken =
            Taken { channel: channel.parse().unwrap(), receipt: Bytes::from_static(b"receipt"), body };
        self.messages.lock().unwrap().push(taken);
        self.pushed.notify_one();
    }

    fn waiting(&self) -> Vec<u8> {
        self.messages.lock().unwrap().iter().map(|taken| taken.body[0]).collect()
    }

    fn pop(&self, wanted: &[Wanted]) -> Vec<Taken> {
        let mut taken = Vec::new();
        for wanted in wanted {
            let mut left = wanted.count;
            taken.extend(self.messages.lock().unwrap().extract_if(.., |message| {
                let is_taken = message.channel == wanted.channel && left > 0;
                left -= usize::from(is_taken);
                is_taken
            }));
        }
        taken
    }
}

#[derive(Clone, Debug)]
struct FakeLink(Arc<Server>);

#[derive(Debug)]
struct FakeTaker(Arc<Server>);

/// A taker that never returns.
#[derive(Debug)]
struct StuckTaker;

#[async_trait]
impl BackboneLink for FakeLink {
    async fn publish(&self, _: &str, _: Bytes) -> crate::Result<Option<usize>> {
        Ok(None)
    }

    async fn subscribe(&self, _: &str) -> crate::Result<Subscription> {
        Ok(Subscription::Confirmed)
    }

    async fn unsubscribe(&self, _: &str) -> crate::Result<()> {
        Ok(())
    }

    async fn next(&self) -> crate::Result<Inbound> {
        std::future::pending().await
    }

    fn queues(&self) -> Option<&dyn Queues> {
        Some(self)
    }
}

#[async_trait]
impl Queues for FakeLink {
    async fn push(&self, _: &ChannelName, _: Push<'_>) -> crate::Result<Pushed> {
        Ok(Pushed::Stored)
    }

    async fn taker(&self) -> crate::Result<Box<dyn Taker>> {
        if self.0.takers.fetch_add(1, Relaxed) == 0 && self.0.is_stuck.load(Relaxed) {
            return Ok(Box::new(StuckTaker));
        }
        Ok(Box::new(FakeTaker(self.0.clone())))
    }

    async fn give_back(&self, _: &ChannelName, messages: &[Taken]) -> crate::Result<()> {
        if let Some(error) = self.0.failures.lock().unwrap().pop() {
            return Err(error);
        }
        assert!(messages.iter().all(|taken| &*taken.receipt == b"receipt"));
        self.0.messages.lock().unwrap().splice(..0, messages.to_vec());
        Ok(())
    }

    async fn clear(&self) -> crate::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Taker for FakeTaker {
    async fn take(&mut self, wanted: &[Wanted], mut changed: Changed<'_>) -> crate::Result<Vec<Taken>> {
        self.0.calls.lock().unwrap().push(wanted.to_vec());
        loop {
            let pushed = self.0.pushed.notified();
            let taken = self.0.pop(wanted);
            if !taken.is_empty() {
                return Ok(taken);
            }
            tokio::select! {
                () = pushed => {}
                () = &mut changed => {
                    (&mut changed).await; // it may be polled again
                    return Ok(self.0.pop(wanted));
                }
            }
        }
    }
}

#[async_trait]
impl Taker for StuckTaker {
    async fn take(&mut self, _: &[Wanted], _: Changed<'_>) -> crate::Result<Vec<Taken>> {
        std::future::pending().await
    }
}

/// A reader, the server, and the sender of links.
struct ReaderFixture {
    reader: Arc<QueueReader>,
    server: Arc<Server>,
    links: watch::Sender<Option<Arc<dyn BackboneLink>>>,
    counters: Arc<Counters>,
}

impl ReaderFixture {
    fn new() -> Self {
        let server = Arc::<Server>::default();
        let links = watch::Sender::new(Some(Arc::new(FakeLink(server.clone())) as Arc<dyn BackboneLink>));
        let counters = Arc::<Counters>::default();
        let decode = |body: &[u8]| match body {
            [0] => Err("zero"),
            body => Ok(Message::new("job").with("n", i64::from(body[0]))),
        };
        let reader = QueueReader::new(links.subscribe(), counters.clone(), &HubOptions::default(), decode);
        Self { reader: Arc::new(reader), server, links, counters }
    }

    fn receive(&self, channel: &str) -> JoinHandle<Option<i64>> {
        let (reader, channel) = (self.reader.clone(), channel.parse().unwrap());
        tokio::spawn(async move { reader.receive(&channel).await.map(|message| number(&message)) })
    }

    fn relink(&self) {
        self.links.send_replace(Some(Arc::new(FakeLink(self.server.clone()))));
    }

    /// The numbers of messages given back and lost.
    fn given_back(&self) -> (u64, u64) {
        let stats = self.counters.snapshot();
        (stats.given_back, stats.lost)
    }

    fn calls(&self) -> usize {
        self.server.calls.lock().unwrap().len()
    }
}

fn number(message: &Message) -> i64 {
    message.get("n").and_then(|n| n.as_i64()).unwrap()
}

/// Longer than the grace, and shorter than anything else.
async fn pause() {
    sleep(GRACE * 3).await;
}

#[tokio::test(start_paused = true)]
async fn takes_only_for_receivers() {
    let fixture = ReaderFixture::new();
    fixture.server.push("jobs", 1);
    pause().await;
    assert_eq!(fixture.server.takers.load(Relaxed), 0, "no receiver, no taker");
    assert_eq!(fixture.receive("jobs").await.unwrap(), Some(1));
    fixture.server.push("jobs", 2);
    pause().await;
    assert_eq!(fixture.server.waiting(), [2]);
    assert_eq!(fixture.receive("jobs").await.unwrap(), Some(2));
    assert_eq!((fixture.server.takers.load(Relaxed), fixture.counters.snapshot().taken), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn cancelling_loses_no_message() {
    let fixture = ReaderFixture::new();
    let receive = fixture.receive("jobs");
    pause().await;
    receive.abort();
    fixture.server.push("jobs", 1); // the call of the taker is still in progress
    pause().await;
    assert_eq!((fixture.server.waiting(), fixture.given_back()), (vec![1], (1, 0)));
    pause().await;
    fixture.server.push("jobs", 2);
    pause().await;
    assert_eq!(fixture.given_back(), (1, 0), "the taker has returned");
    assert_eq!(fixture.receive("jobs").await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_receive_loop_keeps_one_take() {
    let fixture = ReaderFixture::new();
    let jobs = "jobs".parse().unwrap();
    for _ in 0..10 {
        assert!(timeout(GRACE, fixture.reader.receive(&jobs)).await.is_err());
    }
    assert_eq!(fixture.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn returns_leftovers_while_waiting() {
    let fixture = ReaderFixture::new();
    let (first, second) = (fixture.receive("jobs"), fixture.receive("jobs"));
    let other = fixture.receive("other");
    pause().await;
    // Both messages are taken at once, and one receiver leaves before it has taken its message.
    first.abort();
    fixture.server.push("jobs", 1);
    fixture.server.push("jobs", 2);
    assert_eq!(second.await.unwrap(), Some(1));
    pause().await;
    assert_eq!((fixture.server.waiting(), fixture.given_back()), (vec![2], (1, 0)));
    assert!(!other.is_finished());
}

#[tokio::test(start_paused = true)]
async fn shares_a_burst_in_order() {
    let fixture = ReaderFixture::new();
    (1..=200).for_each(|n| fixture.server.push("jobs", n));
    let tasks: Vec<_> = (0..200).map(|_| fixture.receive("jobs")).collect();
    let mut got = Vec::new();
    for task in tasks {
        got.push(task.await.unwrap().unwrap());
    }
    assert_eq!(got, (1..=200).collect::<Vec<_>>());
    assert!(fixture.server.calls.lock().unwrap().iter().flatten().all(|wanted| wanted.count <= MOST));
}

#[tokio::test(start_paused = true)]
async fn takes_from_new_channels_at_once() {
    let fixture = ReaderFixture::new();
    let first = fixture.receive("jobs");
    pause().await;
    fixture.server.push("other", 7);
    assert_eq!(fixture.receive("other").await.unwrap(), Some(7));
    fixture.server.push("jobs", 1);
    assert_eq!(first.await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn closing_returns_messages() {
    let fixture = ReaderFixture::new();
    let jobs = "jobs".parse().unwrap();
    assert!(timeout(GRACE, fixture.reader.receive(&jobs)).await.is_err());
    fixture.server.push("jobs", 1);
    yield_now().await;
    let waiting = fixture.receive("other");
    yield_now().await;
    fixture.reader.close(LONG).await;
    assert_eq!(waiting.await.unwrap(), None);
    assert_eq!((fixture.server.waiting(), fixture.given_back().1), (vec![1], 0));
    assert_eq!(fixture.reader.receive(&jobs).await, None, "it remains closed");
}

#[tokio::test(start_paused = true)]
async fn retries_only_unsent_returns() {
    let fixture = ReaderFixture::new();
    let jobs = "jobs".parse().unwrap();
    let unsent = || Error::Unavailable("away".into());
    *fixture.server.failures.lock().unwrap() = vec![unsent(), unsent()];
    for (n, outcome) in [(1, (1, 0)), (2, (1, 1))] {
        assert!(timeout(GRACE, fixture.reader.receive(&jobs)).await.is_err());
        fixture.server.push("jobs", n);
        sleep(LONG).await;
        assert_eq!(fixture.given_back(), outcome);
        fixture.server.messages.lock().unwrap().clear();
        fixture.server.failures.lock().unwrap().push(Error::Interrupted("cut".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn resumes_on_the_next_link() {
    let fixture = ReaderFixture::new();
    let receive = fixture.receive("jobs");
    pause().await;
    fixture.links.send_replace(None);
    pause().await;
    fixture.server.push("jobs", 1);
    sleep(LONG).await;
    assert_eq!(fixture.server.waiting(), [1], "no link");
    fixture.relink();
    assert_eq!(receive.await.unwrap(), Some(1));
    assert_eq!(fixture.server.takers.load(Relaxed), 2);
    // A link that is replaced while no receiver waits.
    pause().await;
    fixture.relink();
    fixture.server.push("jobs", 2);
    assert_eq!(fixture.receive("jobs").await.unwrap(), Some(2));
    assert_eq!(fixture.server.takers.load(Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn counts_unreadable_messages() {
    let fixture = ReaderFixture::new();
    fixture.server.push("jobs", 0);
    fixture.server.push("jobs", 1);
    assert_eq!(fixture.receive("jobs").await.unwrap(), Some(1));
    assert_eq!(fixture.counters.snapshot().unreadable, 1);
}

#[tokio::test(start_paused = true)]
async fn ends_with_the_layer() {
    let fixture = ReaderFixture::new();
    let receive = fixture.receive("jobs");
    pause().await;
    drop(fixture.links);
    assert_eq!(receive.await.unwrap(), None);
    let task = fixture.reader.take_task().unwrap();
    task.await.unwrap();
    assert_eq!(Arc::strong_count(&fixture.reader.reading), 1);
}

#[tokio::test(start_paused = true)]
async fn takes_always_without_receivers() {
    let fixture = ReaderFixture::new();
    fixture.reader.take_always();
    pause().await;
    assert_eq!(*fixture.server.calls.lock().unwrap(), [vec![]]);
    fixture.server.push("jobs", 1);
    assert_eq!(fixture.receive("jobs").await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn drops_a_stuck_taker() {
    let fixture = ReaderFixture::new();
    fixture.server.is_stuck.store(true, Relaxed);
    fixture.server.push("jobs", 1);
    let receive = fixture.receive("jobs");
    sleep(LONG).await;
    assert!(!receive.is_finished());
    fixture.relink();
    assert_eq!(receive.await.unwrap(), Some(1));
}
