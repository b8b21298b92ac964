//! The lifetime of sessions over every carrier; a client that never learned its token leaves no session.

use std::{sync::Arc, time::Duration};

use crate::support::{
    Server,
    diary::Diary,
    sessions::{ALL, Heard, SessionClient},
    timed,
};
use channel_layer::MemoryLayer;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt as _;
use ws_consumer::{Close, Consumer, Frame, Limits, NoEvents, Result, Resume, Router, Socket, Transport};

/// Records its frames, some of them slowly, and accepts clients after a delay.
struct Notes {
    diary: Diary,
    door: Duration,
}

impl Consumer for Notes {
    type Event = NoEvents;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.diary.note("connect");
        sleep(self.door).await;
        socket.accept().await
    }

    async fn receive(&mut self, _: &mut Socket, frame: Frame) -> Result<()> {
        let text = frame.text()?;
        if let Some(ms) = text.strip_prefix("wait ") {
            sleep(Duration::from_millis(ms.parse().expect("a number"))).await;
        }
        self.diary.note(text);
        Ok(())
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
    fn with(limits: Limits, door: Duration) -> Self {
        Self::on(&Arc::new(MemoryLayer::default()), limits, door)
    }

    fn on(layer: &Arc<MemoryLayer>, limits: Limits, door: Duration) -> Self {
        let diary = Diary::default();
        let noted = diary.clone();
        let router = Router::new().consumer("/", move || Notes { diary: noted.clone(), door });
        Self { server: Server::with_sessions(router, layer, Resume::default(), limits), diary }
    }

    async fn client(&self, transport: Transport) -> SessionClient {
        timed(SessionClient::connected(&self.server.service, "/", transport)).await
    }
}

fn idle(seconds: u64) -> Limits {
    let mut limits = Limits::default();
    limits.idle_timeout = Some(Duration::from_secs(seconds));
    limits
}

fn aged(seconds: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_age = Some(Duration::from_secs(seconds));
    limits
}

/// Receives until the session is over, and answers pings where the transport has them.
async fn ends(client: &mut SessionClient, transport: Transport) -> Heard {
    if transport != Transport::WebSocket {
        return timed(client.next()).await.expect("an end");
    }
    for _ in 0..20 {
        match timeout(Duration::from_secs(7), client.next()).await {
            Ok(heard) => return heard.expect("an end"),
            Err(_) => client.say_cursor().await,
        }
    }
    panic!("it goes on")
}

fn is_idle() -> Heard {
    Heard::Close(1000, "idle".to_owned())
}

fn is_old() -> Heard {
    Heard::Close(1001, "the connection is too old".to_owned())
}

