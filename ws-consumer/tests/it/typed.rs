//! Typed consumers: encodings, codecs, requests.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{
    marker::PhantomData,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use ws_consumer::{
    BroadcastExt, Codec, Decode, Encode, Error, Frame, Json, NoEvents, Result, Router, SerdeCodec,
    TypedConsumer, TypedRequests, TypedSocket,
    testing::{TestApp, WebsocketCommunicator},
    typed, typed_requests,
};

// ---- one encoding for all members

/// Counts how often it is encoded.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Counted {
    text: String,
    #[serde(skip)]
    encoded: AtomicUsize,
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.encoded.fetch_add(1, Relaxed);
        serializer.serialize_str(&self.text)
    }
}

/// The encodings of outputs that were made of events.
static OF_EVENTS: AtomicUsize = AtomicUsize::new(0);

#[derive(Serialize)]
#[serde(untagged)]
enum Said<'a> {
    Counted(&'a Counted),
    OfEvent(OfEvent<'a>),
}

struct OfEvent<'a>(&'static str, &'a str);

impl Serialize for OfEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        OF_EVENTS.fetch_add(1, Relaxed);
        serializer.collect_str(&format_args!("{} {}", self.0, self.1))
    }
}

#[derive(Deserialize, Serialize)]
struct Spoken {
    r#type: String,
    text: String,
}

/// Speaks German on `/de`.
#[derive(Default)]
struct Member;

impl TypedConsumer for Member {
    type Codec = Json;
    type Input = Counted;
    type Output<'a> = Said<'a>;
    type Event = Spoken;

    const GROUPS: &'static [&'static str] = &["members"];

    async fn receive(&mut self, socket: &mut TypedSocket<'_, Self>, said: Counted) -> Result<()> {
        if said.text == "as an event" {
            let spoken = Spoken { r#type: "spoken".into(), text: said.text };
            return socket.group_send_event("members", &spoken).await;
        }
        if said.text == "to others" {
            return socket.broadcast_to_others("members", &Said::Counted(&said)).await;
        }
        socket.broadcast("members", &Said::Counted(&said)).await?;
        assert_eq!(said.encoded.load(Relaxed), 1);
        socket.broadcast_pipelined("members", &Said::Counted(&said)).await
    }

    async fn event(&mut self, socket: &mut TypedSocket<'_, Self>, event: &Spoken) -> Result<()> {
        match socket.scope().path() {
            "/de" => socket.send_shared(event, |event| Said::OfEvent(OfEvent("gesagt:", &event.text))).await,
            _ => socket.send_shared(event, |event| Said::OfEvent(OfEvent("said:", &event.text))).await,
        }
    }
}

async fn members(app: &TestApp) -> Vec<WebsocketCommunicator> {
    let mut members: Vec<_> =
        (0..50).map(|n| app.websocket(if n % 2 == 0 { "/en" } else { "/de" })).collect();
    for member in &mut members {
        member.connect().await.unwrap();
    }
    members
}

#[tokio::test(start_paused = true)]
async fn broadcasts_may_spare_the_sender() {
    let app = TestApp::new(typed(Member::default));
    let mut members = members(&app).await;
    members[0].send_json_to("to others").await;
    for member in &mut members[1..] {
        member.assert_sent(json!("to others")).await;
    }
    members[0].refute_any_sent().await;
}

#[tokio::test(start_paused = true)]
async fn outputs_are_encoded_once_for_all() {
    let app = TestApp::new(typed(Member::default));
    let mut members = members(&app).await;
    members[0].send_json_to("hello").await;
    for member in &mut members {
        member.assert_sent(json!("hello")).await;
        member.assert_sent(json!("hello")).await;
    }
    let said = Counted { text: "from outside".into(), ..Counted::default() };
    let report = app.layer().broadcast::<Member>("members", &Said::Counted(&said)).await.unwrap();
    assert_eq!((said.encoded.load(Relaxed), report.local.delivered), (1, 50));
    for member in &mut members {
        member.assert_sent(json!("from outside")).await;
    }
    members[0].send_json_to("as an event").await;
    for (n, member) in members.iter_mut().enumerate() {
        let said = if n % 2 == 0 { "said: as an event" } else { "gesagt: as an event" };
        assert_eq!(member.receive_json_from::<String>().await, said);
    }
    assert_eq!(OF_EVENTS.load(Relaxed), 2, "once for each language");
}

