//! A session resumes where its last connection broke: over any transport, in any process.

use std::{sync::Arc, time::Duration};

use crate::support::{
    Server,
    diary::Diary,
    sessions::{ALL, Fault, Heard, SessionClient},
    timed,
};
use channel_layer::{ChannelLayerExt, MemoryLayer, Message};
use serde_json::json;
use tokio::time::sleep;
use ws_consumer::{
    Close, Consumer, Frame, Limits, LostSession, NoEvents, Refuse, Result, Resume, Resumed, Router, Socket,
    Transport,
    middleware::{Guard, GuardRequest, UserId},
};

/// Records its frames, and counts on request.
struct Notes(Diary);

impl Consumer for Notes {
    type Event = NoEvents;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        if socket.scope().extensions.get::<LostSession>().is_some() {
            self.0.note("a session was lost".to_owned());
        }
        socket.group_add("all").await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let text = frame.text()?;
        if text == "where" {
            return socket.send(socket.scope().transport.name()).await;
        }
        self.0.note(text.to_owned());
        Ok(())
    }

    async fn resumed(&mut self, _: &mut Socket, resumed: Resumed) -> Result<()> {
        self.0.note(format!("resumed over {} {:?}", resumed.transport.name(), resumed.gap));
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
        Self::on(&Arc::new(MemoryLayer::default()), Resume::default())
    }

    fn on(layer: &Arc<MemoryLayer>, transports: Resume) -> Self {
        let diary = Diary::default();
        let noted = diary.clone();
        let router = Visitors.around(Router::new().consumer("/", move || Notes(noted.clone())));
        Self { server: Server::with_sessions(router, layer, transports, Limits::default()), diary }
    }

    async fn client(&self, transport: Transport) -> SessionClient {
        timed(SessionClient::connected(&self.server.service, "/", transport)).await
    }

    async fn say(&self, text: &str) {
        let report = self.server.layer.group_send_text("all", text).await.expect("in memory");
        assert_eq!(report.local.full, 0);
        // It is sent, if only into the log, before the next.
        sleep(Duration::from_millis(1)).await;
    }
}

/// Reads the user from a header, and refuses one of them.
struct Visitors;

