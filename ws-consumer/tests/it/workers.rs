//! Workers on the layer in memory.

#![allow(clippy::unwrap_used, reason = "what helpers unwrap is the test's")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::support::{Server, timed};
use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer, Message};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::{Instant, sleep},
};
use ws_consumer::{
    Consumer, Error, Frame, Result, Router, Socket,
    worker::{Job, RetryPolicy, Scheduler, SubmitPolicy, Worker, Workers, submit_until_done},
};

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Order {
    #[serde(rename = "sum.add")]
    Add { number: i64 },
    #[serde(rename = "sum.fail")]
    Fail { times: u32 },
    #[serde(rename = "sum.panic")]
    Panic,
    #[serde(rename = "sum.sleep")]
    Sleep { seconds: u64 },
    #[serde(rename = "sum.refuse")]
    Refuse,
    #[serde(rename = "sum.count")]
    Count { to: u32 },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename = "sum.progress")]
struct Progress {
    done: u32,
}

#[derive(Clone, Default)]
struct Sum(Arc<Record>);

#[derive(Default)]
struct Record {
    numbers: Mutex<Vec<i64>>,
    attempts: Mutex<Vec<Instant>>,
    running: AtomicUsize,
    most: AtomicUsize,
    changed: Notify,
}

impl Worker for Sum {
    type Event = Order;

    async fn handle(&self, job: &Job, order: Order) -> Result<()> {
        self.0.attempts.lock().unwrap().push(Instant::now());
        self.0.changed.notify_one();
        match order {
            Order::Add { number } => self.0.numbers.lock().unwrap().push(number),
            Order::Fail { times } if job.attempt() <= times => return Err(Error::other("not yet")),
            Order::Fail { .. } => {}
            Order::Panic => panic!("asked for"),
            Order::Refuse => return Err(Error::bad_input("never")),
            Order::Sleep { seconds } => {
                let running = self.0.running.fetch_add(1, SeqCst) + 1;
                self.0.most.fetch_max(running, SeqCst);
                sleep(Duration::from_secs(seconds)).await;
                self.0.running.fetch_sub(1, SeqCst);
            }
            Order::Count { to } => {
                for done in 1..=to {
                    job.progress(&Progress { done }).await?;
                }
            }
        }
        self.0.changed.notify_one();
        Ok(())
    }
}

impl Sum {
    async fn until(&self, met: impl Fn(&Record) -> bool) {
        timed(async {
            while !met(&self.0) {
                self.0.changed.notified().await;
            }
        })
        .await;
    }

    async fn until_sum(&self, numbers: &[i64]) {
        self.until(|record| *record.numbers.lock().unwrap() == numbers).await;
    }

    fn attempts(&self) -> usize {
        self.0.attempts.lock().unwrap().len()
    }
}

