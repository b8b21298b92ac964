//! Timers of a connection.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use channel_layer::MemoryLayer;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use ws_consumer::{
    Consumer, Exchange, Frame, HttpConsumer, Limits, Result, Resume, Socket, TimerId, consumer,
    http_consumer,
    testing::{TestApp, advance},
};

use crate::support::{
    Server,
    sessions::{ALL, Heard, SessionClient},
};

#[derive(Deserialize, Serialize)]
#[serde(tag = "type", rename = "tick")]
struct Tick {
    name: String,
}

/// Starts the timers that its client asks for, and sends the names of its ticks.
#[derive(Default)]
struct Clockwork {
    timers: Vec<TimerId>,
    ticks: Arc<AtomicUsize>,
}

#[derive(Clone, Deserialize, Serialize)]
enum Order {
    After(u64, String),
    Every(u64, String),
    Message(Value),
    Cancel(usize),
    Busy(u64),
}
use Order::{After, Busy, Cancel, Every};

fn after(time: u64, name: &str) -> Order {
    After(time, name.to_owned())
}

fn every(time: u64, name: &str) -> Order {
    Every(time, name.to_owned())
}

fn tick(name: &str) -> Tick {
    Tick { name: name.to_owned() }
}

impl Clockwork {
    async fn obey(&mut self, socket: &mut Socket, order: Order) -> Result<()> {
        let set = match order {
            After(time, name) => socket.send_after(Duration::from_millis(time), &tick(&name)),
            Every(time, name) => socket.every(Duration::from_millis(time), &tick(&name)),
            Order::Message(message) => socket.send_after(Duration::from_millis(10), &message),
            Cancel(number) => {
                let was_set = socket.cancel_timer(self.timers[number]);
                return socket.send_text(format!("cancelled {was_set}")).await;
            }
            Busy(time) => {
                sleep(Duration::from_millis(time)).await;
                return Ok(());
            }
        };
        match set {
            Ok(timer) => self.timers.push(timer),
            Err(error) => socket.send_text(error.to_string()).await?,
        }
        Ok(())
    }
}