/// An event that is not the hook's own is encoded as well, for this connection.
#[tokio::test(start_paused = true)]
async fn other_events_are_not_shared() {
    #[derive(Default)]
    struct Mixed;
    impl TypedConsumer for Mixed {
        type Codec = Json;
        type Input = String;
        type Output<'a> = &'a str;
        type Event = Spoken;

        const GROUPS: &'static [&'static str] = &["mixed"];

        async fn receive(&mut self, socket: &mut TypedSocket<'_, Self>, text: String) -> Result<()> {
            let event = Spoken { r#type: "spoken".into(), text };
            socket.send_shared(&event, |event| &event.text).await?;
            socket.group_send_event("mixed", &event).await
        }
        async fn event(&mut self, socket: &mut TypedSocket<'_, Self>, event: &Spoken) -> Result<()> {
            let other = Spoken { r#type: "spoken".into(), text: format!("not {}", event.text) };
            socket.send_shared(event, |event| &event.text).await?;
            socket.send_shared(&other, |event| &event.text).await
        }
    }
    let app = TestApp::new(typed(Mixed::default));
    let (mut one, mut other) = (app.websocket("/"), app.websocket("/"));
    one.connect().await.unwrap();
    other.connect().await.unwrap();
    one.send_json_to("a").await;
    for (client, texts) in [(&mut one, &["a", "a", "not a"][..]), (&mut other, &["a", "not a"])] {
        for text in texts {
            assert_eq!(client.receive_json_from::<String>().await, *text);
        }
    }
}

// ---- a codec that is no format of serde

#[derive(Debug, PartialEq)]
struct Reading {
    sensor: u16,
    celsius: f32,
}

/// Six bytes in network order; an acknowledgement is the sensor's number.
enum Layout {}

impl Codec for Layout {}

impl Decode<Reading> for Layout {
    fn decode(frame: &Frame) -> Result<Reading> {
        let bytes = frame.bytes()?.as_ref();
        let Ok([a, b, celsius @ ..]) = <[u8; 6]>::try_from(bytes) else {
            return Err(Error::bad_input(format!("a reading has 6 bytes, not {}", bytes.len())));
        };
        Ok(Reading { sensor: u16::from_be_bytes([a, b]), celsius: f32::from_be_bytes(celsius) })
    }
}

struct Acknowledged<'a>(&'a Reading);

impl Encode<Acknowledged<'_>> for Layout {
    fn encode(acknowledged: &Acknowledged<'_>) -> Result<Frame> {
        Ok(acknowledged.0.sensor.to_be_bytes().to_vec().into())
    }
}

#[derive(Default)]
struct Sensor;

impl TypedConsumer for Sensor {
    type Codec = Layout;
    type Input = Reading;
    type Output<'a> = Acknowledged<'a>;
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut TypedSocket<'_, Self>, reading: Reading) -> Result<()> {
        socket.send(&Acknowledged(&reading)).await
    }
}

#[tokio::test(start_paused = true)]
async fn codecs_need_no_serde() {
    let app = TestApp::new(typed(Sensor::default));
    let mut sensor = app.websocket("/");
    sensor.connect().await.unwrap();
    sensor.send_to(vec![1, 2, 0x41, 0xAC, 0, 0]).await;
    assert_eq!(sensor.receive_from().await, Frame::from(vec![1, 2]));
    assert_eq!(
        Layout::decode(&Frame::from(vec![1, 2, 0x41, 0xAC, 0, 0])).unwrap(),
        Reading { sensor: 258, celsius: 21.5 }
    );
}

/// A layout without a form for errors closes the connection.
#[tokio::test(start_paused = true)]
async fn faults_of_a_layout_end_the_connection() {
    let app = TestApp::new(typed(Sensor::default));
    for (fault, frame) in [
        ("a reading has 6 bytes, not 5", Frame::from(vec![0; 5])),
        ("a reading has 6 bytes, not 7", Frame::from(vec![0; 7])),
        ("a reading has 6 bytes, not 0", Frame::from(vec![])),
        ("a binary frame is expected", Frame::from("sixtee")),
    ] {
        assert_eq!(Layout::decode(&frame).unwrap_err().to_string(), fault);
        let mut sensor = app.websocket("/");
        sensor.connect().await.unwrap();
        sensor.send_to(frame).await;
        assert_eq!(sensor.receive_close().await.code, 1007, "{fault}");
    }
}

#[test]
fn faults_of_serde_codecs_are_bad_input() {
    #[cfg_attr(not(feature = "msgpack"), allow(unused_mut, reason = "that codec has more"))]
    let mut cases: Vec<(&str, Result<Vec<u8>>)> = vec![
        ("too short", Json::decode(&Frame::from("[1,"))),
        ("too long", Json::decode(&Frame::from("[1] 2"))),
        ("another type", Json::decode(&Frame::from("{}"))),
        ("empty", Json::decode(&Frame::from(""))),
        ("bytes", Json::decode(&Frame::from(b"[1]".to_vec()))),
    ];
    #[cfg(feature = "msgpack")]
    {
        use ws_consumer::MessagePack;
        cases.extend([
            ("too short", MessagePack::decode(&Frame::from(vec![0x92, 1]))),
            ("too long", MessagePack::decode(&Frame::from(vec![0x91, 1, 2]))),
            ("another type", MessagePack::decode(&Frame::from(vec![0x80]))),
            ("empty", MessagePack::decode(&Frame::from(vec![]))),
            ("text", MessagePack::decode(&Frame::from("[1]"))),
        ]);
    }
    for (fault, decoded) in cases {
        assert!(decoded.unwrap_err().is_bad_input(), "{fault}");
    }
}

// ---- requests

