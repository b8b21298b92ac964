//! Consumers whose hooks run at the same time, and code that blocks.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use channel_layer::{ChannelLayerExt, MemoryLayer};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use ws_consumer::{
    BlockingPool, Close, ConcurrentConsumer, ConcurrentSocket, Drain, Error, Frame, HookInput, Limits,
    PoolFullError, Result, Resume, Socket, concurrent,
    testing::{TestApp, WebsocketCommunicator, advance},
};

use crate::support::{
    Server,
    sessions::{ALL, Heard, SessionClient},
};

/// A record of events, shared by all consumers of a test.
#[derive(Clone, Default)]
struct Record {
    lines: Arc<Mutex<Vec<String>>>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Record {
    fn note(&self, line: impl Into<String>) {
        self.lines.lock().unwrap().push(line.into());
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    fn begin(&self, name: &str) -> Running {
        let running = self.running.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(running, SeqCst);
        Running { record: self.clone(), name: name.to_owned(), ended: false }
    }
}

/// Counts a hook until it ends, or is dropped.
struct Running {
    record: Record,
    name: String,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.record.running.fetch_sub(1, SeqCst);
        if !self.ended {
            self.record.note(format!("dropped {}", self.name));
        }
    }
}

/// The work of a hook: `seconds`, then `then`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename = "work")]
struct Work {
    name: String,
    seconds: u64,
    #[serde(default)]
    key: Option<u64>,
    #[serde(default)]
    then: String,
}

fn work(name: &str, seconds: u64, key: Option<u64>, then: &str) -> Work {
    Work { name: name.to_owned(), seconds, key, then: then.to_owned() }
}

#[derive(Default)]
struct Office {
    record: Record,
    /// Set by `connect`.
    group: String,
}

impl Office {
    async fn work(&self, socket: &ConcurrentSocket, work: &Work) -> Result<()> {
        let mut running = self.record.begin(&work.name);
        sleep(Duration::from_secs(work.seconds)).await;
        running.ended = true;
        match &*work.then {
            "panic" => panic!("on purpose"),
            "fail" => return Err(Error::other("on purpose")),
            "complain" => return Err(Error::bad_input("on purpose")),
            "close" => socket.close(Close::new(4002, ""))?,
            "misname" => socket.group_add(&work.name).await?,
            "share" => socket.group_send(&self.group, &self::work("shared", 0, None, "")).await?,
            "later" => {
                socket.send_after(Duration::from_secs(5), &self::work("later", 0, None, ""))?;
            }
            _ => {}
        }
        self.record.note(format!("did {}", work.name));
        socket.send_text(&work.name).await
    }
}

impl ConcurrentConsumer for Office {
    type Event = Work;

    const LIMIT: usize = 4;

    fn key(&self, input: HookInput<'_, Work>) -> Option<u64> {
        match input {
            HookInput::Frame(frame) => {
                let work: Work = frame.json().ok()?;
                assert_ne!(work.key, Some(13), "on purpose");
                work.key
            }
            HookInput::Event(work) => work.key,
            _ => None,
        }
    }
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.group = "office".to_owned();
        socket.group_add(&self.group).await?;
        if socket.scope().uri.query() == Some("refused") {
            return Err(Error::Refused(http::StatusCode::IM_A_TEAPOT));
        }
        socket.accept().await
    }
    async fn receive(&self, socket: &ConcurrentSocket, frame: Frame) -> Result<()> {
        self.work(socket, &frame.json()?).await
    }
    async fn event(&self, socket: &ConcurrentSocket, event: &Work) -> Result<()> {
        self.work(socket, event).await
    }
    async fn disconnect(&self, _: &ConcurrentSocket, close: Close) {
        assert_eq!(self.record.running.load(SeqCst), 0, "it runs alone");
        self.record.note(format!("disconnect {}", close.code));
    }
}

fn office() -> (TestApp, Record) {
    let record = Record::default();
    let noted = record.clone();
    let make = move || Office { record: noted.clone(), ..Office::default() };
    (TestApp::new(concurrent(make)), record)
}

async fn client(app: &TestApp) -> WebsocketCommunicator {
    let mut client = app.websocket("/").with_patience(Duration::from_secs(100));
    client.connect().await.unwrap();
    client
}

/// Sends all works at once, and returns the texts that come back, each with its second.
async fn done(works: &[Work]) -> Vec<(u64, String)> {
    let (app, record) = office();
    let mut client = client(&app).await;
    let start = Instant::now();
    for work in works {
        client.send_json_to(work).await;
    }
    let mut done = Vec::new();
    for _ in works {
        let Frame::Text(text) = client.receive_from().await else { panic!("no text") };
        done.push((start.elapsed().as_secs(), text));
    }
    client.disconnect().await;
    assert!(record.most.load(SeqCst) <= Office::LIMIT);
    done
}

