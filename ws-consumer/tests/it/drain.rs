//! The work that a stopping server finishes: requests under way, and messages that members have sent.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use channel_layer::{ChannelLayer, MemoryLayer, Message};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_tungstenite::tungstenite::Message as Text;
use tower_service::Service;
use ws_consumer::{
    Consumer, Drain, Exchange, Frame, HttpConsumer, NoEvents, Protocols, Result, Resume, Router, Socket,
    SocketService, exchange, serve_connection,
};

use crate::support::{
    Client, Server,
    distant::Distant,
    sessions::{ALL, Heard, SessionClient},
    timed,
};

// ---- requests under way

#[derive(Default)]
struct Slow(u64);

impl HttpConsumer for Slow {
    type Event = NoEvents;

    async fn handle(&mut self, exchange: &mut Exchange, body: Bytes) -> Result<()> {
        sleep(Duration::from_secs(self.0)).await;
        exchange.send_response(StatusCode::OK, format!("done {}", body.len())).await
    }
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type")]
enum Built {
    #[serde(rename = "report.built")]
    Built,
}

/// A request that is answered after another task has done the work.
#[derive(Default)]
struct Report;

impl HttpConsumer for Report {
    type Event = Built;

    async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
        let (channel, layer) = (exchange.channel().await?.clone(), exchange.layer().clone());
        tokio::spawn(async move {
            sleep(Duration::from_secs(2)).await;
            layer.send(&channel, Message::encode(&Built::Built).unwrap()).await
        });
        Ok(())
    }

    async fn event(&mut self, exchange: &mut Exchange, _: &Built) -> Result<()> {
        exchange.send_response(StatusCode::OK, "built").await
    }
}

async fn streams(mut exchange: Exchange) -> Result<()> {
    let parts: u64 = exchange.scope().params()?;
    exchange.send_headers(StatusCode::OK).await?;
    for part in 1..=parts {
        sleep(Duration::from_millis(500)).await;
        exchange.send_body(format!("part {part}."), part < parts).await?;
    }
    Ok(())
}

fn requests() -> SocketService<ws_consumer::NotFound> {
    let router = Router::new()
        .http("/slow", || Slow(2))
        .http("/stuck", || Slow(60))
        .http("/quick", Slow::default)
        .http("/report", Report::default)
        .application("/streams/{parts:int}", exchange(streams));
    Protocols::new().requests(router).into_service(Arc::new(MemoryLayer::default()) as Arc<dyn ChannelLayer>)
}