/// Remembers the inputs, and replies with a borrowed one.
struct Answering<C> {
    names: Vec<String>,
    codec: PhantomData<fn() -> C>,
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Question {
    Name { number: usize },
    Sleep { seconds: u64 },
    Fail,
    Tell { text: String },
}

impl<C: SerdeCodec> TypedConsumer for Answering<C> {
    type Codec = C;
    type Input = String;
    type Output<'a> = &'a str;
    type Event = NoEvents;

    async fn receive(&mut self, _: &mut TypedSocket<'_, Self>, name: String) -> Result<()> {
        self.names.push(name);
        Ok(())
    }
}

impl<C: SerdeCodec> TypedRequests for Answering<C> {
    type Request = Question;
    type Reply<'a> = Option<&'a str>;

    const TIMEOUT: Duration = Duration::from_secs(5);

    async fn request(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        question: Question,
    ) -> Result<Option<&str>> {
        match question {
            Question::Name { number } => {
                let name = self.names.get(number).ok_or_else(|| Error::bad_input("no such name"))?;
                return Ok(Some(name));
            }
            Question::Sleep { seconds } => tokio::time::sleep(Duration::from_secs(seconds)).await,
            Question::Fail => return Err(Error::other("disk")),
            Question::Tell { text } => socket.send(&text.as_str()).await?,
        }
        Ok(None)
    }
}

async fn answers_in<C: SerdeCodec>() {
    let make = || Answering::<C> { names: Vec::new(), codec: PhantomData };
    let app =
        TestApp::new(Router::new().typed_requests("/", make).application("/same", typed_requests(make)));
    let mut client = app.websocket("/").with_patience(Duration::from_secs(60));
    client.connect().await.unwrap();
    client.send_to(C::to_frame("ann").unwrap()).await;
    let bad = "unknown variant `what`, expected one of `name`, `sleep`, `fail`, `tell`";
    for (request, answer) in [
        (json!({ "ref": 7, "request": Question::Name { number: 0 } }), json!({ "ref": 7, "reply": "ann" })),
        (
            json!({ "ref": "a", "request": Question::Name { number: 1 } }),
            json!({ "ref": "a", "error": "no such name" }),
        ),
        (json!({ "ref": 8, "request": Question::Sleep { seconds: 4 } }), json!({ "ref": 8, "reply": null })),
        (
            json!({ "ref": 9, "request": Question::Sleep { seconds: 6 } }),
            json!({ "ref": 9, "error": "timed out" }),
        ),
        (json!({ "ref": 10, "request": { "type": "what" } }), json!({ "ref": 10, "error": bad })),
    ] {
        client.send_to(C::to_frame(&request).unwrap()).await;
        let mut answered: Value = C::from_frame(&client.receive_from().await).unwrap();
        if let Some(error) = answered["error"].as_str() {
            answered["error"] = error.split(" at line").next().into();
        }
        assert_eq!(answered, answer);
    }
    client.send_to(C::to_frame(&json!({ "request": 2 })).unwrap()).await;
    let told: Value = C::from_frame(&client.receive_from().await).unwrap();
    assert!(told["error"].as_str().unwrap().contains("invalid type"), "no request, and no input: {told}");
    client
        .send_to(C::to_frame(&json!({ "ref": 1, "request": Question::Tell { text: "hi".into() } })).unwrap())
        .await;
    assert_eq!(C::from_frame::<Value>(&client.receive_from().await).unwrap(), json!("hi"), "hooks may send");
    client.receive_from().await;
    client.send_to(C::to_frame(&json!({ "ref": 2, "request": Question::Fail })).unwrap()).await;
    let told: Value = C::from_frame(&client.receive_from().await).unwrap();
    assert_eq!(told, json!({ "ref": 2, "error": "failed" }), "the client does not learn why");
    assert_eq!(client.receive_close().await.code, 1011);
}

#[tokio::test(start_paused = true)]
async fn typed_requests_are_answered() {
    answers_in::<Json>().await;
    #[cfg(feature = "msgpack")]
    answers_in::<ws_consumer::MessagePack>().await;
}

async fn values_in<C: SerdeCodec>() {
    let make = || Answering::<C> { names: Vec::new(), codec: PhantomData };
    let app = TestApp::new(typed_requests(make));
    let mut client = app.websocket("/").typed::<Answering<C>>();
    client.connect().await.unwrap();
    client.send_value_to(&"ann").await;
    client.send_value_to(&json!({ "ref": 1, "request": Question::Tell { text: "hi".into() } })).await;
    client.refute_value_sent(&"ho").await;
    client.assert_value_sent(&"hi").await;
    client.send_value_to(&json!({ "ref": 2, "request": Question::Name { number: 0 } })).await;
    assert_eq!(client.receive_value_from::<Value>().await, json!({ "ref": 1, "reply": null }));
    assert_eq!(client.receive_value_from::<Value>().await, json!({ "ref": 2, "reply": "ann" }));
    client.disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn test_clients_speak_the_codec() {
    values_in::<Json>().await;
    #[cfg(feature = "msgpack")]
    values_in::<ws_consumer::MessagePack>().await;
}
