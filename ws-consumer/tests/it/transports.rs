//! Consumers behave alike over every transport.

use std::{sync::Arc, time::Duration};

use crate::support::{
    Server,
    diary::Diary,
    sessions::{ALL, Fault, Heard, SessionClient},
    timed,
};
use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;
use ws_consumer::{
    Accept, Close, Consumer, Drain, Error, Frame, Limits, Result, Resume, Router, Socket, Transport,
};

struct Member {
    diary: Diary,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum MemberEvent {
    #[serde(rename = "room.said")]
    Said { text: String },
}

impl Consumer for Member {
    type Event = MemberEvent;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        match socket.scope().param("room")? {
            "closed" => return Err(Error::Refused(http::StatusCode::CONFLICT)),
            "broken" => panic!("on purpose"),
            _ => {}
        }
        let room = socket.scope().param("room")?.to_owned();
        socket.group_add(room).await?;
        let subprotocol = socket.scope().subprotocols().find(|name| *name == "chat.v2").map(str::to_owned);
        let mut accept = Accept::default();
        accept.subprotocol = subprotocol;
        socket.accept_with(accept).await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let Frame::Text(text) = &frame else { return socket.send(frame).await };
        let room = socket.scope().param("room")?.to_owned();
        match text.split_once(' ').unwrap_or((text, "")) {
            ("all", text) => socket.group_send(room, &MemberEvent::Said { text: text.to_owned() }).await,
            ("frames", text) => socket.group_send_json(room, text).await,
            ("transport", _) => socket.send(socket.scope().transport.name()).await,
            ("panic", _) => panic!("on purpose"),
            ("fail", _) => Err(Error::other("on purpose")),
            ("echo", json) => {
                let said: serde_json::Value = Frame::from(json).json()?;
                socket.send(said["message"].as_str().unwrap_or_default()).await
            }
            ("json", _) => frame.json::<Vec<u8>>().map(|_| ()),
            ("close", _) => socket.close(Close::new(4001, "as you wish")).await,
            ("bye", _) => socket.close(Close::new(4001, "é".repeat(100))).await,
            ("count", n) => {
                for i in 0..n.parse().expect("a number") {
                    socket.send(format!("{i}")).await?;
                }
                Ok(())
            }
            _ => socket.send(frame).await,
        }
    }

    async fn event(&mut self, socket: &mut Socket, event: &MemberEvent) -> Result<()> {
        let MemberEvent::Said { text } = event;
        socket.send(text.as_str()).await
    }

    async fn disconnect(&mut self, _: &mut Socket, close: Close) {
        self.diary.note(format!("disconnect {}", close.code));
    }
}

struct Stage {
    server: Server,
    diary: Diary,
}

impl Stage {
    fn new() -> Self {
        Self::limited(Resume::default(), Limits::default())
    }

    fn limited(transports: Resume, limits: Limits) -> Self {
        let diary = Diary::default();
        let noted = diary.clone();
        let router = Router::new().consumer("/ws/{room}/", move || Member { diary: noted.clone() });
        let layer = Arc::new(MemoryLayer::default());
        Self { server: Server::with_sessions(router, &layer, transports, limits), diary }
    }

    async fn client(&self, transport: Transport) -> SessionClient {
        timed(SessionClient::connected(&self.server.service, "/ws/lobby/", transport)).await
    }

    async fn members(&self) -> usize {
        let lobby = "lobby".parse().expect("a name");
        let directory = self.server.layer.directory().expect("in memory it is known");
        directory.member_count(&lobby).await.expect("in memory")
    }
}

