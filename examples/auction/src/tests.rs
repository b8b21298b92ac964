//! Bids, their refusals, the end of a lot, logins, and the stream of all lots.

use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;
use ws_consumer::testing::{TestApp, WebsocketCommunicator};

use super::{pages::Bidder, *};

/// An open auction, whose first lot ends after these seconds.
fn open(seconds: u64) -> TestApp {
    let layer: Arc<dyn ChannelLayer> = Arc::new(channel_layer::MemoryLayer::default());
    tokio::spawn(house::run(layer.clone(), &WARES, Duration::from_secs(seconds), std::future::pending()));
    TestApp::with_layer(sockets(), layer)
}

/// A viewer of the first lot, and the first frame.
async fn view(app: &TestApp, user: &str) -> (WebsocketCommunicator, Value) {
    // A countdown ticks each second.
    let viewer = app.websocket("/ws/lots/1").with_patience(Duration::from_secs(2));
    let mut viewer = viewer.with_identity(Bidder(user.to_owned()));
    viewer.connect().await.unwrap();
    let first = next(&mut viewer).await;
    (viewer, first)
}

/// The next frame that is no notice.
async fn next(viewer: &mut WebsocketCommunicator) -> Value {
    loop {
        let frame: Value = viewer.receive_json_from().await;
        if frame["type"] != "countdown" && frame["type"] != "joined" {
            return frame;
        }
    }
}

async fn bid(viewer: &mut WebsocketCommunicator, amount: Value) -> Value {
    viewer.send_json_to(&json!({ "ref": 1, "request": { "amount": amount } })).await;
    next(viewer).await
}

#[tokio::test(start_paused = true)]
async fn bids_reach_all_viewers() {
    let app = open(60);
    let lots = Router::new().http("/lots", || LotStream);
    let mut stream = TestApp::with_layer(lots, app.layer().clone()).http("GET", "/lots");
    stream.send_request().await;
    assert_eq!(stream.get_headers().await.headers["content-type"], "text/event-stream");
    let ((mut ann, first), (mut eve, _)) = (view(&app, "ann").await, view(&app, "eve").await);
    assert_eq!((&first["type"], &first["lot"]["price"]), (&json!("changed"), &json!(40)));
    let reply = bid(&mut ann, json!(50)).await;
    assert_eq!((&reply["ref"], &reply["reply"]["leader"]), (&json!(1), &json!("ann")));
    for viewer in [&mut ann, &mut eve] {
        let lot = next(viewer).await["lot"].take();
        assert_eq!((&lot["price"], &lot["leader"], &lot["bids"]), (&json!(50), &json!("ann"), &json!(1)));
    }
    let mut streamed = String::new();
    while !streamed.contains(r#""leader":"ann""#) {
        streamed += std::str::from_utf8(&stream.next_chunk().await.0).unwrap();
    }
    assert_eq!(streamed.matches("data: ").count(), WARES.len() + 1, "{streamed}");
}

#[tokio::test(start_paused = true)]
async fn refused_bids_have_reasons() {
    let app = open(60);
    let (mut ann, _) = view(&app, "ann").await;
    for (amount, reason) in [
        (json!(44), "the next bid is at least 45"),
        (json!(u64::MAX), "a bid is at most 1000000"),
        (json!(-50), "invalid value: integer `-50`"),
        (json!("50"), "invalid type: string"),
    ] {
        let reply = bid(&mut ann, amount).await;
        assert!(reply["error"].as_str().is_some_and(|told| told.contains(reason)), "{reply}");
    }
    let refuse = app.websocket("/ws/lots/9").connect().await.unwrap_err();
    assert_eq!((refuse.status.as_u16(), &view(&app, "eve").await.1["lot"]["bids"]), (404, &json!(0)));
}

#[tokio::test(start_paused = true)]
async fn lots_end_after_a_countdown() {
    let app = open(3);
    let (mut ann, first) = view(&app, "ann").await;
    assert_eq!(first["lot"]["ends_in_ms"], 3000);
    let mut frames: Vec<Value> = Vec::new();
    while frames.last().is_none_or(|frame| frame["type"] != "changed") {
        frames.push(ann.receive_json_from().await);
    }
    let countdown = [3, 2, 1].map(|seconds| json!({ "type": "countdown", "seconds": seconds }));
    assert!(countdown.iter().all(|frame| frames.contains(frame)), "{frames:?}");
    assert!(frames.contains(&json!({ "type": "joined", "user": "ann" })), "{frames:?}");
    let end = &frames[frames.len() - 1]["lot"];
    assert_eq!((&end["is_over"], &end["ends_in_ms"]), (&json!(true), &json!(0)));
    let late = bid(&mut ann, json!(50)).await;
    assert_eq!(late["error"], "the lot is closed");
    assert!(ann.receive_nothing(Duration::from_secs(5)).await, "the countdown has ended");
}

#[tokio::test(start_paused = true)]
async fn bids_need_a_login() {
    let (app, peer) = (open(60), ws_consumer::Peer(([192, 0, 2, 1], 7).into()));
    let sessions = Sessions::new(MemoryStore::default()).insecure();
    let pages = guarded_pages(app.layer().clone(), sessions.clone());
    let sockets = TestApp::with_layer(guarded_sockets(sessions), app.layer().clone());
    for (form, status, answer) in [
        ("username=ann&password=bob-secret", 401, r#""error":"log in to bid""#),
        ("username=joe&password=joe-secret", 401, r#""error":"log in to bid""#),
        ("username=ann&password=ann-secret", 303, r#""leader":"ann""#),
    ] {
        let request = Request::post("/login").header("content-type", "application/x-www-form-urlencoded");
        let request = request.extension(peer).body(Body::from(form)).unwrap();
        let response = pages.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{form}");
        let mut viewer = sockets.websocket("/ws/lots/1");
        if let Some(cookie) = response.headers().get(header::SET_COOKIE) {
            viewer = viewer.with_header("cookie", cookie.to_str().unwrap().split(';').next().unwrap());
        }
        viewer.connect().await.unwrap();
        next(&mut viewer).await;
        let reply = bid(&mut viewer, json!(50)).await;
        assert!(reply.to_string().contains(answer), "{form}: {reply}");
    }
}
