//! Carriers of a session change, within a process or between processes: no frame is lost, and no state is left behind.

use std::{sync::Arc, time::Duration};

use crate::support::{
    HANDSHAKE, Server,
    diary::Diary,
    sessions::{ALL, Fault, Heard, SessionClient},
    timed,
};
use channel_layer::{ChannelLayerExt, MemoryLayer};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep, timeout},
};
use ws_consumer::{
    Close, Consumer, Drain, Frame, Limits, NoEvents, Refuse, Result, Resume, Router, Socket, Transport,
    middleware::{Guard, GuardRequest},
};

/// Records its frames, some of them slowly.
struct Notes(Diary);

impl Consumer for Notes {
    type Event = NoEvents;
    const GROUPS: &'static [&'static str] = &["all"];

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let text = frame.text()?;
        match text.split_once(' ').unwrap_or((text, "")) {
            ("wait", ms) => sleep(Duration::from_millis(ms.parse().expect("a number"))).await,
            ("end", n) => {
                for i in 0..n.parse().expect("a number") {
                    socket.send(format!("{i}")).await?;
                }
                return socket.close(4001).await;
            }
            _ => {}
        }
        self.0.note(text.to_owned());
        Ok(())
    }

    async fn disconnect(&mut self, _: &mut Socket, close: Close) {
        self.0.note(format!("disconnect {}", close.code));
    }
}

struct Stage {
    server: Server,
    diary: Diary,
}

impl Stage {
    fn new() -> Self {
        Self::on(&Arc::new(MemoryLayer::default()))
    }

    fn on(layer: &Arc<MemoryLayer>) -> Self {
        Self::with(layer, Resume::default())
    }

    fn with(layer: &Arc<MemoryLayer>, transports: Resume) -> Self {
        let diary = Diary::default();
        let [open, guarded] = [(); 2].map(|()| {
            let noted = diary.clone();
            Router::new().consumer("/", move || Notes(noted.clone()))
        });
        let router = Router::new().mount("/open", open).mount("/guarded", NotEve.around(guarded));
        let server = Server::with_sessions(router, layer, transports, Limits::default());
        Self { server, diary }
    }

    async fn client(&self, transport: Transport) -> SessionClient {
        timed(SessionClient::connected(&self.server.service, "/open/", transport)).await
    }

    async fn is_left(&self) -> bool {
        let left = async {
            while !self.server.service.connections().is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(120), left).await.is_ok()
    }
}

struct NotEve;

impl Guard for NotEve {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        match request.header("cookie") {
            Some("eve") => Err(http::StatusCode::FORBIDDEN.into()),
            _ => Ok(()),
        }
    }
}

/// A session of one process, carried by another.
async fn away(transport: Transport) -> (Stage, Stage, SessionClient) {
    let layer = Arc::new(MemoryLayer::default());
    let (home, away) = (Stage::on(&layer), Stage::on(&layer));
    let mut client = home.client(transport).await;
    client.cut();
    client.moves_to(&away.server.service);
    timed(client.connect(transport)).await.expect("let in");
    assert_eq!(client.open["resumed"], true);
    (home, away, client)
}