fn pipe(service: &SocketService<ws_consumer::NotFound>) -> DuplexStream {
    let (client, server) = duplex(64 << 10);
    tokio::spawn(serve_connection(server, service.clone()));
    client
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

/// Returns the answer to bytes sent at once, and a second later, on a connection that the server begins to end in between.
async fn drained(at_once: &str, later: &str) -> (String, Duration) {
    let service = requests();
    let mut client = pipe(&service);
    client.write_all(at_once.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    let closing = {
        let drain = Drain::going_away().requests_within(Duration::from_secs(5));
        let sockets = service.connections().clone();
        tokio::spawn(async move { sockets.drain(drain).await })
    };
    sleep(Duration::from_secs(1)).await;
    client.write_all(later.as_bytes()).await.unwrap();
    timed(closing).await.unwrap();
    let (took, mut answers) = (began.elapsed(), Vec::new());
    // The output so far, and a little more: the connection may be kept for further requests.
    _ = tokio::time::timeout(Duration::from_secs(1), client.read_to_end(&mut answers)).await;
    (String::from_utf8(answers).unwrap(), took)
}

#[tokio::test(start_paused = true)]
async fn drain_answers_current_requests() {
    let post = "POST /quick HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n12345";
    let chunked = "POST /quick HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n2\r\n12\r\n";
    for (at_once, later, ends, seconds) in [
        (get("/slow"), "", "done 0", 2),
        (get("/report"), "", "built", 2),
        (get("/streams/6"), "", "part 6.\r\n0\r\n\r\n", 3),
        (post.to_owned(), "67890", "done 10", 1),
        (chunked.to_owned(), "3\r\n345\r\n0\r\n\r\n", "done 5", 1),
    ] {
        let (answers, took) = drained(&at_once, later).await;
        assert!(answers.starts_with("HTTP/1.1 200") && answers.ends_with(ends), "{at_once}: {answers}");
        assert_eq!(took.as_millis().div_ceil(1000), seconds, "{at_once}");
    }
}

#[tokio::test(start_paused = true)]
async fn drain_breaks_off_late_work() {
    let (answers, took) = drained(&get("/stuck"), "").await;
    assert!(answers.starts_with("HTTP/1.1 503"), "{answers}");
    assert_eq!(took.as_secs(), 15, "the handler had its grace");
    let (answers, _) = drained(&get("/streams/1000"), "").await;
    assert!(answers.starts_with("HTTP/1.1 200") && answers.contains("part 9."), "{answers}");
    assert!(!answers.ends_with("0\r\n\r\n"), "half a response is none");
    let half = "POST /quick HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n12345";
    assert!(drained(half, "").await.0.starts_with("HTTP/1.1 503"));
}

#[tokio::test(start_paused = true)]
async fn drain_refuses_new_requests() {
    // After one that is in progress, and during it.
    for (at_once, later) in [(get("/slow") + &get("/slow"), String::new()), (get("/slow"), get("/slow"))] {
        let (answers, _) = drained(&at_once, &later).await;
        let (first, second) = answers.split_at(answers.rfind("HTTP/1.1").unwrap());
        assert!(first.starts_with("HTTP/1.1 200") && first.ends_with("done 0"), "{answers}");
        assert!(second.starts_with("HTTP/1.1 503") && second.contains("connection: close"), "{answers}");
    }
}

#[tokio::test(start_paused = true)]
async fn drain_answers_http2_requests() {
    let service = requests();
    let (near, far) = duplex(64 << 10);
    let answering = service.clone();
    let respond = service_fn(move |request: http::Request<Incoming>| answering.clone().call(request));
    tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(far), respond));
    let (sender, connection) =
        timed(hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near))).await.unwrap();
    tokio::spawn(connection);
    let get = |path: &str| {
        let request = http::Request::get(format!("http://test{path}")).body(Empty::<Bytes>::new()).unwrap();
        let mut sender = sender.clone();
        async move {
            let response = sender.send_request(request).await.unwrap();
            let status = response.status().as_u16();
            (status, response.into_body().collect().await.unwrap().to_bytes())
        }
    };
    let late = async {
        sleep(Duration::from_millis(100)).await;
        tokio::join!(service.connections().close(), async {
            sleep(Duration::from_millis(100)).await;
            get("/quick").await
        })
    };
    let (slow, parts, ((), late)) =
        timed(async { tokio::join!(get("/slow"), get("/streams/6"), late) }).await;
    assert_eq!((slow.0, &slow.1[..]), (200, &b"done 0"[..]));
    assert!(parts.1.ends_with(b"part 6."));
    assert_eq!(late.0, 503);
}

#[tokio::test]
async fn drain_covers_all_listeners() {
    let service = {
        let slow = exchange(|mut exchange: Exchange| async move {
            sleep(Duration::from_millis(60)).await;
            exchange.send_response(StatusCode::OK, "done").await
        });
        let router = Router::new().application("/slow", slow);
        Protocols::new()
            .requests(router)
            .into_service(Arc::new(MemoryLayer::default()) as Arc<dyn ChannelLayer>)
    };
    let listeners = [
        ws_consumer::listen("127.0.0.1:0").await.unwrap(),
        ws_consumer::listen("127.0.0.1:0").await.unwrap(),
    ];
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let [first, second] = listeners;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = ws_consumer::serve(first, service.clone())
        .with_listener(second)
        .with_graceful_shutdown(async { _ = stopped.await });
    let server = tokio::spawn(server.into_future());
    let mut clients = JoinSet::new();
    for address in addresses {
        clients.spawn(async move {
            let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
            client.write_all((get("/slow") + &get("/slow")).as_bytes()).await.unwrap();
            let mut answers = String::new();
            client.read_to_string(&mut answers).await.unwrap();
            answers
        });
    }
    while service.connections().len() < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    drop(stop);
    for answers in timed(clients.join_all()).await {
        assert!(answers.starts_with("HTTP/1.1 200") && answers.contains("done"), "{answers}");
        assert!(
            answers.contains("HTTP/1.1 503"),
            "what was sent behind it is refused, not dropped: {answers}"
        );
    }
    timed(server).await.unwrap().unwrap();
}