impl Guard for Visitors {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        let Some(user) = request.header("authorization").map(str::to_owned) else { return Ok(()) };
        if user == "eve" {
            return Err(http::StatusCode::FORBIDDEN.into());
        }
        request.extensions.insert(UserId(user.into()));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn missed_frames_arrive_on_resume() {
    for before in ALL {
        for after in ALL {
            let stage = Stage::new();
            let mut client = stage.client(before).await;
            stage.say("one").await;
            assert_eq!(timed(client.text()).await, "one");
            let first = client.token.clone();
            client.cut();
            stage.say("two").await;
            client.send("mine").await;
            stage.say("three").await;
            timed(client.connect(after)).await.unwrap();
            assert_eq!(client.open["resumed"], true, "{before:?} {after:?}");
            assert_ne!(client.token, first, "a carrier has a token of its own");
            stage.say("four").await;
            for text in ["two", "three", "four"] {
                assert_eq!(timed(client.text()).await, text, "{before:?} {after:?}");
            }
            client.send("where").await;
            assert_eq!(timed(client.text()).await, after.name());
            let expected = [format!("resumed over {} None", after.name()), "mine".to_owned()];
            assert_eq!(stage.diary.grows_to(2).await, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lost_frames_are_a_gap() {
    for transport in ALL {
        let mut transports = Resume::default();
        transports.log_messages = 3;
        let stage = Stage::on(&Arc::new(MemoryLayer::default()), transports);
        let mut client = stage.client(Transport::WebSocket).await;
        client.cut();
        sleep(Duration::from_secs(1)).await;
        for i in 1..=5 {
            stage.say(&format!("{i}")).await;
        }
        timed(client.connect(transport)).await.unwrap();
        assert_eq!(timed(client.next()).await.unwrap(), Heard::Gap(json!({ "from": 1, "to": 2 })));
        for i in 3..=5 {
            assert_eq!(timed(client.text()).await, format!("{i}"), "{transport:?}");
        }
        let noted = stage.diary.grows_to(1).await;
        assert_eq!(noted, [format!("resumed over {} Some(1..=2)", transport.name())]);
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_end_with_their_ttl() {
    for (transport, late) in ALL.into_iter().flat_map(|transport| [(transport, 0), (transport, 60)]) {
        let stage = Stage::new();
        let mut client = stage.client(Transport::WebSocket).await;
        client.cut();
        sleep(Duration::from_secs(29)).await;
        assert!(stage.diary.all().is_empty());
        sleep(Duration::from_secs(2)).await;
        assert_eq!(stage.diary.all(), ["disconnect 1006"]);
        sleep(Duration::from_secs(late)).await;
        timed(client.connect(transport)).await.unwrap();
        assert_eq!(client.open["resumed"], false, "{transport:?} {late} s late");
        assert_eq!(timed(client.next()).await.unwrap(), Heard::Gap(json!({ "from": 1, "to": null })));
        assert_eq!(stage.diary.all(), ["disconnect 1006", "a session was lost"], "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn absent_clients_learn_the_end() {
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(Transport::EventStream).await;
        client.cut();
        sleep(Duration::from_millis(10)).await;
        stage.say("farewell").await;
        let close = Message::new("websocket.close").with("code", 4002).with("reason", "closing time");
        let _report = stage.server.layer.group_send_message("all", close).await.unwrap();
        assert_eq!(stage.diary.grows_to(1).await, ["disconnect 4002"]);
        timed(client.connect(transport)).await.unwrap();
        assert_eq!(timed(client.text()).await, "farewell");
        assert_eq!(
            timed(client.next()).await.unwrap(),
            Heard::Close(4002, "closing time".to_owned()),
            "{transport:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_die_with_their_successor() {
    let stage = Stage::new();
    let mut client = stage.client(Transport::WebSocket).await;
    let first = client.token.clone();
    timed(client.connect(Transport::LongPoll)).await.unwrap();
    let second = client.token.clone();
    // The answer with the second one might have been lost.
    client.token = first.clone();
    timed(client.connect(Transport::LongPoll)).await.unwrap();
    let third = client.token.clone();
    assert!(client.open["resumed"] == true && third != second);
    // A poll with the third shows that it arrived: the others are dead.
    stage.say("x").await;
    assert_eq!(timed(client.text()).await, "x");
    for dead in [&first, &second] {
        let asked = json!({ "token": dead, "cursor": 0, "mode": "poll" });
        assert_eq!(timed(client.post(asked, &[])).await.unwrap().0, 410);
    }
    let asked = json!({ "token": third, "cursor": 1, "mode": "poll" });
    assert_eq!(timed(client.post(asked, &[])).await.unwrap().0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_its_users_only() {
    for transport in ALL {
        let stage = Stage::new();
        let mut ann = SessionClient::new(&stage.server.service, "/");
        ann.headers.push(("authorization", "ann".to_owned()));
        timed(ann.connect(Transport::WebSocket)).await.unwrap();
        stage.say("secret").await;
        let mut thief = SessionClient::new(&stage.server.service, "/");
        thief.token = ann.token.clone();
        for other in ["bob", ""] {
            thief.headers = if other.is_empty() { vec![] } else { vec![("authorization", other.to_owned())] };
            thief.token = ann.token.clone();
            thief.cursor = 0;
            timed(thief.connect(transport)).await.unwrap();
            assert_eq!(thief.open["resumed"], false, "{transport:?}");
            let asked = json!({ "token": ann.token, "cursor": 0, "mode": "poll" });
            assert_eq!(timed(thief.post(asked, &[])).await.unwrap().0, 410);
        }
        assert_eq!(timed(ann.text()).await, "secret");
    }
}

#[tokio::test(start_paused = true)]
async fn guards_refuse_resumption() {
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(Transport::LongPoll).await;
        client.headers.push(("authorization", "eve".to_owned()));
        assert!(matches!(timed(client.connect(transport)).await, Err(Fault::Status(403))), "{transport:?}");
        // Neither with a request within the carrier, if it comes with something else than before.
        for mode in ["poll", "long-poll", "send"] {
            let asked = json!({ "token": client.token, "cursor": 0, "mode": mode });
            assert_eq!(timed(client.post(asked, &[])).await.unwrap().0, 403);
        }
        client.headers = vec![("origin", "http://evil.example".to_owned())];
        let asked = json!({ "token": client.token, "cursor": 0, "mode": "poll" });
        assert_eq!(timed(client.post(asked, &[])).await.unwrap().0, 403);
    }
}

#[tokio::test(start_paused = true)]
async fn made_up_tokens_reach_nothing() {
    let stage = Stage::new();
    let client = stage.client(Transport::LongPoll).await;
    let real = client.token.clone().unwrap();
    let other_secret = format!("{}{}", &real[..real.len() - 4], "AAAA");
    let other_process = format!("{}{}", "AAAA", &real[4..]);
    for token in ["", "x", "../..", "ws-sessions.x", "汉字", &other_secret, &other_process] {
        for mode in ["poll", "send"] {
            let asked = json!({ "token": token, "cursor": 0, "mode": mode });
            assert_eq!(timed(client.post(asked, &[])).await.unwrap().0, 410, "{token}");
        }
    }
    let beyond = json!({ "token": real, "cursor": u64::MAX, "mode": "poll", "resume": true });
    let (status, answer) = timed(client.post(beyond, &[])).await.unwrap();
    assert!(
        status == 200 && answer.contains("\"resumed\":false"),
        "what was never sent cannot have been heard: {answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn missing_frames_are_requested() {
    let stage = Stage::new();
    let client = stage.client(Transport::LongPoll).await;
    let post = async |first: u64, texts: &[&str]| {
        let asked = json!({ "token": client.token, "first": first, "mode": "send" });
        let frames: Vec<_> = texts.iter().map(|text| Frame::from(*text)).collect();
        let (status, answer) = timed(client.post(asked, &frames)).await.unwrap();
        (status, serde_json::from_str::<serde_json::Value>(&answer).unwrap()["ack"].as_u64().unwrap())
    };
    assert_eq!(post(1, &["a", "b"]).await, (200, 2));
    assert_eq!(post(1, &["a", "b", "c"]).await, (200, 3));
    assert_eq!(post(9, &["i"]).await, (409, 3));
    assert_eq!(post(2, &["b"]).await, (200, 3));
    assert_eq!(stage.diary.grows_to(3).await, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_newer_leg_takes_over() {
    for transport in ALL {
        let stage = Stage::new();
        let mut old = stage.client(transport).await;
        let mut new = SessionClient::new(&stage.server.service, "/");
        new.token = old.token.clone();
        timed(new.connect(Transport::WebSocket)).await.unwrap();
        stage.say("to the new one").await;
        assert_eq!(timed(new.text()).await, "to the new one");
        if matches!(transport, Transport::WebSocket | Transport::EventStream) {
            assert!(matches!(timed(old.next()).await, Err(Fault::Cut)), "{transport:?}");
        }
        assert_eq!(stage.diary.all().len(), 1, "the session lives");
    }
}

#[tokio::test(start_paused = true)]
async fn another_process_carries_it() {
    for transport in ALL {
        let layer = Arc::new(MemoryLayer::default());
        let (home, away) = (Stage::on(&layer, Resume::default()), Stage::on(&layer, Resume::default()));
        let mut client = home.client(Transport::WebSocket).await;
        client.cut();
        home.say("one").await;
        client.moves_to(&away.server.service);
        client.send("first").await;
        timed(client.connect(transport)).await.unwrap();
        assert_eq!(client.open["resumed"], true, "{transport:?}");
        assert_eq!(timed(client.text()).await, "one");
        home.say("two").await;
        assert_eq!(timed(client.text()).await, "two");
        client.send("second").await;
        let expected =
            [format!("resumed over {} None", transport.name()), "first".to_owned(), "second".to_owned()];
        assert_eq!(home.diary.grows_to(3).await, expected);
        assert!(away.diary.all().is_empty());
        timed(client.close(4003)).await;
        assert_eq!(home.diary.grows_to(4).await[3], "disconnect 4003", "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn polls_may_land_on_any_process() {
    let layer = Arc::new(MemoryLayer::default());
    let stages = [(); 3].map(|()| Stage::on(&layer, Resume::default()));
    for transport in [Transport::LongPoll, Transport::Poll] {
        let mut client = stages[0].client(transport).await;
        for i in 0..30 {
            client.moves_to(&stages[i % 3].server.service);
            client.send(format!("{i}")).await;
            stages[0].say(&format!("{i}")).await;
            assert_eq!(timed(client.text()).await, format!("{i}"));
        }
    }
    let said: Vec<_> = (0..30).map(|i| i.to_string()).collect();
    assert_eq!(stages[0].diary.grows_to(60).await, [said.clone(), said].concat());
    assert!(stages[1].diary.all().is_empty() && stages[2].diary.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_gone_is_a_gap() {
    for transport in ALL {
        let layer = Arc::new(MemoryLayer::default());
        let (home, away) = (Stage::on(&layer, Resume::default()), Stage::on(&layer, Resume::default()));
        let mut client = home.client(Transport::LongPoll).await;
        home.say("one").await;
        assert_eq!(timed(client.text()).await, "one");
        drop(home);
        client.moves_to(&away.server.service);
        timed(client.connect(transport)).await.unwrap();
        assert_eq!(client.open["resumed"], false);
        assert_eq!(
            timed(client.next()).await.unwrap(),
            Heard::Gap(json!({ "from": 2, "to": null })),
            "{transport:?}"
        );
        assert_eq!(away.diary.all(), ["a session was lost"]);
    }
}

/// Breaks connections between any two bytes while both sides keep sending. No frame is lost, doubled
/// or out of order.
#[tokio::test(start_paused = true)]
async fn random_cuts_lose_nothing() {
    let (clients, cuts) = if std::env::var_os("CHANNELS_LONG").is_some() { (100, 200) } else { (50, 200) };
    let mut done = 0;
    for seed in 0..clients {
        let mut random = fastrand::Rng::with_seed(seed);
        done += cut_at_random(&mut random, cuts).await;
    }
    println!("{done} cuts");
    assert!(done >= 10_000, "{done}");
}

async fn cut_at_random(random: &mut fastrand::Rng, cuts: usize) -> usize {
    let layer = Arc::new(MemoryLayer::default());
    let stages = [(); 2].map(|()| Stage::on(&layer, Resume::default()));
    let mut client = stages[0].client(ALL[random.usize(..4)]).await;
    let (mut said, mut heard, mut told, mut done) = (0, 0, 0, 0);
    for round in 0..cuts {
        client.moves_to(&stages[usize::from(random.u8(..8) == 0)].server.service);
        client.break_after(random.i64(1..3000));
        let mut connected = timed(client.connect(ALL[random.usize(..4)])).await.is_ok();
        while connected {
            for _ in 0..random.usize(..4) {
                stages[0].say(&format!("{said}")).await;
                said += 1;
            }
            for _ in 0..random.usize(..3) {
                client.send(format!("{told}")).await;
                told += 1;
            }
            if random.u8(..4) == 0 {
                client.say_cursor().await;
            }
            // Not forever: the awaited frame may have broken the connection.
            while heard < said
                && let Ok(next) = tokio::time::timeout(Duration::from_secs(1), client.next()).await
            {
                match next {
                    Ok(Heard::Frame(frame)) => {
                        assert_eq!(frame.text().expect("text"), format!("{heard}"), "round {round}")
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => break,
                }
                heard += 1;
            }
            connected = !client.is_cut();
        }
        done += 1;
    }
    client.break_after(i64::MAX);
    client.moves_to(&stages[0].server.service);
    timed(client.connect(Transport::WebSocket)).await.expect("let in");
    while heard < said {
        assert_eq!(timed(client.text()).await, format!("{heard}"));
        heard += 1;
    }
    let notes = async || {
        let all = stages[0].diary.all();
        all.into_iter().filter(|note| !note.starts_with("resumed")).collect::<Vec<_>>()
    };
    timed(async {
        while notes().await.len() < told {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let notes = notes().await;
    let fault = notes.iter().enumerate().find(|(number, note)| number.to_string() != **note);
    assert!(fault.is_none() && notes.len() == told, "{fault:?} of {} for {told}", notes.len());
    done
}

#[tokio::test(start_paused = true)]
async fn leaving_a_socket_keeps_the_session() {
    for code in [1001, 4408] {
        let stage = Stage::new();
        let mut client = stage.client(Transport::WebSocket).await;
        timed(client.close(code)).await;
        stage.say("meanwhile").await;
        timed(client.connect(Transport::EventStream)).await.unwrap();
        assert_eq!(timed(client.text()).await, "meanwhile", "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn late_attempts_are_harmless() {
    let stage = Stage::new();
    let mut client = stage.client(Transport::LongPoll).await;
    let first = client.token.clone();
    timed(client.connect(Transport::LongPoll)).await.unwrap();
    let second = client.token.clone();
    // An earlier attempt, with the first token, arrives late.
    let late = json!({ "token": first, "cursor": 0, "mode": "long-poll", "resume": true });
    assert_eq!(timed(client.post(late, &[])).await.unwrap().0, 200);
    client.token = second;
    timed(client.connect(Transport::LongPoll)).await.unwrap();
    assert_eq!(client.open["resumed"], true);
}

#[tokio::test(start_paused = true)]
async fn mailbox_overflow_is_a_gap() {
    for transport in ALL {
        let stage = Stage::new();
        let mut client = stage.client(transport).await;
        let mut refused = Vec::new();
        for i in 0..150 {
            let report = stage.server.layer.group_send_text("all", format!("{i}")).await.unwrap();
            refused.extend((report.local.full > 0).then_some(i));
        }
        stage.say("after").await;
        let mut heard = Vec::new();
        while heard.last() != Some(&"after".to_owned()) {
            match timed(client.next()).await.unwrap() {
                Heard::Frame(frame) => heard.push(frame.text().unwrap().to_owned()),
                Heard::Gap(_) => heard.push("gap".to_owned()),
                other => panic!("{other:?}"),
            }
        }
        let gaps = heard.iter().filter(|heard| *heard == "gap").count();
        assert_eq!(heard.len() - gaps, 151 - refused.len(), "{transport:?}");
        assert_eq!(heard.iter().position(|heard| heard == "gap"), refused.first().copied(), "{transport:?}");
        assert!(gaps > 0);
    }
}
