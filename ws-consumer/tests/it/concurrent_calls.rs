//! Requests in both directions, selections and users of concurrent consumers.

use std::time::Duration;

use channel_layer::{ChannelLayerExt, GroupActivity, Message, Tag};
use serde::Deserialize;
use serde_json::{Value, json};
use ws_consumer::{
    ConcurrentConsumer, ConcurrentSocket, Error, Frame, NoEvents, Result, UsersExt, concurrent,
    testing::{TestApp, WebsocketCommunicator},
};

const SECOND: Duration = Duration::from_secs(1);

fn client(app: &TestApp) -> WebsocketCommunicator {
    app.websocket("/").with_patience(60 * SECOND)
}

struct Sleeper;

impl ConcurrentConsumer for Sleeper {
    type Event = NoEvents;

    async fn receive(&self, socket: &ConcurrentSocket, frame: Frame) -> Result<()> {
        let work = |seconds: u64| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            if seconds == 4 { Err(Error::other("disk")) } else { Ok(json!({ "slept": seconds })) }
        };
        socket.answer(&frame, 5 * SECOND, work).await
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_answers_overlap() {
    let mut client = client(&TestApp::new(concurrent(|| Sleeper)));
    client.connect().await.unwrap();
    for request in [
        json!({ "ref": 7, "request": 2 }),
        json!({ "ref": "a", "request": 9 }),
        json!({ "ref": 8, "request": 1 }),
        json!({ "request": 1 }),
        json!({ "ref": 9, "request": "two" }),
    ] {
        client.send_json_to(&request).await;
    }
    for answer in [
        json!({ "error": "missing field `ref` at line 1 column 13" }),
        json!({ "ref": 9, "error": "invalid type: string \"two\", expected u64" }),
        json!({ "ref": 8, "reply": { "slept": 1 } }),
        json!({ "ref": 7, "reply": { "slept": 2 } }),
        json!({ "ref": "a", "error": "timed out" }),
    ] {
        assert_eq!(client.receive_json_from::<Value>().await, answer);
    }
    client.send_json_to(&json!({ "ref": 10, "request": 4 })).await;
    client.assert_sent(json!({ "ref": 10, "error": "failed" })).await;
    assert_eq!(client.receive_close().await.code, 1011, "the server learns why it failed");
}

/// Sends a request to the client for every frame; two at once for `both`.
struct Asking;

impl ConcurrentConsumer for Asking {
    type Event = NoEvents;

    const LIMIT: usize = 2;

