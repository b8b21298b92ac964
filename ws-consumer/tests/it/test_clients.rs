//! The clients of the test kit: users, addresses, browser sessions, cut connections, outages, and checks that nothing is sent.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use channel_layer::{ChannelLayer, ChannelLayerExt, LayerEvent, MemoryLayer, Message};
use serde_json::json;
use tokio::time::{Instant, sleep};
use ws_consumer::{
    Consumer, Exchange, Frame, NoEvents, Protocols, Result, Resume, Resumed, Socket, UsersExt, blocking,
    consumer, exchange,
    testing::{LiveServer, PATIENCE, Reconnection, TestApp, advance},
};

/// Tells its client everything that happens to it.
#[derive(Default)]
struct Teller;

impl Consumer for Teller {
    type Event = NoEvents;
    const GROUPS: &'static [&'static str] = &["news"];

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        match frame.text()? {
            "publish" => socket.group_send_json("news", "published").await,
            _ => socket.send(frame).await,
        }
    }

    async fn layer_event(&mut self, socket: &mut Socket, event: LayerEvent) -> Result<()> {
        socket.send_text(format!("{event:?}")).await
    }

    async fn resumed(&mut self, socket: &mut Socket, resumed: Resumed) -> Result<()> {
        socket.send_text(format!("resumed {:?}", resumed.gap)).await
    }
}

fn teller() -> TestApp {
    TestApp::new(consumer(Teller::default))
}

fn resumable(change: impl FnOnce(&mut Resume)) -> TestApp {
    let mut resume = Resume::default();
    change(&mut resume);
    teller().with_resume(resume)
}

#[tokio::test(start_paused = true)]
async fn a_client_is_a_user() {
    let app = teller();
    let mut ann = app.websocket("/").with_user("ann");
    let mut eve = app.websocket("/").with_user("eve");
    ann.connect().await.unwrap();
    eve.connect().await.unwrap();
    let frame = json!({ "type": "websocket.send", "text": "for ann" });
    let _report = app.layer().send_to_user("ann", &frame).await.unwrap();
    ann.assert_sent("for ann").await;
    eve.refute_any_sent().await;
}

#[tokio::test(start_paused = true)]
async fn clients_have_addresses() {
    let peer: SocketAddr = "[2001:db8::7]:443".parse().unwrap();
    let tell = |mut socket: Socket| async move {
        let peer = socket.scope().peer;
        socket.accept().await?;
        socket.send_text(format!("{peer:?}")).await
    };
    let mut client = TestApp::new(tell).websocket("/").with_peer(peer);
    client.connect().await.unwrap();
    client.assert_sent("Some([2001:db8::7]:443)").await;
    let tell = exchange(|mut exchange: Exchange| async move {
        let peer = exchange.scope().peer;
        exchange.send_response(http::StatusCode::OK, format!("{peer:?}")).await
    });
    let response = TestApp::new(tell).http("GET", "/").with_peer(peer).get_response().await;
    assert_eq!(response.body(), "Some([2001:db8::7]:443)");
}

#[cfg(feature = "auth")]
mod identified {
    use ws_consumer::middleware::{
        Auth, Authenticator, Guard, Identity, MemoryStore, Proof, Sessions, auth_stack,
    };
    use ws_consumer::testing::BrowserSession;

    use super::*;

    struct User {
        name: String,
    }

    impl Identity for User {
        fn id(&self) -> String {
            self.name.clone()
        }
    }

    struct Users;

    impl Authenticator for Users {
        type User = User;

        async fn by_id(&self, id: &str) -> Result<Option<Proof<User>>> {
            Ok((id != "nobody").then(|| Proof::new(User { name: id.to_owned() })))
        }
    }

    async fn greet(mut socket: Socket) -> Result<()> {
        let name = socket.scope().user::<User>().map(|user| user.name.clone());
        socket.accept().await?;
        socket.send_json(&name).await
    }