// ---- messages of members

#[derive(Default)]
struct Room {
    work: u64,
    frames: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Said {
    #[serde(rename = "room.said")]
    Said { text: String },
}

impl Consumer for Room {
    type Event = Said;
    const GROUPS: &'static [&'static str] = &["room"];

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        sleep(Duration::from_millis(self.work)).await;
        let text = frame.text()?.to_owned();
        match self.frames {
            true => socket.group_send_json("room", &text).await,
            false => socket.group_send("room", &Said::Said { text }).await,
        }
    }

    async fn event(&mut self, socket: &mut Socket, event: &Said) -> Result<()> {
        let Said::Said { text } = event;
        socket.send_json(text).await
    }
}

fn room(work: u64, frames: bool, away: u64) -> Server {
    let inner = Arc::new(MemoryLayer::default());
    let layer: Arc<dyn ChannelLayer> = match away {
        0 => inner.clone(),
        away => Arc::new(Distant { inner: inner.clone(), away: Duration::from_millis(away) }),
    };
    let router = Router::new().consumer("/", move || Room { work, frames });
    let protocols = Protocols::new().websocket(router).resume(Resume::default());
    Server { layer: inner, service: protocols.into_service(layer) }
}

/// Sends every few milliseconds until the end, and keeps the received frames.
async fn chatters(number: usize, client: Client) -> (Vec<String>, u16) {
    let (mut sink, mut stream) = client.socket.split();
    let says = tokio::spawn(async move {
        for said in 0.. {
            if sink.send(Text::text(format!("{number}: {said}"))).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(30)).await;
        }
    });
    let (mut heard, mut code) = (Vec::new(), 1006);
    while let Some(Ok(message)) = timed(stream.next()).await {
        match message {
            Text::Text(text) => heard.push(text.as_str().to_owned()),
            Text::Close(close) => code = close.map_or(1005, |close| close.code.into()),
            _ => {}
        }
    }
    says.abort();
    (heard, code)
}