    async fn receive(&self, socket: &ConcurrentSocket, frame: Frame) -> Result<()> {
        let ask = async |name: &str| socket.request::<_, u32>(&format!("{name}?"), 5 * SECOND).await;
        let name = frame.text()?;
        match name {
            "both" => {
                let (left, right) = tokio::join!(ask("left"), ask("right"));
                socket.send_text(format!("{}", left? * 10 + right?)).await
            }
            "group" => {
                let group: String = socket.request("which group?", 5 * SECOND).await?;
                socket.group_add(&*group).await
            }
            name if name.starts_with('{') => socket.send_text(format!("frame {name}")).await,
            name => match ask(name).await {
                Ok(reply) => socket.send_text(format!("{name}={reply}")).await,
                Err(error) => socket.send_text(format!("{name}: {error}")).await,
            },
        }
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_overlap() {
    let mut client = client(&TestApp::new(concurrent(|| Asking)));
    client.connect().await.unwrap();
    client.send_to("a").await;
    client.assert_sent(json!({ "ref": 1, "request": "a?" })).await;
    client.send_to("b").await;
    client.assert_sent(json!({ "ref": 2, "request": "b?" })).await;
    client.send_json_to(&json!({ "ref": 2, "reply": 5 })).await;
    client.assert_sent("b=5").await;
    client.send_json_to(&json!({ "ref": 1, "error": "no idea" })).await;
    client.assert_sent("a: no idea").await;
    client.send_to("both").await;
    client.assert_sent(json!({ "ref": 3, "request": "left?" })).await;
    client.assert_sent(json!({ "ref": 4, "request": "right?" })).await;
    client.send_json_to(&json!({ "ref": 4, "reply": 2 })).await;
    client.send_json_to(&json!({ "ref": 5, "reply": 9 })).await; // to no request
    client.assert_sent(r#"frame {"ref":5,"reply":9}"#).await;
    client.send_json_to(&json!({ "ref": 3, "reply": 1 })).await;
    client.assert_sent("12").await;
}

/// All hooks wait for answers, which are behind more frames than may wait otherwise.
#[tokio::test(start_paused = true)]
async fn answers_are_found_behind_waiting_frames() {
    let mut client = client(&TestApp::new(concurrent(|| Asking)));
    client.connect().await.unwrap();
    for name in ["a", "b"] {
        client.send_to(name).await;
    }
    for (number, name) in [(1, "a?"), (2, "b?")] {
        client.assert_sent(json!({ "ref": number, "request": name })).await;
    }
    for number in 0..100 {
        client.send_to(format!("c{number}")).await;
    }
    client.send_json_to(&json!({ "ref": 2, "reply": 2 })).await;
    client.assert_sent("b=2").await;
    client.assert_sent(json!({ "ref": 3, "request": "c0?" })).await;
    client.send_json_to(&json!({ "ref": 3, "reply": 3 })).await;
    client.send_json_to(&json!({ "ref": 1, "reply": 1 })).await;
    client.assert_sent("c0=3").await;
    client.assert_sent(json!({ "ref": 4, "request": "c1?" })).await;
    client.assert_sent("a=1").await;
    client.assert_sent(json!({ "ref": 5, "request": "c2?" })).await;
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_end() {
    let app = TestApp::new(concurrent(|| Asking));
    let mut client = client(&app);
    client.connect().await.unwrap();
    client.send_to("late").await;
    client.assert_sent(json!({ "ref": 1, "request": "late?" })).await;
    client.assert_sent("late: the client did not answer within 5s").await;
    client.send_json_to(&json!({ "ref": 1, "reply": 1 })).await;
    client.assert_sent(r#"frame {"ref":1,"reply":1}"#).await;
    client.send_to("group").await;
    client.assert_sent(json!({ "ref": 2, "request": "which group?" })).await;
    client.send_json_to(&json!({ "ref": 2, "reply": "no group!" })).await;
    let told: Value = client.receive_json_from().await;
    assert!(told["error"].is_string(), "the client chose the name: {told}");
    for name in ["x", "y"] {
        client.send_to(name).await;
        client.receive_from().await;
    }
    let start = tokio::time::Instant::now();
    client.disconnect().await;
    assert!(start.elapsed() < SECOND, "no answer can come any more");
}

// ---- selections, users, shared frames

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Event {
    #[serde(rename = "trade")]
    Trade { symbol: String },
    #[serde(rename = "group.activity")]
    Activity(GroupActivity),
}

struct Trades;

impl ConcurrentConsumer for Trades {
    type Event = Event;

    async fn receive(&self, socket: &ConcurrentSocket, frame: Frame) -> Result<()> {
        match frame.text()? {
            "passive" => socket.group_add_passive("trades", SECOND).await?,
            "mistake" => socket.group_add_where("trades", "{}").await?,
            user if user.starts_with("user") => socket.identify(user).await?,
            symbol => socket.group_add_where("trades", Tag::new("symbol").is(symbol)).await?,
        }
        socket.send_encoded(Message::websocket_text("done"))
    }
    async fn event(&self, socket: &ConcurrentSocket, event: &Event) -> Result<()> {
        match event {
            Event::Trade { symbol } => socket.send_text(symbol).await,
            Event::Activity(activity) => socket.send_text(activity.count.to_string()).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_sockets_select_and_identify() {
    let app = TestApp::new(concurrent(|| Trades));
    let mut client = client(&app);
    client.connect().await.unwrap();
    let trade = async |symbol: &str| {
        let trade = Message::new("trade").with("symbol", symbol).with_tag("symbol", symbol);
        let report = app.layer().group_send_message("trades", trade).await.unwrap();
        assert_eq!(report.local.full, 0);
    };
    client.send_to("BTC").await;
    client.assert_sent("done").await;
    trade("ETH").await;
    trade("BTC").await;
    client.assert_sent("BTC").await;
    client.send_to("passive").await;
    client.assert_sent("done").await;
    trade("ETH").await;
    trade("BTC").await;
    client.assert_sent("2").await;
    client.send_to("user7").await;
    client.assert_sent("done").await;
    let own = json!({ "type": "trade", "symbol": "own" });
    assert_eq!(app.layer().send_to_user("user7", &own).await.unwrap().local.delivered, 1);
    client.assert_sent("own").await;
    client.send_to("mistake").await;
    assert_eq!(client.receive_close().await.code, 1011, "an invalid filter of the server");
}
