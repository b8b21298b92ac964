//! The behaviour towards clients while the channel layer's backend is away.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use channel_layer::{ChannelLayer, LayerEvent, Message};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite;
use ws_consumer::{
    Application, Close, Consumer, Error, Exchange, Frame, HttpConsumer, Input, Json, NoEvents, NotFound,
    Protocols, Result, Resume, Router, Socket, SocketService, Transport, TypedConsumer, TypedSocket,
    consumer, typed,
};

use crate::support::{
    Client, Server, echo,
    outage::{Failing, Trouble},
    request,
    sessions::{ALL, Fault, SessionClient},
    timed,
};

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Order {
    #[serde(rename = "do")]
    Do { what: String },
}

/// Calls the layer as the frames say.
async fn call(socket: &mut Socket, what: &str) -> Result<()> {
    let said = Order::Do { what: "said".to_owned() };
    match what {
        "group_add" => socket.group_add("more").await,
        "group_discard" => {
            socket.channel().await?;
            socket.group_discard("more").await
        }
        "group_send" => socket.group_send("all", &said).await,
        "group_send_json" => socket.group_send_json("all", "said").await,
        "pipelined" => socket.group_send_pipelined("all", &said).await,
        "send_to" => {
            let channel = socket.channel().await?.clone();
            socket.send_to(&channel, &said).await
        }
        "submit" => socket.submit("work", &said).await,
        "layer" => {
            Ok(socket.layer().clone().group_send(&group("all").into(), Message::new("x")).await.map(drop)?)
        }
        "anyhow" => Err(anyhow::Error::from(later(socket).await).context("telling the room").into()),
        "spawn" => {
            let layer = socket.layer().clone();
            let job =
                async move { Ok(layer.group_send(&group("all").into(), Message::new("x")).await.map(drop)?) };
            socket.spawn(1, job).await
        }
        other => socket.send_text(other).await,
    }
}

async fn later(socket: &Socket) -> channel_layer::Error {
    socket.layer().group_send(&group("all").into(), Message::new("x")).await.expect_err("it fails")
}

fn group(name: &str) -> channel_layer::GroupName {
    name.parse().expect("a name")
}

const CALLS: [&str; 10] = [
    "group_discard",
    "group_send",
    "group_send_json",
    "pipelined",
    "send_to",
    "submit",
    "layer",
    "anyhow",
    "spawn",
    "group_add",
];

struct Obedient;

impl Consumer for Obedient {
    type Event = Order;

    const GROUPS: &'static [&'static str] = &["orders"];

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        call(socket, frame.text()?).await
    }
    async fn event(&mut self, socket: &mut Socket, event: &Order) -> Result<()> {
        let Order::Do { what } = event;
        call(socket, what).await
    }
    async fn layer_event(&mut self, socket: &mut Socket, event: LayerEvent) -> Result<()> {
        match event {
            LayerEvent::Reconnected { .. } => socket.send_text("gap").await,
            _ => Ok(()),
        }
    }
}

struct Case {
    layer: Arc<Failing>,
    server: Server,
}

impl Case {
    fn new(application: impl Application) -> Self {
        Self::with(Protocols::new().websocket(application))
    }

    fn with(protocols: Protocols) -> Self {
        let layer = Arc::new(Failing::default());
        let service = protocols.into_service(layer.clone() as Arc<dyn ChannelLayer>);
        Self { server: Server { layer: layer.memory.clone(), service }, layer }
    }

    fn service(&self) -> &SocketService<NotFound> {
        &self.server.service
    }

    /// The status and the time after which to come back.
    async fn refusal(&self) -> (u16, Option<String>) {
        match self.server.try_connect(request("/")).await {
            Err(tungstenite::Error::Http(response)) => {
                let after = response.headers().get("retry-after");
                (response.status().as_u16(), after.map(|after| after.to_str().expect("text").to_owned()))
            }
            other => panic!("expected a refusal, not {other:?}"),
        }
    }
}

async fn told(client: &mut Client) -> Value {
    serde_json::from_str(&client.text().await).expect("JSON")
}