#[tokio::test(start_paused = true)]
async fn drain_delivers_to_all_or_none() {
    let spread = Drain::restart().over(Duration::from_millis(500));
    for (work, frames, away, drain) in [
        (0, false, 0, Drain::going_away()),
        (0, true, 0, Drain::going_away()),
        (20, false, 0, Drain::going_away()),
        (20, true, 0, Drain::from(4000)),
        (0, false, 0, spread.clone()),
        (20, true, 0, spread.clone()),
        (0, false, 200, Drain::going_away()),
        (20, true, 30, Drain::going_away()),
        (20, false, 50, spread),
    ] {
        let server = room(work, frames, away);
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(server.connect("/").await);
        }
        let mut members = JoinSet::new();
        for (number, client) in clients.into_iter().enumerate() {
            members.spawn(chatters(number, client));
        }
        sleep(Duration::from_millis(400)).await;
        timed(server.service.connections().drain(drain)).await;
        let heard = members.join_all().await;
        let most: BTreeSet<_> = heard.iter().flat_map(|(texts, _)| texts).collect();
        let missed: usize = heard.iter().map(|(texts, _)| most.len() - texts.len()).sum();
        let what = format!("work {work}, frames {frames}, away {away}");
        assert_eq!(missed, 0, "{what}: of {}", most.len());
        assert!(most.len() >= 80, "{what}: {}", most.len());
        assert!(heard.iter().all(|(_, code)| *code == heard[0].1 && *code != 1006), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn spread_closes_drop_late_frames() {
    let server = room(0, false, 0);
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(server.connect("/").await);
    }
    let (sockets, minute) = (server.service.connections().clone(), Duration::from_secs(60));
    let drain = tokio::spawn(async move { sockets.drain(Drain::restart().over(minute)).await });
    let began = Instant::now();
    let quiet: Vec<_> = clients
        .drain(2..)
        .map(|mut client| tokio::spawn(async move { (client.close_code().await, Instant::now()) }))
        .collect();
    sleep(Duration::from_secs(1)).await;
    let mut told = 0;
    for mut client in clients {
        // One of them may have had its turn.
        if timed(client.socket.send(Text::text("too late"))).await.is_ok() {
            assert_eq!(client.close_code().await, 1012);
            told += 1;
        }
    }
    assert!(told > 0 && began.elapsed() < Duration::from_secs(2), "{told} after {:?}", began.elapsed());
    let mut last = began;
    for client in quiet {
        let (code, at) = timed(client).await.unwrap();
        assert_eq!(code, 1012, "they answer pings, and nothing was said to them");
        last = last.max(at);
    }
    // The order is random: the two that spoke may have been the last of the twelve.
    assert!(last - began > Duration::from_secs(40), "{:?}", last - began);
    timed(drain).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn cancelled_drain_resumes_input() {
    for (after, left) in [(1, 3), (1_000, 2)] {
        let server = room(100, false, 0);
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(server.connect("/").await);
        }
        clients[0].send("one").await;
        sleep(Duration::from_millis(1)).await;
        let (sockets, drain) = (server.service.connections(), Drain::restart().over(Duration::from_secs(60)));
        let given_up = tokio::time::timeout(Duration::from_millis(after), sockets.drain(drain)).await;
        assert!(given_up.is_err());
        let mut open = Vec::new();
        for mut client in clients {
            assert_eq!(client.text().await, "\"one\"", "after {after} ms");
            if tokio::time::timeout(Duration::from_millis(10), client.socket.next()).await.is_err() {
                open.push(client);
            }
        }
        assert_eq!(open.len(), left);
        open[0].send("two").await;
        for client in &mut open {
            assert_eq!(client.text().await, "\"two\"", "after {after} ms");
        }
        assert_eq!(server.refusal("/").await, 503);
    }
}

#[tokio::test(start_paused = true)]
async fn drained_sessions_acknowledge_nothing() {
    for transport in ALL {
        for drain in [Drain::going_away(), Drain::restart().over(Duration::from_secs(60))] {
            // One hook is busy, so that the drain is in its first part for a while.
            let server = room(500, false, 0);
            let mut busy = server.connect("/").await;
            let mut client = timed(SessionClient::connected(&server.service, "/", transport)).await;
            busy.send("busy").await;
            sleep(Duration::from_millis(10)).await;
            let sockets = server.service.connections().clone();
            let drained = tokio::spawn(async move { sockets.drain(drain).await });
            sleep(Duration::from_millis(100)).await;
            let before = client.acked;
            let busy = tokio::spawn(async move { (busy.text().await, busy.close_code().await) });
            timed(client.send("too late")).await;
            let heard = async {
                let mut heard = Vec::new();
                while let Ok(next) = client.next().await {
                    heard.push(next);
                    if matches!(heard.last(), Some(Heard::Close(..))) {
                        break;
                    }
                }
                heard
            };
            let heard = timed(heard).await;
            assert!(!format!("{heard:?}").contains("too late"), "{transport:?}: {heard:?}");
            assert!(format!("{heard:?}").contains("busy"), "{transport:?}: {heard:?}");
            assert_eq!(client.acked, before, "{transport:?}");
            assert_eq!(timed(busy).await.unwrap().0, "\"busy\"");
            timed(drained).await.unwrap();
        }
    }
}