struct Office {
    layer: Arc<MemoryLayer>,
    sum: Sum,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Office {
    fn open(terms: RetryPolicy) -> Self {
        Self::on(Arc::new(MemoryLayer::default()), terms, Duration::from_secs(30))
    }

    fn on(layer: Arc<MemoryLayer>, terms: RetryPolicy, grace: Duration) -> Self {
        let sum = Sum::default();
        let workers = Workers::new(layer.clone() as Arc<dyn ChannelLayer>);
        let workers = workers.channel("sums", sum.clone(), terms).unwrap().grace(grace);
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(workers.run_until(async { _ = stopped.await }));
        Self { layer, sum, stop: Some(stop), running }
    }

    async fn order(&self, order: &Order) {
        self.layer.send(&"sums".parse().unwrap(), Message::encode(order).unwrap()).await.unwrap();
    }

    async fn close(mut self) {
        self.stop.take();
        timed(self.running).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn worker_keeps_order() {
    let office = Office::open(RetryPolicy::default());
    for number in 0..50 {
        office.order(&Order::Add { number }).await;
    }
    office.sum.until_sum(&(0..50).collect::<Vec<_>>()).await;
}

#[tokio::test(start_paused = true)]
async fn worker_bounds_concurrency() {
    let office = Office::open(RetryPolicy::default().concurrency(3));
    for _ in 0..10 {
        office.order(&Order::Sleep { seconds: 5 }).await;
    }
    office.sum.until(|record| record.running.load(SeqCst) == 3).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(office.sum.attempts(), 3, "the others wait in the channel, for other processes");
    sleep(Duration::from_secs(60)).await;
    assert_eq!((office.sum.attempts(), office.sum.0.most.load(SeqCst)), (10, 3));
}

#[tokio::test(start_paused = true)]
async fn worker_outlives_failures() {
    let office = Office::open(RetryPolicy::default());
    office.order(&Order::Panic).await;
    office.order(&Order::Fail { times: 9 }).await;
    office.layer.send(&"sums".parse().unwrap(), Message::new("unheard.of")).await.unwrap();
    let no_type = Message::try_from(channel_layer::Map::from_iter([("n", 1)])).unwrap();
    office.layer.send(&"sums".parse().unwrap(), no_type).await.unwrap();
    office.order(&Order::Add { number: 7 }).await;
    office.sum.until_sum(&[7]).await;
    assert_eq!(office.sum.attempts(), 3, "nothing is tried again unless that is asked for");
}

#[tokio::test(start_paused = true)]
async fn retries_back_off() {
    let office = Office::open(RetryPolicy::default().retries(3).wait(Duration::from_secs(1)));
    office.order(&Order::Fail { times: 2 }).await;
    office.order(&Order::Add { number: 1 }).await;
    office.sum.until_sum(&[1]).await;
    let times = office.sum.0.attempts.lock().unwrap().clone();
    let waits: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(waits, [1, 2, 0], "two retries, then the next message");
    office.order(&Order::Fail { times: 100 }).await;
    office.order(&Order::Panic).await;
    office.order(&Order::Refuse).await;
    office.order(&Order::Add { number: 2 }).await;
    office.sum.until_sum(&[1, 2]).await;
    assert_eq!(office.sum.attempts(), 4 + 4 + 4 + 1 + 1, "bad input gets no better");
}

#[tokio::test(start_paused = true)]
async fn slow_attempts_fail() {
    let office = Office::open(RetryPolicy::default().deadline(Duration::from_secs(2)));
    office.order(&Order::Sleep { seconds: 3600 }).await;
    office.order(&Order::Add { number: 1 }).await;
    office.sum.until_sum(&[1]).await;
}

#[tokio::test(start_paused = true)]
async fn stop_leaves_queued_work() {
    let office = Office::open(RetryPolicy::default());
    office.order(&Order::Sleep { seconds: 10 }).await;
    office.order(&Order::Add { number: 1 }).await;
    office.sum.until(|record| record.running.load(SeqCst) == 1).await;
    let (layer, sum) = (office.layer.clone(), office.sum.clone());
    office.close().await;
    assert_eq!(
        (sum.0.running.load(SeqCst), sum.attempts()),
        (0, 1),
        "it has ended, and nothing else was begun"
    );
    let next = Office::on(layer, RetryPolicy::default(), Duration::ZERO);
    next.sum.until_sum(&[1]).await;
}

#[tokio::test(start_paused = true)]
async fn stop_drops_late_work() {
    let office = Office::on(Arc::default(), RetryPolicy::default(), Duration::from_secs(5));
    office.order(&Order::Sleep { seconds: 3600 }).await;
    office.sum.until(|record| record.running.load(SeqCst) == 1).await;
    let before = Instant::now();
    office.close().await;
    assert_eq!(before.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn stop_returns_retries() {
    let terms = RetryPolicy::default().retries(5).wait(Duration::from_secs(3600));
    let office = Office::open(terms);
    office.order(&Order::Fail { times: 1 }).await;
    office.sum.until(|record| record.attempts.lock().unwrap().len() == 1).await;
    let layer = office.layer.clone();
    office.close().await;
    let back = timed(layer.receive(&"sums".parse().unwrap())).await.unwrap();
    assert_eq!(back.event_type(), Some("sum.fail"));
}

#[test]
fn faults_in_the_routes_are_told() {
    let workers = || Workers::new(Arc::new(MemoryLayer::default()));
    assert!(workers().channel("no spaces", Sum::default(), RetryPolicy::default()).is_err());
    assert!(workers().channel("one!connection", Sum::default(), RetryPolicy::default()).is_err());
    let one = workers().channel("sums", Sum::default(), RetryPolicy::default()).unwrap();
    assert!(one.channel("sums", Sum::default(), RetryPolicy::default()).is_err());
}

#[tokio::test(start_paused = true)]
async fn workers_share_a_channel() {
    let first = Office::open(RetryPolicy::default());
    let second = Office::on(first.layer.clone(), RetryPolicy::default(), Duration::ZERO);
    for number in 0..90 {
        first.order(&Order::Add { number }).await;
    }
    let all = || {
        let mut all = first.sum.0.numbers.lock().unwrap().clone();
        all.extend(second.sum.0.numbers.lock().unwrap().iter());
        all.sort_unstable();
        all
    };
    timed(async {
        while all().len() < 90 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(all(), (0..90).collect::<Vec<_>>());
}

// ---- requests

/// Submits the client's frames as jobs, and sends the progress to the client.
#[derive(Default)]
struct Asking;

impl Consumer for Asking {
    type Event = Progress;

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        socket.submit("sums", &Order::Count { to: frame.json()? }).await
    }

    async fn event(&mut self, socket: &mut Socket, progress: &Progress) -> Result<()> {
        socket.send_json(&progress.done).await
    }
}

#[tokio::test(start_paused = true)]
async fn progress_reaches_the_caller() {
    let server = Server::new(Router::new().consumer("/", Asking::default));
    let _office = Office::on(server.layer.clone(), RetryPolicy::default(), Duration::ZERO);
    let (mut one, mut other) = (server.connect("/").await, server.connect("/").await);
    one.send("3").await;
    for done in ["1", "2", "3"] {
        assert_eq!(one.text().await, done);
    }
    other.send("1").await;
    assert_eq!(other.text().await, "1");
    one.send("2").await;
    one.leave().await;
    other.send("1").await;
    assert_eq!(other.text().await, "1", "somebody who has left harms nobody");
}

fn patience(seconds: u64, tries: u32) -> SubmitPolicy {
    SubmitPolicy::new(Duration::from_secs(seconds), tries)
}

#[tokio::test(start_paused = true)]
async fn awaited_work_reports_its_outcome() {
    let office = Office::open(RetryPolicy::default());
    let layer = &*office.layer;
    submit_until_done(layer, "sums", &Order::Add { number: 1 }, patience(5, 1)).await.unwrap();
    office.sum.until_sum(&[1]).await;
    let failed =
        submit_until_done(layer, "sums", &Order::Fail { times: 9 }, patience(5, 3)).await.unwrap_err();
    assert!(failed.to_string().contains("given up"), "{failed}");
    assert_eq!(office.sum.attempts(), 2, "a worker that says no is not asked again");
}

#[tokio::test(start_paused = true)]
async fn dead_worker_loses_nothing() {
    let layer = Arc::new(MemoryLayer::default());
    let dying = Office::on(layer.clone(), RetryPolicy::default(), Duration::ZERO);
    dying.order(&Order::Sleep { seconds: 3600 }).await;
    dying.sum.until(|record| record.running.load(SeqCst) == 1).await;
    let order = Order::Add { number: 1 };
    let asked = submit_until_done(&*layer, "sums", &order, patience(60, 3));
    let killed = async {
        sleep(Duration::from_secs(1)).await;
        dying.running.abort();
        // It has taken the message: the next one finds an empty channel.
        let taken = timed(layer.receive(&"sums".parse().unwrap())).await.unwrap();
        assert_eq!(taken.event_type(), Some("sum.add"));
        Office::on(layer.clone(), RetryPolicy::default(), Duration::ZERO)
    };
    let (asked, next) = tokio::join!(asked, killed);
    asked.unwrap();
    next.sum.until_sum(&[1]).await;
}

#[tokio::test(start_paused = true)]
async fn waits_are_bounded() {
    let layer = MemoryLayer::default();
    let sums = "sums".parse().unwrap();
    let before = Instant::now();
    let order = Order::Add { number: 1 };
    assert!(submit_until_done(&layer, &sums, &order, patience(2, 3)).await.is_err());
    assert_eq!(before.elapsed().as_secs(), 6);
    while layer.send(&sums, Message::encode(&order).unwrap()).await.is_ok() {}
    let layer = Arc::new(layer);
    let asked = submit_until_done(&*layer, &sums, &Order::Add { number: 2 }, patience(60, 1));
    let worker = async {
        sleep(Duration::from_secs(1)).await;
        Office::on(layer.clone(), RetryPolicy::default(), Duration::ZERO)
    };
    let (asked, office) = tokio::join!(asked, worker);
    asked.unwrap();
    assert_eq!(office.sum.0.numbers.lock().unwrap().last(), Some(&2));
}

// ---- scheduled jobs

#[tokio::test(start_paused = true)]
async fn scheduled_messages_can_be_cancelled() {
    let layer = Arc::new(MemoryLayer::default());
    let mut member = layer.new_channel().await.unwrap();
    layer.group_add(&"g".parse().unwrap(), member.channel()).await.unwrap();
    let later = Scheduler::with_capacity(layer.clone() as Arc<dyn ChannelLayer>, 3);
    let (minute, before) = (Duration::from_secs(60), Instant::now());
    later.send_after(minute * 2, member.channel(), &Progress { done: 2 }).unwrap();
    later.group_send_after(minute, "g", &Progress { done: 1 }).unwrap();
    assert!(later.group_send_after(minute, "no name", &Progress { done: 1 }).is_err());
    let third = later.send_after(minute, member.channel().as_str(), &Progress { done: 3 }).unwrap();
    assert!(later.send_after(minute, member.channel(), &Progress { done: 4 }).is_err(), "too many");
    third.cancel();
    for done in [1, 2] {
        let message = timed(member.recv()).await;
        assert_eq!(message.decode::<Progress>().unwrap().done, done);
        assert_eq!(before.elapsed(), minute * done);
    }
    assert!(later.is_empty());
    later.send_after(minute, member.channel(), &Progress { done: 5 }).unwrap();
    assert_eq!(later.close().await, 1);
    assert!(later.send_after(minute, member.channel(), &Progress { done: 6 }).is_err());
}