#[tokio::test(start_paused = true)]
async fn frames_are_echoed() {
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(transport).await;
        let texts = [
            "hello",
            "",
            "two\nlines\n",
            "carriage\rreturn\r\n",
            "\u{1}mark",
            "\u{1}\u{1}",
            "汉字 \u{1F600}",
            "\"{}\\",
            ":x",
            " y",
        ];
        for text in texts {
            client.send(text).await;
            assert_eq!(timed(client.text()).await, text, "{transport:?}");
        }
        for bytes in [vec![], vec![0, 255, 10, 13], vec![7; 70_000]] {
            client.send(bytes.clone()).await;
            let heard = timed(client.next()).await.unwrap();
            assert_eq!(heard, Heard::Frame(bytes.into()), "{transport:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn members_meet_across_transports() {
    let stage = Stage::new();
    let mut members = Vec::new();
    for transport in ALL {
        members.push(stage.client(transport).await);
    }
    for speaker in 0..members.len() {
        for lane in ["all", "frames"] {
            members[speaker].send(format!("{lane} {speaker}").as_str()).await;
            for member in &mut members {
                assert_eq!(timed(member.text()).await.trim_matches('"'), format!("{speaker}"), "{lane}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn frames_arrive_in_order() {
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(transport).await;
        client.send("count 2500").await;
        for i in 0..2500 {
            assert_eq!(timed(client.text()).await, format!("{i}"), "{transport:?}");
            if i % 500 == 0 {
                client.say_cursor().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_scope_tells_the_transport() {
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(transport).await;
        client.send("transport").await;
        assert_eq!(timed(client.text()).await, transport.name());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_the_answer() {
    for transport in ALL {
        let stage = Stage::new();
        for (path, status) in
            [("/ws/closed/", 409), ("/ws/broken/", 500), ("/nowhere", 404), ("/ws/no%20name/", 400)]
        {
            let mut client = SessionClient::new(&stage.server.service, path);
            match timed(client.connect(transport)).await {
                Err(Fault::Status(refused)) => assert_eq!(refused, status, "{transport:?} {path}"),
                other => panic!("{transport:?} {path}: {other:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn foreign_pages_are_refused() {
    for transport in ALL {
        let stage = Stage::new();
        for (origin, refused) in [("http://evil.example", true), ("null", true), ("http://test", false)] {
            let mut client = SessionClient::new(&stage.server.service, "/ws/lobby/");
            client.headers.push(("origin", origin.to_owned()));
            match timed(client.connect(transport)).await {
                Err(Fault::Status(403)) => assert!(refused, "{transport:?} {origin}"),
                Ok(()) => assert!(!refused, "{transport:?} {origin}"),
                other => panic!("{transport:?} {origin}: {other:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bad_input_is_answered() {
    for transport in ALL {
        for (said, code) in [("panic", 1011), ("fail", 1011), ("close", 4001)] {
            let stage = Stage::new();
            let mut client = stage.client(transport).await;
            client.send("json").await;
            assert!(timed(client.text()).await.contains("error"), "{transport:?}");
            client.send("before").await;
            client.send(said).await;
            assert_eq!(timed(client.text()).await, "before");
            match timed(client.next()).await.unwrap() {
                Heard::Close(closed, reason) => {
                    assert_eq!(closed, code, "{transport:?} {said}");
                    assert_eq!(reason, if said == "close" { "as you wish" } else { "" });
                }
                other => panic!("{transport:?} {said}: {other:?}"),
            }
            assert_eq!(stage.diary.grows_to(1).await, [format!("disconnect {code}")]);
        }
    }
}

/// Half of an emoji comes in a page's own JSON, and in the JSON that carries the texts of a long poll.
#[tokio::test(start_paused = true)]
async fn lone_surrogates_are_read() {
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(transport).await;
        client.send(r#"echo {"message":"\ud83d"}"#).await;
        assert_eq!(timed(client.text()).await, "\u{FFFD}", "{transport:?}");
    }
    let stage = Stage::new();
    let client = stage.client(Transport::Poll).await;
    let body = format!(
        "{{\"token\":\"{}\",\"first\":1}}\n\"half: \\ud83d\"\n",
        client.token.clone().expect("it is open")
    );
    let (status, answer) = timed(client.post_raw(body.into())).await.expect("an answer");
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test(start_paused = true)]
async fn close_ends_the_session() {
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(transport).await;
        client.send("x").await;
        timed(client.text()).await;
        timed(client.close(4009)).await;
        assert_eq!(stage.diary.grows_to(1).await, ["disconnect 4009"]);
        timed(async {
            while stage.members().await > 0 || !stage.server.service.connections().is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        assert_eq!(stage.diary.all().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn long_reasons_are_cut() {
    let cut = "é".repeat(61);
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(transport).await;
        client.send("bye").await;
        assert_eq!(timed(client.next()).await.unwrap(), Heard::Close(4001, cut.clone()), "{transport:?}");

        let client = stage.client(Transport::LongPoll).await;
        let close = json!({ "code": 4002, "reason": "é".repeat(100) });
        let asked = json!({ "token": client.token, "mode": "send", "close": close });
        timed(client.post(asked, &[])).await.unwrap();
        stage.diary.grows_to(2).await;
        assert_eq!(stage.diary.all()[1], "disconnect 4002");
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn silent_clients_leave_once() {
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(transport).await;
        client.send("x").await;
        timed(client.text()).await;
        let began = tokio::time::Instant::now();
        // Its connections stay open, but it neither sends nor reads.
        timed(async {
            while stage.diary.all().is_empty() {
                sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        let limits = Limits::default();
        let latest = limits.ping_interval + limits.ping_timeout + Resume::default().ttl;
        assert!(began.elapsed() <= latest + Duration::from_secs(2), "{transport:?}: {:?}", began.elapsed());
        assert_eq!(stage.diary.all(), ["disconnect 1006"], "{transport:?}");
        assert_eq!(stage.members().await, 0);
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subprotocol_is_negotiated() {
    for transport in [Transport::EventStream, Transport::LongPoll, Transport::Poll] {
        let stage = Stage::new();
        let path = "/ws/lobby/?protocol=chat.v2";
        let client = timed(SessionClient::connected(&stage.server.service, path, transport)).await;
        assert_eq!(client.open["protocol"], "chat.v2", "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_follows_sent_frames() {
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(transport).await;
        let report = stage.server.layer.group_send_text("lobby", "the last").await.unwrap();
        assert_eq!(report.local.delivered, 1);
        let sockets = stage.server.service.connections().clone();
        let drained = tokio::spawn(async move { sockets.drain(Drain::restart()).await });
        assert_eq!(timed(client.text()).await, "the last");
        match timed(client.next()).await.unwrap() {
            Heard::Close(1012, reason) => assert!(reason.starts_with("retry-after="), "{reason}"),
            other => panic!("{transport:?}: {other:?}"),
        }
        timed(drained).await.unwrap();
        assert_eq!(stage.diary.grows_to(1).await, ["disconnect 1012"]);
        let mut late = SessionClient::new(&stage.server.service, "/ws/lobby/");
        assert!(matches!(timed(late.connect(transport)).await, Err(Fault::Status(503))));
    }
}

#[tokio::test(start_paused = true)]
async fn greatest_numbers_work() {
    let stage = Stage::new();
    let client = stage.client(Transport::Poll).await;
    for (mode, resume, frames, status) in
        [("poll", false, 0, 200), ("send", false, 0, 200), ("send", false, 2, 409), ("poll", true, 0, 200)]
    {
        let asked = json!({
            "token": client.token, "cursor": u64::MAX, "first": u64::MAX, "mode": mode, "resume": resume
        });
        let answer = timed(client.post(asked, &vec![Frame::from("x"); frames])).await;
        assert_eq!(answer.expect("an answer").0, status, "{mode} {resume}");
    }
}

#[tokio::test(start_paused = true)]
async fn batches_are_bounded() {
    let mut limits = Limits::default();
    limits.max_message_size = 1000;
    let stage = Stage::limited(Resume::default(), limits);
    let client = stage.client(Transport::LongPoll).await;
    let asked = || json!({ "token": client.token, "first": 1, "mode": "send" });
    let many = vec![Frame::from("x"); 101];
    let large = [Frame::from("x".repeat(1001))];
    for frames in [&many[..], &large] {
        assert_eq!(timed(client.post(asked(), frames)).await.unwrap().0, 413);
    }
    for body in ["\n".repeat(60 << 10), "x".to_owned(), String::new(), "{}\n{}\n".to_owned(), "[]".to_owned()]
    {
        assert_eq!(timed(client.post_raw(body.into())).await.unwrap().0, 400);
    }
    assert_eq!(timed(client.post_raw("x".repeat(80 << 10).into())).await.unwrap().0, 413);
    let (status, answer) = timed(client.post(asked(), &[])).await.unwrap();
    assert_eq!(
        (status, serde_json::from_str::<serde_json::Value>(&answer).unwrap()["ack"].as_u64()),
        (200, Some(0))
    );
}

#[tokio::test(start_paused = true)]
async fn floods_wait_and_lose_nothing() {
    for transport in [Transport::LongPoll, Transport::EventStream] {
        let stage = Stage::new();
        let mut client = stage.client(transport).await;
        for i in 0..50 {
            let many: Vec<_> = (0..10).map(|j| Frame::from(format!("{}", i * 10 + j))).collect();
            for frame in many {
                client.send(frame).await;
            }
        }
        for i in 0..500 {
            assert_eq!(timed(client.text()).await, format!("{i}"), "{transport:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_only_so_many_sessions() {
    let mut transports = Resume::default();
    transports.max_sessions = 2;
    let stage = Stage::limited(transports, Limits::default());
    let _first = stage.client(Transport::LongPoll).await;
    let _second = stage.client(Transport::WebSocket).await;
    for transport in ALL {
        let mut third = SessionClient::new(&stage.server.service, "/ws/lobby/");
        assert!(matches!(timed(third.connect(transport)).await, Err(Fault::Status(503))), "{transport:?}");
    }
    // A WebSocket without a session is none.
    assert_eq!(stage.server.connect("/ws/lobby/").await.response.status(), 101);
}

#[tokio::test(start_paused = true)]
async fn sessions_are_off_by_default() {
    let diary = Diary::default();
    let server = Server::new(Router::new().consumer("/ws/{room}/", move || Member { diary: diary.clone() }));
    for transport in [Transport::EventStream, Transport::LongPoll, Transport::Poll] {
        let mut client = SessionClient::new(&server.service, "/ws/lobby/");
        assert!(matches!(timed(client.connect(transport)).await, Err(Fault::Status(404))));
    }
    let mut socket = server.connect("/ws/lobby/").await;
    socket.send("\u{1}hello").await;
    assert_eq!(socket.text().await, "\u{1}hello", "an ordinary frame");
}

#[tokio::test(start_paused = true)]
async fn long_polls_end_with_their_window() {
    let stage = Stage::new();
    let client = stage.client(Transport::LongPoll).await;
    let began = tokio::time::Instant::now();
    let asked = json!({ "token": client.token, "cursor": 0, "mode": "long-poll" });
    let (status, answer) = timed(client.post(asked.clone(), &[])).await.unwrap();
    assert_eq!((status, answer.lines().count()), (200, 1));
    assert!(began.elapsed() >= Duration::from_secs(10) && began.elapsed() < Duration::from_secs(11));
    // A lost answer loses nothing: the same question has the same answer.
    let _report = stage.server.layer.group_send_text("lobby", "again").await.unwrap();
    for _ in 0..3 {
        let (_, answer) = timed(client.post(asked.clone(), &[])).await.unwrap();
        assert_eq!(answer.lines().nth(1), Some("\"again\""));
    }
    assert!(stage.diary.all().is_empty());
}