fn assert_after(began: Instant, seconds: u64, what: impl std::fmt::Debug) {
    let expected = Duration::from_secs(seconds)..Duration::from_secs(seconds + 1);
    assert!(expected.contains(&began.elapsed()), "{what:?}: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn silent_clients_are_idle() {
    for transport in ALL {
        let stage = Stage::with(idle(30), Duration::ZERO);
        let mut client = stage.client(transport).await;
        sleep(Duration::from_secs(10)).await;
        client.send("x").await;
        let spoke = Instant::now();
        assert_eq!(ends(&mut client, transport).await, is_idle(), "{transport:?}");
        assert_after(spoke, 30, transport);
        assert_eq!(stage.diary.grows_to(3).await, ["connect", "x", "disconnect 1000"], "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn to_come_back_is_to_say_nothing() {
    for before in ALL {
        for after in ALL {
            let stage = Stage::with(idle(30), Duration::ZERO);
            let mut client = stage.client(before).await;
            let began = Instant::now();
            sleep(Duration::from_secs(20)).await;
            timed(client.connect(after)).await.unwrap();
            assert_eq!(client.open["resumed"], true);
            assert_eq!(ends(&mut client, after).await, is_idle(), "{before:?} {after:?}");
            assert_after(began, 30, (before, after));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn speaking_clients_are_not_idle() {
    for transport in ALL {
        let layer = Arc::new(MemoryLayer::default());
        let [home, away] = [(); 2].map(|()| Stage::on(&layer, idle(30), Duration::ZERO));
        let mut client = home.client(transport).await;
        client.cut();
        client.moves_to(&away.server.service);
        timed(client.connect(transport)).await.unwrap();
        assert_eq!(client.open["resumed"], true);
        for i in 0..10 {
            match transport {
                // Only a client that receives answers pings.
                Transport::WebSocket => {
                    assert!(timeout(Duration::from_secs(25), client.next()).await.is_err());
                }
                Transport::EventStream => sleep(Duration::from_secs(25)).await,
                _ => {
                    sleep(Duration::from_secs(25)).await;
                    timed(client.connect(transport)).await.unwrap();
                }
            }
            client.send(format!("{i}")).await;
        }
        let spoke = Instant::now();
        assert_eq!(ends(&mut client, transport).await, is_idle(), "{transport:?}");
        assert_after(spoke, 30, transport);
        assert_eq!(home.diary.grows_to(12).await.last().unwrap(), "disconnect 1000");
    }
}

#[tokio::test(start_paused = true)]
async fn session_age_counts_from_the_start() {
    for before in ALL {
        for after in ALL {
            let stage = Stage::with(aged(40), Duration::ZERO);
            let mut client = stage.client(before).await;
            let began = Instant::now();
            sleep(Duration::from_secs(20)).await;
            timed(client.connect(after)).await.unwrap();
            assert_eq!(client.open["resumed"], true);
            client.send("x").await;
            assert_eq!(ends(&mut client, after).await, is_old(), "{before:?} {after:?}");
            assert_after(began, 40, (before, after));
            assert_eq!(stage.diary.grows_to(3).await, ["connect", "x", "disconnect 1001"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn detached_sessions_become_idle() {
    let stage = Stage::with(idle(10), Duration::ZERO);
    let mut client = stage.client(Transport::WebSocket).await;
    client.cut();
    let began = Instant::now();
    assert_eq!(stage.diary.grows_to(2).await, ["connect", "disconnect 1000"]);
    assert_after(began, 10, "away");
}

#[tokio::test(start_paused = true)]
async fn age_limit_handles_acknowledged() {
    for transport in ALL {
        let stage = Stage::with(aged(10), Duration::ZERO);
        let mut client = stage.client(transport).await;
        sleep(Duration::from_secs(9)).await;
        client.send("wait 2000").await;
        for _ in 1..50 {
            client.send("x").await;
        }
        let noted = stage.diary.grows_to(52).await;
        assert_eq!((noted.len(), &*noted[51]), (52, "disconnect 1001"), "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_hooks_do_not_extend_age() {
    for transport in ALL {
        let stage = Stage::with(aged(10), Duration::ZERO);
        let mut client = stage.client(transport).await;
        let began = Instant::now();
        client.send("wait 60000").await;
        assert_eq!(ends(&mut client, transport).await, is_old(), "{transport:?}");
        assert!(began.elapsed() < Duration::from_secs(15), "{transport:?}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn unadmitted_clients_leave_nothing() {
    for transport in ALL {
        let stage = Stage::with(Limits::default(), Duration::from_secs(5));
        let mut client = SessionClient::new(&stage.server.service, "/");
        assert!(timeout(Duration::from_secs(1), client.connect(transport)).await.is_err());
        let left = Instant::now();
        timed(async {
            while !stage.server.service.connections().is_empty() {
                sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        assert!(left.elapsed() < Duration::from_secs(11), "{transport:?}: {:?}", left.elapsed());
        assert_eq!(stage.diary.all(), ["connect", "disconnect 1006"], "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn unread_streams_leave_no_session() {
    let stage = Stage::with(Limits::default(), Duration::ZERO);
    let request = http::Request::get("/").header("host", "test").header("accept", "text/event-stream");
    let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let answer = timed(stage.server.service.clone().oneshot(request)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let left = Instant::now();
    drop(answer);
    assert_eq!(stage.diary.grows_to(2).await, ["connect", "disconnect 1006"]);
    assert!(left.elapsed() < Duration::from_secs(1), "{:?}", left.elapsed());
}