    #[tokio::test(start_paused = true)]
    async fn guards_know_the_user() {
        let app = TestApp::new(Auth::new(Users).required().around(greet));
        let mut ann = app.websocket("/").with_user("ann");
        ann.connect().await.unwrap();
        ann.assert_sent(json!("ann")).await;
        assert_eq!(app.websocket("/").with_user("nobody").connect().await.unwrap_err().status, 401);
        assert_eq!(app.websocket("/").connect().await.unwrap_err().status, 401);
    }

    #[tokio::test(start_paused = true)]
    async fn users_without_a_guard() {
        let mut ann = TestApp::new(greet).websocket("/").with_identity(User { name: "ann".to_owned() });
        ann.connect().await.unwrap();
        ann.assert_sent(json!("ann")).await;
    }

    async fn count(mut socket: Socket) -> Result<()> {
        let session = socket.scope().session()?.clone();
        let count = session.get::<u32>("count").await?.unwrap_or(0) + 1;
        session.insert("count", count).await?;
        socket.scope().save_session().await?;
        socket.accept().await?;
        socket.send_json(&count).await
    }

    #[tokio::test(start_paused = true)]
    async fn browser_sessions_are_kept() {
        let guarded = || Sessions::new(MemoryStore::default()).around(count);
        for app in [TestApp::new(count), TestApp::new(guarded())] {
            let browser = BrowserSession::new(json!({ "count": 40, "theme": "dark" }));
            for expected in [41, 42] {
                let mut tab = app.websocket("/").with_session(browser.clone());
                tab.connect().await.unwrap();
                tab.assert_sent(json!(expected)).await;
                assert_eq!(browser.get("count"), Some(expected));
            }
            assert_eq!(browser.get::<String>("theme").as_deref(), Some("dark"));
            let mut other = app.websocket("/").with_session(json!({}));
            other.connect().await.unwrap();
            other.assert_sent(json!(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_end_in_the_store() {
        let forget = exchange(|mut exchange: Exchange| async move {
            exchange.scope().session()?.flush().await?;
            exchange.send_response(http::StatusCode::OK, "forgotten").await
        });
        let guards = auth_stack(Sessions::new(MemoryStore::default()), Auth::new(Users));
        let browser = BrowserSession::new(json!({ "cart": [1] }));
        assert!(!browser.has_ended());
        let app = TestApp::new(guards.around(forget));
        let response = app.http("POST", "/").with_session(browser.clone()).get_response().await;
        assert_eq!(response.status(), 200);
        assert!(browser.has_ended());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_an_ordinary_client() {
    let mut client = teller().websocket("/");
    client.connect().await.unwrap();
    client.cut().await;
    client.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn sessions_outlive_a_cut() {
    let app = resumable(|_| {});
    let mut client = app.websocket("/").with_subprotocols(&["chat"]);
    assert_eq!(client.connect().await.unwrap().subprotocol, None, "the application chose none");
    client.send_to("one").await;
    client.cut().await;
    let _report = app.layer().group_send_text("news", "meanwhile").await.unwrap();
    client.send_to("two").await;
    client.send_to("\u{1}three").await;
    assert_eq!(client.resume().await.unwrap(), Reconnection::Complete);
    for frame in ["one", "meanwhile", "resumed None", "two", "\u{1}three"] {
        assert_eq!(client.receive_from().await, Frame::from(frame));
    }
    client.refute_any_sent().await;
    client.disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn sessions_end_with_their_time() {
    let app = resumable(|resume| resume.ttl = Duration::from_secs(20));
    let mut client = app.websocket("/");
    client.connect().await.unwrap();
    for (away, expected) in [(19, Reconnection::Complete), (21, Reconnection::NewSession)] {
        client.cut().await;
        advance(Duration::from_secs(away)).await;
        assert_eq!(client.resume().await.unwrap(), expected, "{away} s");
        client.send_to("still here").await;
        client.assert_sent("still here").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_while_it_is_cut() {
    let app = resumable(|_| {});
    let mut client = app.websocket("/");
    client.connect().await.unwrap();
    client.cut().await;
    let close = Message::new("websocket.close").with("code", 4002);
    let _report = app.layer().group_send_message("news", close).await.unwrap();
    assert_eq!(client.resume().await.unwrap(), Reconnection::Ended);
    assert_eq!(client.receive_close().await.code, 4002);
}

#[tokio::test(start_paused = true)]
async fn full_logs_leave_a_gap() {
    let app = resumable(|resume| resume.log_messages = 2);
    let mut client = app.websocket("/");
    client.connect().await.unwrap();
    client.send_to("before").await;
    client.cut().await;
    for number in 1..=5 {
        let _report = app.layer().group_send_text("news", number.to_string()).await.unwrap();
        advance(Duration::ZERO).await;
    }
    let Reconnection::Gap(lost) = client.resume().await.unwrap() else { panic!("a gap") };
    assert!((1..=4).contains(&lost), "{lost}");
    assert_eq!(client.receive_from().await, "before".into(), "it had arrived");
    assert_eq!(client.receive_from().await, (lost + 1).to_string().into());
}

#[tokio::test(start_paused = true)]
async fn a_client_loses_what_it_had() {
    let app = resumable(|_| {});
    let mut client = app.websocket("/");
    client.connect().await.unwrap();
    for text in ["a", "b", "c"] {
        client.send_to(text).await;
        client.assert_sent(text).await;
    }
    client.cut().await;
    assert_eq!(client.resume_with_gap(2).await.unwrap(), Reconnection::Gap(2));
    client.assert_sent("resumed Some(2..=3)").await;
    client.send_to("d").await;
    client.assert_sent("d").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a client that has received 0 frames cannot lose 1")]
async fn a_gap_needs_frames() {
    let mut client = resumable(|_| {}).websocket("/");
    client.connect().await.unwrap();
    client.cut().await;
    _ = client.resume_with_gap(1).await;
}

#[tokio::test(start_paused = true)]
async fn outages_reach_consumers() {
    let app = teller();
    let mut client = app.websocket("/");
    client.connect().await.unwrap();
    app.layer_lost(Duration::from_secs(7)).await;
    client.assert_sent("Disconnected").await;
    client.assert_sent("Reconnected { gap: 7s }").await;
    app.outage().begin();
    client.send_to("publish").await;
    client.refute_sent(json!("published")).await;
    app.outage().end();
    client.send_to("publish").await;
    client.assert_sent(json!("published")).await;
}

#[tokio::test(start_paused = true)]
async fn outages_reach_sessions_that_wait() {
    let app = resumable(|_| {});
    let mut client = app.websocket("/");
    client.connect().await.unwrap();
    client.cut().await;
    app.layer_lost(Duration::from_secs(2)).await;
    assert_eq!(client.resume().await.unwrap(), Reconnection::Complete);
    client.assert_sent("Reconnected { gap: 2s }").await;
}

#[tokio::test(start_paused = true)]
async fn refuting_moves_no_clock() {
    let app = teller();
    let mut client = app.websocket("/");
    client.connect().await.unwrap();
    let mut news = app.broadcasts("news").await;
    let start = Instant::now();
    let has_rung = Arc::new(AtomicBool::new(false));
    let bell = has_rung.clone();
    tokio::spawn(async move {
        sleep(Duration::from_millis(1)).await;
        bell.store(true, SeqCst);
    });
    for _ in 0..20 {
        client.refute_sent("x").await;
        client.refute_any_sent().await;
        news.refute_broadcast(&json!({ "type": "x" })).await;
    }
    assert_eq!((start.elapsed(), has_rung.load(SeqCst)), (Duration::ZERO, false));
    advance(Duration::from_millis(1)).await;
    assert!(has_rung.load(SeqCst));
}

/// Sends `late` after a detour.
#[derive(Clone, Copy, Debug)]
enum Detour {
    Blocking,
    LongChain,
    OtherTasks,
    TheLayer,
    Yields,
}

async fn take_detour(detour: Detour) -> Result<()> {
    match detour {
        Detour::Blocking => blocking(|| std::thread::sleep(Duration::from_millis(30))).await?,
        Detour::LongChain => {
            for _ in 0..1000 {
                tokio::spawn(tokio::task::yield_now()).await.expect("no panic");
            }
        }
        Detour::OtherTasks => {
            let tasks: Vec<_> = (0..5000).map(|_| tokio::spawn(tokio::task::yield_now())).collect();
            for task in tasks {
                task.await.expect("no panic");
            }
        }
        Detour::TheLayer => {
            let (layer, jobs) = (MemoryLayer::default(), "jobs".parse().expect("a name"));
            for _ in 0..500 {
                layer.send(&jobs, Message::new("job")).await?;
                layer.receive(&jobs).await?;
                tokio::task::yield_now().await;
            }
        }
        Detour::Yields => {
            for _ in 0..2000 {
                tokio::task::yield_now().await;
            }
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn refuting_waits_for_all_tasks() {
    use Detour::*;
    for detour in [Blocking, LongChain, OtherTasks, TheLayer, Yields] {
        let application = move |mut socket: Socket| async move {
            socket.accept().await?;
            take_detour(detour).await?;
            socket.send_text("late").await?;
            socket.next().await.map(drop)
        };
        let mut client = TestApp::new(application).websocket("/");
        client.connect().await.unwrap();
        let refuted = tokio::spawn(async move { client.refute_sent("late").await });
        assert!(refuted.await.is_err_and(|panic| panic.is_panic()), "{detour:?}: it was missed");
    }
}

#[tokio::test]
async fn refuting_waits_by_a_real_clock() {
    let application = |mut socket: Socket| async move {
        socket.accept().await?;
        sleep(Duration::from_millis(20)).await;
        socket.send_text("late").await?;
        socket.next().await.map(drop)
    };
    let mut client = TestApp::new(application).websocket("/").with_patience(PATIENCE * 10);
    client.connect().await.unwrap();
    let refuted = tokio::spawn(async move { client.refute_any_sent().await });
    assert!(refuted.await.is_err_and(|panic| panic.is_panic()));
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "expected a frame, but the application has failed: no such room")]
async fn a_failed_application_is_named() {
    let failing = |mut socket: Socket| async move {
        socket.accept().await?;
        Err(ws_consumer::Error::other("no such room"))
    };
    let mut client = TestApp::new(failing).websocket("/");
    client.connect().await.unwrap();
    _ = client.receive_close().await;
    client.receive_from().await;
}

#[tokio::test]
async fn a_live_server_serves_a_folder() {
    use hyper_util::rt::TokioIo;
    let pages = tower_http::services::ServeDir::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it"));
    let protocols =
        Protocols::new().websocket(|mut socket: Socket| async move { socket.accept().await }).http(pages);
    let service = protocols.into_service(Arc::new(MemoryLayer::default()));
    let server = LiveServer::start_on("0.0.0.0:0", service).await.unwrap();
    assert!(server.url("/").starts_with(&server.origin()) && server.origin().contains("127.0.0.1"));
    let stream = tokio::net::TcpStream::connect(server.origin().trim_start_matches("http://")).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = |path: &str| {
        let request = http::Request::get(path).header("host", "localhost");
        request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()
    };
    let response = sender.send_request(request("/main.rs")).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert!(body.starts_with(b"//! The behaviour of the server"));
    assert_eq!(sender.send_request(request("/none")).await.unwrap().status(), 404);
    drop(sender);
    let (socket, _) = tokio_tungstenite::connect_async(server.ws_url("/")).await.unwrap();
    drop(socket);
    server.stop().await.unwrap();
}