fn assert_is_told(told: &Value, trouble: Trouble, context: &str) {
    let text = told["error"].as_str().unwrap_or_else(|| panic!("{context}: {told}"));
    assert!(!text.contains("canary") && !text.contains("WRONGPASS"), "{context}: {text}");
    let uncertain = trouble.is_uncertain();
    assert_eq!(text.contains("uncertain"), uncertain, "{context}: {text}");
    assert_eq!(told.get("uncertain"), uncertain.then_some(&json!(true)), "{context}");
}

#[tokio::test(start_paused = true)]
async fn outage_errors_reach_the_sender() {
    for trouble in Trouble::OUTAGES {
        let case = Case::new(consumer(|| Obedient));
        let mut client = case.server.connect("/").await;
        for what in CALLS {
            if what == "group_add" && trouble == Trouble::Unavailable {
                continue; // becomes wanted state
            }
            case.layer.set(trouble);
            client.send(what).await;
            assert_is_told(&told(&mut client).await, trouble, &format!("{trouble:?} {what}"));
            case.layer.set(None);
            client.send("still here").await;
            assert_eq!(client.text().await, "still here", "{trouble:?} {what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failing_event_hook_is_survived() {
    for trouble in Trouble::OUTAGES {
        let case = Case::new(consumer(|| Obedient));
        let mut client = case.server.connect("/").await;
        case.layer.set(trouble);
        let order = Message::new("do").with("what", "group_send");
        let report = case.layer.memory.group_send(&group("orders").into(), order).await.expect("in memory");
        assert_eq!(report.local.delivered, 1);
        assert_is_told(&told(&mut client).await, trouble, "event");
        client.send("still here").await;
        assert_eq!(client.text().await, "still here");
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_may_fail_after_accept() {
    struct Greeter;
    impl Consumer for Greeter {
        type Event = NoEvents;
        async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
            socket.accept().await?;
            socket.group_send_json("all", "hello").await
        }
        async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
            socket.send(frame).await
        }
        async fn layer_event(&mut self, socket: &mut Socket, _: LayerEvent) -> Result<()> {
            socket.group_send_json("all", "news").await
        }
    }
    let case = Case::new(consumer(|| Greeter));
    case.layer.set(Trouble::TimedOut);
    let mut client = case.server.connect("/").await;
    assert_is_told(&told(&mut client).await, Trouble::TimedOut, "connect");
    case.layer.cut_off();
    assert_is_told(&told(&mut client).await, Trouble::Unavailable, "layer_event");
    client.send("still here").await;
    assert_eq!(client.text().await, "still here");
}

#[tokio::test(start_paused = true)]
async fn typed_consumers_get_typed_errors() {
    struct Typed;
    impl TypedConsumer for Typed {
        type Codec = Json;
        type Input = Value;
        type Output<'a> = Value;
        type Event = NoEvents;
        async fn receive(&mut self, socket: &mut TypedSocket<'_, Self>, input: Value) -> Result<()> {
            let layer = socket.layer().clone();
            let work = |_: Value| async move {
                Ok(layer.group_send(&group("all").into(), Message::new("x")).await.map(|_| "done")?)
            };
            match input.get("ref") {
                Some(_) => socket.answer(&Frame::from_json(&input)?, Duration::from_secs(5), work).await,
                None => socket.group_send_json("all", &input).await,
            }
        }
    }
    for trouble in Trouble::OUTAGES {
        let case = Case::new(typed(|| Typed));
        let mut client = case.server.connect("/").await;
        case.layer.set(trouble);
        client.send("1").await;
        assert_is_told(&told(&mut client).await, trouble, "typed");
        client.send(r#"{"ref":7,"request":null}"#).await;
        let answer = told(&mut client).await;
        assert_eq!(answer["ref"], 7);
        assert!(answer["error"].is_string(), "{answer}");
        case.layer.set(None);
        client.send(r#"{"ref":8,"request":null}"#).await;
        assert_eq!(told(&mut client).await, json!({ "ref": 8, "reply": "done" }), "and nothing in between");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_live_in_an_outage() {
    for transport in ALL {
        let sockets = Router::new().consumer("/", || Obedient);
        let case = Case::with(Protocols::new().websocket(sockets).resume(Resume::default()));
        let mut client = timed(SessionClient::connected(case.service(), "/", transport)).await;
        case.layer.cut_off();
        client.send("group_send").await;
        assert!(timed(client.text()).await.contains("not done"), "{transport:?}");
        // A connection that breaks meanwhile is followed by another, with the same session.
        let token = client.token.clone();
        client.cut();
        timed(client.connect(transport)).await.expect("it goes on");
        assert!(token.is_some() && case.service().connections().len() == 1, "{transport:?}");
        client.send("still here").await;
        assert_eq!(timed(client.text()).await, "still here");
        case.layer.come_back();
        assert_eq!(timed(client.text()).await, "gap");
    }
}

#[tokio::test(start_paused = true)]
async fn outage_before_accept_is_503() {
    struct Careful;
    impl Consumer for Careful {
        type Event = NoEvents;
        async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
            socket.group_send_json("all", "hello").await?;
            socket.accept().await
        }
    }
    for trouble in Trouble::OUTAGES {
        let case = Case::new(consumer(|| Careful));
        case.layer.set(trouble);
        assert_eq!(case.refusal().await, (503, Some("1".to_owned())), "{trouble:?}");
    }
    let case = Case::new(consumer(|| Careful));
    case.layer.set(Trouble::Closed);
    assert_eq!(case.refusal().await, (500, None), "a layer that was closed does not come back");
}

#[tokio::test(start_paused = true)]
async fn plain_requests_are_503() {
    struct Teller;
    impl HttpConsumer for Teller {
        type Event = NoEvents;
        async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
            exchange.group_send_json("all", "hello").await?;
            exchange.send_response(StatusCode::OK, "").await
        }
    }
    let case = Case::with(Protocols::new().requests(Router::new().http("/", || Teller)));
    let mut statuses = Vec::new();
    for trouble in [Some(Trouble::Unavailable), Some(Trouble::TimedOut), None] {
        case.layer.set(trouble);
        let answer =
            crate::support::raw(&case.server, b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        let answer = String::from_utf8(answer.await).expect("text");
        let again = answer.contains("retry-after: 1");
        statuses.push((answer[9..12].to_owned(), again));
    }
    assert_eq!(statuses, [("503".to_owned(), true), ("503".to_owned(), true), ("200".to_owned(), false)]);
}

#[tokio::test(start_paused = true)]
async fn known_outage_refuses_newcomers() {
    for early in [true, false] {
        let case = Case::new(echo);
        if !early {
            case.server.connect("/").await.leave().await;
        }
        case.layer.cut_off();
        tokio::task::yield_now().await;
        assert_eq!(case.refusal().await, (503, Some("1".to_owned())), "early: {early}");
        case.layer.come_back();
        tokio::task::yield_now().await;
        case.server.connect("/").await.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn layerless_applications_accept() {
    let case = Case::with(Protocols::new().websocket(echo).accept_in_outage());
    case.layer.cut_off();
    case.server.connect("/").await.leave().await;
}

#[tokio::test(start_paused = true)]
async fn outage_opens_no_session() {
    for transport in ALL {
        let case = Case::with(Protocols::new().websocket(echo).resume(Resume::default()));
        case.layer.cut_off();
        let mut client = SessionClient::new(case.service(), "/");
        assert!(matches!(timed(client.connect(transport)).await, Err(Fault::Status(503))), "{transport:?}");
        case.layer.come_back();
        tokio::task::yield_now().await;
        timed(client.connect(transport)).await.expect("let in");
    }
}

/// Two processes on one layer.
#[tokio::test(start_paused = true)]
async fn remote_sessions_outlive_an_outage() {
    for transport in [Transport::WebSocket, Transport::EventStream, Transport::LongPoll, Transport::Poll] {
        let layer = Arc::new(Failing::default());
        let process = || {
            let sockets = Protocols::new().websocket(echo).resume(Resume::default());
            sockets.into_service(layer.clone() as Arc<dyn ChannelLayer>)
        };
        let (home, other) = (process(), process());
        let mut client = timed(SessionClient::connected(&home, "/", transport)).await;
        client.cut();
        client.moves_to(&other);
        layer.set(Trouble::Unavailable);
        assert!(matches!(timed(client.connect(transport)).await, Err(Fault::Status(503))), "{transport:?}");
        layer.set(None);
        timed(client.connect(transport)).await.expect("it goes on");
        assert_eq!((home.connections().len(), other.connections().len()), (1, 0), "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn groups_joined_in_outage_work_later() {
    let case = Case::new(consumer(|| Obedient));
    let mut client = case.server.connect("/").await;
    case.layer.cut_off();
    client.send("group_add").await;
    client.send("no complaint").await;
    assert_eq!(client.text().await, "no complaint");
    case.layer.come_back();
    assert_eq!(client.text().await, "gap");
    let hello = Message::websocket_text("hello");
    let _sent = case.layer.group_send(&group("more").into(), hello).await.expect("it works again");
    assert_eq!(client.text().await, "hello");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_a_second_time() {
    for trouble in Trouble::OUTAGES {
        let case = Case::new(consumer(|| Obedient));
        let mut client = case.server.connect("/").await;
        case.layer.set(trouble);
        client.send("group_send").await;
        client.send("pipelined").await;
        told(&mut client).await;
        told(&mut client).await;
        case.layer.come_back();
        assert_eq!(client.text().await, "gap");
        assert_eq!(case.layer.group_sends.load(std::sync::atomic::Ordering::Relaxed), 2, "{trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failing_error_hook_runs_once() {
    struct Stubborn;
    impl Consumer for Stubborn {
        type Event = NoEvents;
        async fn receive(&mut self, socket: &mut Socket, _: Frame) -> Result<()> {
            socket.group_send_json("all", "hello").await
        }
        async fn error(&mut self, socket: &mut Socket, _: Error) -> Result<()> {
            socket.group_send_json("all", "somebody has a problem").await
        }
    }
    let case = Case::new(consumer(|| Stubborn));
    let mut client = case.server.connect("/").await;
    case.layer.set(Trouble::Unavailable);
    client.send("x").await;
    assert_eq!(client.close_code().await, 1013);
    assert_eq!(case.layer.group_sends.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn custom_hooks_reach_the_default() {
    struct Own;
    impl Consumer for Own {
        type Event = NoEvents;
        async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
            match frame.text()? {
                "own" => Err(Error::other("own")),
                "fail" => Err(Error::other("fail")),
                text => socket.group_send_json("all", text).await,
            }
        }
        async fn error(&mut self, socket: &mut Socket, error: Error) -> Result<()> {
            match error {
                Error::Other(cause) if cause.to_string() == "own" => socket.send_text("handled").await,
                error => socket.answer_error(error).await,
            }
        }
    }
    let case = Case::new(consumer(|| Own));
    let mut client = case.server.connect("/").await;
    case.layer.set(Trouble::TimedOut);
    client.send("own").await;
    assert_eq!(client.text().await, "handled");
    client.send("hello").await;
    assert_is_told(&told(&mut client).await, Trouble::TimedOut, "own hook");
    client.send("fail").await;
    assert_eq!(client.close_code().await, 1011);
}

#[tokio::test(start_paused = true)]
async fn outage_in_a_loop_is_1013() {
    async fn speak(mut socket: Socket) -> Result<()> {
        socket.accept().await?;
        while let Some(input) = socket.next().await? {
            if let Input::Frame(_) = input {
                socket.group_send_json("all", "x").await?;
            }
        }
        Ok(())
    }
    for (trouble, code) in [
        (Trouble::Unavailable, Close::TRY_AGAIN_LATER),
        (Trouble::TimedOut, Close::TRY_AGAIN_LATER),
        (Trouble::Closed, Close::INTERNAL),
    ] {
        let case = Case::new(speak);
        let mut client = case.server.connect("/").await;
        case.layer.set(trouble);
        client.send("x").await;
        assert_eq!(client.close_code().await, code, "{trouble:?}");
    }
}