impl Consumer for Clockwork {
    type Event = Tick;

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        for order in frame.json::<Vec<Order>>()? {
            self.obey(socket, order).await?;
        }
        Ok(())
    }

    async fn event(&mut self, socket: &mut Socket, Tick { name }: &Tick) -> Result<()> {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        if name == "again" {
            socket.send_after(Duration::ZERO, &tick("again"))?;
            return Ok(());
        }
        socket.send_text(name).await?;
        if name == "slow" {
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

/// Returns what the client hears in the 950 ms after its orders, with the times in units of 10 ms.
async fn heard(orders: &[&[Order]]) -> Vec<(u128, String)> {
    let mut client = TestApp::new(consumer(Clockwork::default)).websocket("/");
    client.connect().await.unwrap();
    let (start, end) = (Instant::now(), Instant::now() + Duration::from_millis(950));
    for orders in orders {
        client.send_json_to(orders).await;
    }
    let mut heard = Vec::new();
    while !client.receive_nothing(end - Instant::now()).await {
        let Frame::Text(text) = client.receive_from().await else { panic!("no text") };
        heard.push((start.elapsed().as_millis() / 10, text));
    }
    client.disconnect().await;
    heard
}

#[tokio::test(start_paused = true)]
async fn timers_keep_their_times() {
    type Case<'a> = (&'a str, &'a [&'a [Order]], &'a [(u128, &'a str)]);
    let cases: &[Case<'_>] = &[
        (
            "by time",
            &[&[after(200, "b"), after(100, "a"), after(100, "aa")]],
            &[(10, "a"), (10, "aa"), (20, "b")],
        ),
        ("zero waits for the hook", &[&[after(0, "z"), Busy(50)]], &[(5, "z")]),
        ("beyond the clock", &[&[after(u64::MAX, "never"), every(u64::MAX, "never")]], &[]),
        ("repeated", &[&[every(300, "e")]], &[(30, "e"), (60, "e"), (90, "e")]),
        ("missed ticks are one", &[&[every(200, "e"), Busy(650)]], &[(65, "e"), (80, "e")]),
        (
            "a slow tick skips",
            &[&[every(60, "slow"), after(500, "x")], &[Busy(0)]],
            &[
                (6, "slow"),
                (16, "slow"),
                (26, "slow"),
                (36, "slow"),
                (46, "slow"),
                (56, "slow"),
                (66, "x"),
                (66, "slow"),
                (76, "slow"),
                (86, "slow"),
            ],
        ),
        (
            "cancelled",
            &[&[after(100, "a"), every(100, "e")], &[Cancel(0), Cancel(1), Cancel(1)]],
            &[(0, "cancelled true"), (0, "cancelled true"), (0, "cancelled false")],
        ),
        ("cancelled when due", &[&[after(10, "a"), Busy(50), Cancel(0)]], &[(5, "cancelled true")]),
        (
            "cancelled too late",
            &[&[after(10, "a")], &[Busy(50)], &[Cancel(0)]],
            &[(5, "a"), (5, "cancelled false")],
        ),
        ("no period", &[&[every(0, "e")]], &[(0, "the period of a timer is zero")]),
        (
            "ready bytes",
            &[&[Order::Message(json!({ "type": "websocket.send", "text": "raw" }))]],
            &[(1, "raw")],
        ),
    ];
    for (case, orders, expected) in cases {
        let heard = heard(orders).await;
        let heard: Vec<_> = heard.iter().map(|(time, text)| (*time, text.as_str())).collect();
        assert_eq!(&heard, expected, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn timers_are_bounded() {
    let mut client = TestApp::new(consumer(Clockwork::default)).websocket("/");
    client.connect().await.unwrap();
    client.send_json_to(&vec![after(100, "x"); 257]).await;
    client.assert_sent("the connection has 256 timers already").await;
    client.send_json_to(&[Cancel(255), after(50, "fits"), after(50, "not")]).await;
    client.assert_sent("cancelled true").await;
    client.assert_sent("the connection has 256 timers already").await;
    client.assert_sent("fits").await;
    client.disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn timers_may_close() {
    let mut client = TestApp::new(consumer(Clockwork::default)).websocket("/");
    client.connect().await.unwrap();
    client.send_json_to(&[Order::Message(json!({ "type": "websocket.close", "code": 4001 }))]).await;
    assert_eq!(client.receive_close().await.code, 4001);
    client.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn timers_end_with_the_connection() {
    let ticks = Arc::new(AtomicUsize::new(0));
    let counted = ticks.clone();
    let clockwork = move || Clockwork { ticks: counted.clone(), ..Clockwork::default() };
    let mut client = TestApp::new(consumer(clockwork)).websocket("/");
    client.connect().await.unwrap();
    client.send_json_to(&[every(100, "e"), after(5000, "a")]).await;
    client.assert_sent("e").await;
    client.disconnect().await;
    advance(Duration::from_secs(60)).await;
    assert_eq!(ticks.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn timers_leave_turns_to_others() {
    let server = Server::new(consumer(Clockwork::default));
    let mut client = server.connect("/").await;
    client.send(r#"[{"After": [0, "again"]}]"#).await;
    client.send(r#"[{"After": [0, "mine"]}]"#).await;
    assert_eq!(client.text().await, "mine");
    client.leave().await;
}

#[tokio::test(start_paused = true)]
async fn timers_go_on_while_away() {
    for transport in ALL {
        let layer = Arc::new(MemoryLayer::default());
        let application = consumer(Clockwork::default);
        let server = Server::with_sessions(application, &layer, Resume::default(), Limits::default());
        let mut client = SessionClient::connected(&server.service, "/", transport).await;
        client.send(r#"[{"After": [100, "first"]}, {"After": [5000, "second"]}]"#).await;
        assert_eq!(client.next().await.unwrap(), Heard::Frame("first".into()));
        client.cut();
        sleep(Duration::from_secs(10)).await;
        client.connect(transport).await.unwrap();
        assert_eq!(client.next().await.unwrap(), Heard::Frame("second".into()), "{transport:?}");
    }
}

/// A long poll that gives up after five seconds.
#[derive(Default)]
struct Poll;

impl HttpConsumer for Poll {
    type Event = Tick;

    async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
        exchange.send_after(Duration::from_secs(5), &tick("over"))?;
        Ok(())
    }
    async fn event(&mut self, exchange: &mut Exchange, _: &Tick) -> Result<()> {
        exchange.send_response(StatusCode::NO_CONTENT, "").await
    }
}

#[tokio::test(start_paused = true)]
async fn requests_have_timers() {
    let start = Instant::now();
    let app = TestApp::new(http_consumer(Poll::default));
    let response = app.http("GET", "/").with_patience(Duration::from_secs(60)).get_response().await;
    assert_eq!((response.status(), start.elapsed().as_secs()), (StatusCode::NO_CONTENT, 5));
}