#[tokio::test(start_paused = true)]
async fn socket_carriers_use_pings() {
    for before in ALL {
        let stage = Stage::new();
        let mut client = stage.client(before).await;
        client.send("x").await;
        let former = client.token.clone();
        timed(client.connect(Transport::WebSocket)).await.unwrap();
        // Frames of the previous carrier may arrive late.
        let late = json!({ "token": former, "cursor": 0, "mode": "send" });
        assert_eq!(timed(client.post(late, &[])).await.unwrap().0, 200);
        let heard = timeout(Duration::from_secs(300), client.next()).await;
        assert!(heard.is_err(), "{before:?}: {heard:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn silent_streams_are_found() {
    let (home, _away, mut client) = away(Transport::EventStream).await;
    client.send("x").await;
    let began = Instant::now();
    assert_eq!(home.diary.grows_to(1).await, ["x"]);
    timed(async {
        while home.diary.all().len() < 2 {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let (limits, transports) = (Limits::default(), Resume::default());
    let latest = limits.ping_interval + limits.ping_timeout + transports.poll_timeout + transports.ttl;
    assert!(began.elapsed() <= latest + Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(home.diary.all(), ["x", "disconnect 1006"]);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn remote_streams_live_with_their_client() {
    let (home, _away, mut client) = away(Transport::EventStream).await;
    for i in 0..30 {
        client.send(format!("{i}")).await;
        sleep(Duration::from_secs(15)).await;
    }
    assert_eq!(home.diary.all().len(), 30);
    assert!(!client.is_cut());
}

#[tokio::test(start_paused = true)]
async fn refused_resumption_holds_nothing() {
    for mode in ["long-poll", "poll"] {
        let stage = Stage::new();
        let client = stage.client(Transport::LongPoll).await;
        let asked = json!({ "token": client.token, "cursor": 0, "first": 9, "mode": mode, "resume": true });
        assert_eq!(timed(client.post(asked, &[Frame::from("x")])).await.unwrap().0, 409);
        assert!(stage.is_left().await, "{mode}");
        assert_eq!(stage.diary.all(), ["disconnect 1006"]);
    }
}

#[tokio::test(start_paused = true)]
async fn abandoned_resumption_holds_nothing() {
    let stage = Stage::new();
    let mut client = stage.client(Transport::LongPoll).await;
    client.send("wait 5000").await;
    let asked =
        json!({ "token": client.token, "cursor": 0, "first": 2, "mode": "long-poll", "resume": true });
    let frames = vec![Frame::from("x"); 100];
    assert!(timeout(Duration::from_secs(1), client.post(asked, &frames)).await.is_err());
    assert!(stage.is_left().await);
    assert_eq!(stage.diary.all().last().unwrap(), "disconnect 1006");
}

#[tokio::test(start_paused = true)]
async fn close_arrives_last() {
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(transport).await;
        client.send("end 3000").await;
        sleep(Duration::from_secs(5)).await;
        for i in 0..3000 {
            assert_eq!(timed(client.text()).await, format!("{i}"), "{transport:?}");
        }
        assert_eq!(timed(client.next()).await.unwrap(), Heard::Close(4001, String::new()), "{transport:?}");
        assert_eq!(stage.diary.grows_to(1).await, ["disconnect 4001"]);
    }
}

#[tokio::test(start_paused = true)]
async fn frames_before_close_are_handled() {
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(transport).await;
        let expected: Vec<_> = (0..50).map(|i| format!("{i}")).collect();
        if transport == Transport::WebSocket {
            for text in &expected {
                client.send(text.as_str()).await;
            }
            timed(client.close(4009)).await;
        } else {
            let close = json!({ "code": 4009, "reason": "" });
            let asked = json!({ "token": client.token, "first": 1, "mode": "send", "close": close });
            let frames: Vec<_> = expected.iter().map(|text| Frame::from(text.as_str())).collect();
            assert_eq!(timed(client.post(asked, &frames)).await.unwrap().0, 200);
        }
        let noted = stage.diary.grows_to(51).await;
        assert_eq!(noted, [expected, vec!["disconnect 4009".to_owned()]].concat(), "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn drain_handles_acknowledged_frames() {
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(transport).await;
        client.send("wait 100").await;
        for _ in 1..50 {
            client.send("x").await;
        }
        sleep(Duration::from_millis(10)).await;
        timed(stage.server.service.connections().drain(Drain::restart())).await;
        let noted = stage.diary.all();
        let last = noted.last().map(String::as_str);
        assert_eq!((noted.len(), last), (51, Some("disconnect 1012")), "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn process_exit_ends_only_its_sessions() {
    for transport in ALL {
        for drain in [Drain::restart(), Drain::going_away(), Drain::from(4000)] {
            let (home, away, mut client) = away(transport).await;
            let sockets = away.server.service.connections().clone();
            tokio::spawn(async move { sockets.drain(drain).await });
            // Waiting clients get an answer sooner than a server gives up on them.
            let told = async {
                if !matches!(transport, Transport::Poll | Transport::LongPoll) {
                    while !client.is_cut() {
                        let _ended = client.next().await;
                    }
                }
            };
            timeout(Duration::from_secs(5), told).await.unwrap_or_else(|_| panic!("{transport:?}"));
            client.moves_to(&home.server.service);
            timed(client.connect(transport)).await.unwrap();
            assert_eq!(client.open["resumed"], true, "{transport:?}");
            assert!(home.diary.all().is_empty(), "{:?}", home.diary.all());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn remote_polls_do_not_delay_a_drain() {
    let (_home, away, client) = away(Transport::LongPoll).await;
    let asked = || json!({ "token": client.token, "cursor": 0, "mode": "long-poll" });
    let sockets = away.server.service.connections().clone();
    let drain = async move {
        sleep(Duration::from_secs(1)).await;
        sockets.drain(Drain::going_away()).await;
    };
    let began = Instant::now();
    let (answer, ()) = tokio::join!(client.post(asked(), &[]), drain);
    assert_eq!(answer.unwrap().0, 200);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(timed(client.post(asked(), &[])).await.unwrap().0, 503);
}

#[tokio::test(start_paused = true)]
async fn sessions_are_bound_to_their_path() {
    let layer = Arc::new(MemoryLayer::default());
    let stages = [Stage::on(&layer), Stage::on(&layer)];
    for stage in &stages {
        for transport in ALL {
            let eve = || ("cookie", "eve".to_owned());
            let guarded = SessionClient::connected(&stages[0].server.service, "/guarded/", transport);
            let mut client = timed(guarded).await;
            client.moves_to(&stage.server.service);
            client.headers.push(eve());
            assert!(matches!(timed(client.connect(transport)).await, Err(Fault::Status(403))));
            // Where she is let in there is another session.
            let mut other = SessionClient::new(&stage.server.service, "/open/");
            other.headers.push(eve());
            other.token = client.token.clone();
            for mode in ["poll", "send"] {
                let asked = json!({ "token": client.token, "cursor": 0, "mode": mode });
                assert_eq!(timed(other.post(asked, &[])).await.unwrap().0, 410, "{transport:?}");
            }
            timed(other.connect(transport)).await.unwrap();
            assert_eq!(other.open["resumed"], false, "{transport:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn consecutive_gaps_merge() {
    for transport in ALL {
        let mut transports = Resume::default();
        transports.log_messages = 2;
        let stage = Stage::with(&Arc::new(MemoryLayer::default()), transports);
        let mut client = stage.client(Transport::EventStream).await;
        client.cut();
        sleep(Duration::from_secs(1)).await;
        // More than the mailbox holds, and then one that fits.
        while stage.server.layer.group_send_text("all", "x").await.unwrap().local.full == 0 {}
        sleep(Duration::from_secs(1)).await;
        let _report = stage.server.layer.group_send_text("all", "after").await.unwrap();
        sleep(Duration::from_secs(1)).await;
        timed(client.connect(transport)).await.unwrap();
        // The client checks the numbers.
        let heard = loop {
            match timed(client.next()).await.unwrap() {
                Heard::Gap(_) => {}
                heard => break heard,
            }
        };
        assert_eq!(heard, Heard::Frame("after".into()), "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn long_polls_respect_silence_limits() {
    let mut transports = Resume::default();
    transports.poll_timeout = Duration::from_secs(600);
    let stage = Stage::with(&Arc::new(MemoryLayer::default()), transports);
    let client = stage.client(Transport::LongPoll).await;
    let asked = json!({ "token": client.token, "cursor": 0, "mode": "long-poll" });
    let began = Instant::now();
    assert_eq!(timed(client.post(asked, &[])).await.unwrap().0, 200);
    assert!(began.elapsed() <= Limits::default().ping_interval + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn unlimited_messages_are_taken() {
    let mut limits = Limits::default();
    limits.max_message_size = usize::MAX;
    let router = Router::new().consumer("/open/", || Notes(Diary::default()));
    let layer = Arc::new(MemoryLayer::default());
    let server = Server::with_sessions(router, &layer, Resume::default(), limits);
    let client = timed(SessionClient::connected(&server.service, "/open/", Transport::LongPoll)).await;
    let asked = json!({ "token": client.token, "first": 1, "mode": "send" });
    assert_eq!(timed(client.post(asked, &[Frame::from("x".repeat(100_000))])).await.unwrap().0, 200);
}

#[tokio::test(start_paused = true)]
async fn tokens_die_across_processes() {
    for transport in ALL {
        let layer = Arc::new(MemoryLayer::default());
        let (home, away) = (Stage::on(&layer), Stage::on(&layer));
        let mut client = home.client(transport).await;
        let former = client.token.clone();
        client.moves_to(&away.server.service);
        timed(client.connect(transport)).await.unwrap();
        client.send("x").await;
        assert_eq!(home.diary.grows_to(1).await, ["x"]);
        for stage in [&home, &away] {
            client.moves_to(&stage.server.service);
            let dead = json!({ "token": former, "mode": "send" });
            assert_eq!(timed(client.post(dead, &[])).await.unwrap().0, 410, "{transport:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unused_sessions_leave_nothing() {
    let stage = Stage::new();
    let handshake = HANDSHAKE.replace("GET /", "GET /open/");
    let handshake = handshake.replace("\r\n\r\n", "\r\nsec-websocket-protocol: channels.v1\r\n\r\n");
    for _ in 0..5 {
        let mut pipe = stage.server.pipe();
        timed(pipe.write_all(handshake.as_bytes())).await.expect("the server reads");
        drop(pipe);
        sleep(Duration::from_secs(1)).await;
        assert!(stage.server.service.connections().is_empty());
    }
}