#[tokio::test(start_paused = true)]
async fn hooks_overlap_by_key_and_limit() {
    let same = |key| Some(key);
    let cases = [
        ("no key", vec![work("a", 3, None, ""), work("b", 1, None, "")], vec![(1, "b"), (3, "a")]),
        ("one key", vec![work("a", 3, same(1), ""), work("b", 1, same(1), "")], vec![(3, "a"), (4, "b")]),
        (
            "two keys",
            vec![work("a", 3, same(1), ""), work("b", 1, same(1), ""), work("c", 1, same(2), "")],
            vec![(1, "c"), (3, "a"), (4, "b")],
        ),
        (
            "a failure keeps its key",
            vec![work("a", 3, same(1), "complain"), work("b", 1, same(1), "")],
            vec![(3, r#"{"error":"on purpose"}"#), (4, "b")],
        ),
        (
            "the limit",
            (0..6).map(|number| work(&number.to_string(), 2, None, "")).collect(),
            vec![(2, "0"), (2, "1"), (2, "2"), (2, "3"), (4, "4"), (4, "5")],
        ),
        (
            "a key counts while it waits",
            (0..5).map(|number| work(&number.to_string(), 1, Some(number / 4), "")).collect(),
            vec![(1, "0"), (2, "1"), (2, "4"), (3, "2"), (4, "3")],
        ),
        (
            "a client's invalid name",
            vec![work("no name", 1, None, "misname")],
            vec![(1, r#"{"error":"character 2 is not allowed"}"#)],
        ),
    ];
    for (case, works, expected) in cases {
        let mut heard = done(&works).await;
        heard.sort();
        let mut expected: Vec<_> = expected.iter().map(|(time, text)| (*time, (*text).to_owned())).collect();
        expected.sort();
        if case == "a client's invalid name" {
            assert!(heard[0].1.starts_with(r#"{"error":"#), "{heard:?}");
            continue;
        }
        assert_eq!(heard, expected, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_and_frames_overlap() {
    let (app, _) = office();
    let (mut one, mut other) = (client(&app).await, client(&app).await);
    one.send_json_to(&work("slow", 50, None, "")).await;
    other.send_json_to(&work("fast", 0, None, "share")).await;
    one.assert_sent("shared").await;
    other.assert_sent("shared").await;
    one.send_json_to(&work("timed", 0, None, "later")).await;
    one.assert_sent("timed").await;
    one.assert_sent("later").await;
    assert!(one.receive_nothing(Duration::from_secs(1)).await, "still slow");
    one.assert_sent("slow").await;
    one.disconnect().await;
    other.disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn full_consumers_are_not_read() {
    let record = Record::default();
    let noted = record.clone();
    let server = Server::new(concurrent(move || Office { record: noted.clone(), ..Office::default() }));
    let mut pipe = server.connect("/").await;
    let big = work(&"x".repeat(10_000), 30, None, "");
    let big = serde_json::to_string(&big).unwrap();
    // Four are handled, eight wait, and a few fill the pipe.
    let sending = tokio::time::timeout(Duration::from_secs(20), async {
        for _ in 0..40 {
            pipe.send(&big).await;
        }
    });
    assert!(sending.await.is_err(), "the client waits");
    assert_eq!(record.most.load(SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn ends_wait_for_hooks() {
    let (none, slow) = (None, || work("slow", 60, None, ""));
    let cases: [(&str, Vec<Work>, u16, &[&str]); 6] = [
        ("idle", vec![], 1000, &["disconnect 1000"]),
        ("hooks in time", vec![work("a", 5, none, "")], 1000, &["did a", "disconnect 1000"]),
        ("hooks too late", vec![slow()], 1000, &["dropped slow", "disconnect 1000"]),
        (
            "hooks that wait for their key",
            vec![work("a", 3, Some(1), ""), work("b", 3, Some(1), ""), work("c", 9, Some(1), "")],
            1000,
            &["did a", "did b", "dropped c", "disconnect 1000"],
        ),
        (
            "frames that wait for room",
            (0..5).map(|number| work(&number.to_string(), 2, None, "")).collect(),
            1000,
            &["did 0", "did 1", "did 2", "did 3", "did 4", "disconnect 1000"],
        ),
        (
            "a panic in a hook",
            vec![slow(), work("p", 1, none, "panic")],
            1011,
            &["dropped slow", "disconnect 1011"],
        ),
    ];
    for (case, works, code, expected) in cases {
        let (app, record) = office();
        let mut client = client(&app).await;
        for work in &works {
            client.send_json_to(work).await;
        }
        if code == 1000 {
            advance(Duration::from_millis(1)).await;
            let start = Instant::now();
            client.disconnect().await;
            assert!(start.elapsed() <= Duration::from_secs(11), "{case}");
        } else {
            assert_eq!(client.receive_close().await.code, code, "{case}");
            assert!(client.wait().await.is_err(), "{case}");
        }
        assert_eq!(record.taken(), expected, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn ends_by_hooks_drop_what_waits() {
    for (then, code, key) in [("close", 4002, None), ("fail", 1011, None), ("", 1011, Some(13))] {
        let (app, record) = office();
        let mut client = client(&app).await;
        client.send_json_to(&work("long", 4, None, "")).await;
        client.send_json_to(&work("first", 2, Some(1), "")).await;
        client.send_json_to(&work("never", 2, Some(1), "")).await;
        client.send_json_to(&work("ends", 1, key, then)).await;
        let start = Instant::now();
        assert_eq!(client.receive_close().await.code, code, "{then}");
        assert!(start.elapsed() <= Duration::from_secs(1), "the client need not wait");
        let outcome = client.wait().await;
        assert_eq!(outcome.is_ok(), code == 4002, "{then}: {outcome:?}");
        let mut expected = vec!["did ends", "did first", "did long"];
        if code != 4002 {
            expected.remove(0);
        }
        let end = format!("disconnect {code}");
        expected.push(&end);
        assert_eq!(record.taken(), expected, "{then}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_end_at_once() {
    let (app, record) = office();
    let refused = app.websocket("/?refused").connect().await.unwrap_err();
    assert_eq!(refused.status, 418);
    advance(Duration::from_secs(1)).await;
    assert_eq!(record.taken().len(), 1, "disconnect");
}

#[tokio::test(start_paused = true)]
async fn drains_wait_for_concurrent_hooks() {
    let record = Record::default();
    let noted = record.clone();
    let server = Server::new(concurrent(move || Office { record: noted.clone(), ..Office::default() }));
    let mut client = server.connect("/").await;
    let slow = serde_json::to_string(&work("slow", 3, None, "")).unwrap();
    client.send(&slow).await;
    sleep(Duration::from_millis(100)).await;
    let (text, _) = tokio::join!(client.text(), server.service.connections().drain(Drain::going_away()));
    assert_eq!(text, "slow");
    assert_eq!(client.close_code().await, 1001);
    while server.layer.hub().mailbox_count() > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(record.taken(), ["did slow", "disconnect 1001"]);
}

#[tokio::test(start_paused = true)]
async fn concurrent_consumers_have_sessions() {
    for transport in ALL {
        let layer = Arc::new(MemoryLayer::default());
        let server =
            Server::with_sessions(concurrent(Office::default), &layer, Resume::default(), Limits::default());
        let mut client = SessionClient::connected(&server.service, "/", transport).await;
        client.send(serde_json::to_string(&work("slow", 5, None, "")).unwrap()).await;
        sleep(Duration::from_secs(1)).await;
        client.cut();
        let report = layer.group_send_event("office", &work("missed", 0, None, "")).await.unwrap();
        assert_eq!(report.local.delivered, 1);
        sleep(Duration::from_secs(10)).await;
        client.connect(transport).await.unwrap();
        for name in ["missed", "slow"] {
            assert_eq!(client.next().await.unwrap(), Heard::Frame(name.into()), "{transport:?}");
        }
    }
}

// ---- code that blocks

/// Without a paused clock: threads are not paused.
#[tokio::test]
async fn pools_are_bounded() {
    let pool = BlockingPool::new(1).with_timeout(Duration::from_millis(20));
    let (release, held) = mpsc::channel::<()>();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let busy = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(move || (begun.send(()), held.recv())).await }
    });
    begins.await.unwrap();
    assert_eq!(pool.free(), 0);
    // The hook is gone; its code is not.
    busy.abort();
    assert!(busy.await.unwrap_err().is_cancelled());
    let refused = pool.run(|| panic!("it must not run")).await.unwrap_err();
    assert!(matches!(&refused, Error::Overloaded(error) if error.is::<PoolFullError>()), "{refused}");
    release.send(()).unwrap();
    let pool = pool.with_timeout(Duration::from_secs(60));
    assert!(matches!(pool.run(|| panic!("on purpose")).await, Err::<(), _>(Error::Panic(_))));
    assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    assert_eq!(pool.free(), 1);
}
