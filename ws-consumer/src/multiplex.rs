//! The multiplexer: several subscriptions on one WebSocket.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    mem,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use channel_layer::{ChannelLayer, LayerEvent};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Sleep, sleep};

use crate::{
    application::Application,
    error::Result,
    frame::{self, Close, Frame},
    scope::Scope,
    settings::ConnectionSettings,
    socket::{Context, Socket},
    wire::{Incoming, Input, Outgoing, Running, Wire},
};

/// The most subscriptions of a WebSocket, as in Phoenix: each has its own consumer.
const MAX_SUBSCRIPTIONS: usize = 100;
/// The time in which a subscription must accept or refuse its client.
const DECISION: Duration = Duration::from_secs(10);

/// Runs many applications on one WebSocket, each behind a topic that looks like a separate WebSocket to it.
///
/// A topic is a path that the inner application, usually a [`Router`](crate::Router), serves like a URL. Consumers work
/// unchanged behind a multiplexer.
///
/// | the client sends | and receives |
/// |---|---|
/// | `{"op": "join", "topic": "/rooms/lobby/", "ref": 1}` | `{"op": "joined", "topic": .., "ref": 1}`, or `{"op": "refused", "topic": .., "ref": 1, "status": 404}` |
/// | `{"op": "send", "topic": .., "payload": ..}` | frames of the consumer: `{"op": "message", "topic": .., "payload": ..}` |
/// | `{"op": "leave", "topic": .., "ref": 2}` | `{"op": "left", "topic": .., "ref": 2, "code": 1000, "reason": ""}`, also when the consumer closes, then with `"ref": null` |
///
/// A failed operation is answered with `{"op": "error", "topic": .., "ref": .., "error": "reason"}`. Payloads are JSON;
/// requests with replies are those of [`Socket::answer`] and [`Socket::request`], within the payloads.
///
/// ```
/// # use ws_consumer::{Consumer, NoEvents};
/// # #[derive(Default)] struct Room; impl Consumer for Room { type Event = NoEvents; }
/// # #[derive(Default)] struct Feed; impl Consumer for Feed { type Event = NoEvents; }
/// use ws_consumer::{Multiplexer, Router};
///
/// let topics = Router::new().consumer("/rooms/{room}/", Room::default).consumer("/feed", Feed::default);
/// let sockets = Router::new().application("/ws", Multiplexer::new(topics));
/// ```
pub struct Multiplexer(Arc<dyn Application>);

impl Multiplexer {
    /// Serves topics with an application.
    pub fn new(topics: impl Application) -> Self {
        Self(Arc::new(topics))
    }
}

impl Application for Multiplexer {
    fn call(&self, context: Context) -> Running {
        Box::pin(run(self.0.clone(), Socket::from_context(context)))
    }

    /// The topics are not known yet, and have settings of their own.
    fn settings_at(&self, _: &Scope, around: ConnectionSettings) -> ConnectionSettings {
        around
    }

    fn own_layers(&self) -> Vec<Arc<dyn ChannelLayer>> {
        self.0.own_layers()
    }

    fn uses_ambient_credentials(&self) -> bool {
        self.0.uses_ambient_credentials()
    }

    /// The topics are not known yet.
    fn uses_ambient_credentials_at(&self, _: &Scope) -> bool {
        self.0.uses_ambient_credentials()
    }

    fn claims(&self, _: &Scope) -> bool {
        true
    }
}

#[derive(Deserialize)]
struct StreamRequest {
    op: StreamOp,
    topic: String,
    #[serde(default)]
    r#ref: Value,
    #[serde(default)]
    payload: Value,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum StreamOp {
    Join,
    Leave,
    Send,
}

async fn run(topics: Arc<dyn Application>, mut socket: Socket) -> Result<()> {
    socket.accept().await?;
    let mut streams = Streams { topics, all: HashMap::new(), outgoing: VecDeque::new() };
    let outcome = serve(&mut streams, &mut socket).await;
    let close = socket.closed().unwrap_or(Close::ABNORMAL.into());
    streams.leave_all(close).await;
    outcome
}

async fn serve(streams: &mut Streams, socket: &mut Socket) -> Result<()> {
    loop {
        let input = poll_fn(|cx| {
            streams.poll(cx);
            if streams.outgoing.is_empty() { socket.poll_next(cx).map(Some) } else { Poll::Ready(None) }
        });
        match input.await {
            Some(next) => match next? {
                Some(Input::Frame(frame)) => streams.handle(socket, &frame),
                Some(Input::Layer(event)) => streams.push_layer_event(event),
                Some(_) => {}
                None => return Ok(()),
            },
            None => {
                for frame in mem::take(&mut streams.outgoing) {
                    socket.send(frame).await?;
                }
            }
        }
    }
}

struct Streams {
    topics: Arc<dyn Application>,
    all: HashMap<String, Stream>,
    /// Frames for the client.
    outgoing: VecDeque<Frame>,
}

struct Stream {
    wire: Wire,
    /// The `ref` of the next request to answer.
    r#ref: Value,
    /// The deadline of the application's decision, until it is made.
    undecided: Option<Pin<Box<Sleep>>>,
    left: bool,
    /// Whether its channel layer is that of the socket, and so are the events of the layer.
    is_on_socket_layer: bool,
}

impl Streams {
    fn handle(&mut self, socket: &Socket, frame: &Frame) {
        let request: StreamRequest = match frame.json() {
            Ok(request) => request,
            Err(fault) => return self.reply(&json!({ "op": "error", "error": fault.to_string() })),
        };
        let many = self.all.len() >= MAX_SUBSCRIPTIONS;
        let fault = match (request.op, self.all.get_mut(&request.topic)) {
            (StreamOp::Join, None) if !many => {
                return self.join(socket.scope(), socket.settings().clone(), request);
            }
            (StreamOp::Join, None) => "too many subscriptions",
            (StreamOp::Join, Some(_)) => "joined already",
            (_, None) => "not joined",
            (StreamOp::Leave, Some(stream)) => {
                stream.r#ref = request.r#ref;
                return stream.wire.feed(Incoming::Disconnect(Close::NORMAL.into()));
            }
            (StreamOp::Send, Some(stream)) if stream.undecided.is_none() && stream.wire.wants_input() => {
                return stream.wire.feed(Incoming::Frame(Frame::Text(request.payload.to_string())));
            }
            (StreamOp::Send, Some(_)) => "busy",
        };
        self.reply(&json!({ "op": "error", "topic": request.topic, "ref": request.r#ref, "error": fault }));
    }

    fn join(&mut self, scope: &Scope, settings: ConnectionSettings, request: StreamRequest) {
        let StreamRequest { topic, r#ref, .. } = request;
        let Some(scope) = topic.starts_with('/').then(|| scope.moved_to(&topic)).flatten() else {
            return self.reply(&json!({ "op": "refused", "topic": topic, "ref": r#ref, "status": 400 }));
        };
        let around = settings.clone();
        let settings = self.topics.settings_at(&scope, settings);
        let is_on_socket_layer = Arc::ptr_eq(settings.layer(), around.layer());
        let wire = Context::open(scope, settings, |context| self.topics.call(context));
        let undecided = Some(Box::pin(sleep(DECISION)));
        self.all.insert(topic, Stream { wire, r#ref, undecided, left: false, is_on_socket_layer });
    }

    fn push_layer_event(&self, event: LayerEvent) {
        let streams = self.all.values().filter(|stream| stream.is_on_socket_layer);
        streams.for_each(|stream| stream.wire.connection().push_layer_event(event));
    }

    /// Polls all subscriptions, and collects their output.
    fn poll(&mut self, cx: &mut task::Context<'_>) {
        let outgoing = &mut self.outgoing;
        self.all.retain(|topic, stream| {
            let ended = stream.poll(cx, topic, outgoing);
            !ended
        });
    }

    fn reply(&mut self, value: &impl Serialize) {
        self.outgoing.extend(Frame::from_json(value));
    }

    async fn leave_all(&mut self, close: Close) {
        for stream in self.all.values_mut() {
            stream.wire.feed(Incoming::Disconnect(close.clone()));
        }
        poll_fn(|cx| {
            self.all.retain(|_, stream| stream.wire.poll(cx).is_pending());
            if self.all.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Stream {
    /// Polls the subscription. Returns whether it has ended.
    fn poll(&mut self, cx: &mut task::Context<'_>, topic: &str, outgoing: &mut VecDeque<Frame>) -> bool {
        loop {
            let ended = self.wire.poll(cx).is_ready();
            let mut outputs = VecDeque::new();
            let room = self.wire.take_outputs(|waiting| outputs = mem::take(waiting));
            let progressed = !outputs.is_empty();
            for output in outputs {
                outgoing.extend(self.encode(topic, output).and_then(|value| Frame::from_json(&value).ok()));
            }
            if ended {
                outgoing.extend(self.left_message(topic));
                return true;
            }
            if !progressed && !room {
                break;
            }
        }
        if self.undecided.as_mut().is_some_and(|limit| limit.as_mut().poll(cx).is_ready()) {
            self.undecided = None;
            self.left = true;
            let r#ref = mem::take(&mut self.r#ref);
            let status = StatusCode::SERVICE_UNAVAILABLE.as_u16();
            let refused = json!({ "op": "refused", "topic": topic, "ref": r#ref, "status": status });
            outgoing.extend(Frame::from_json(&refused));
            self.wire.feed(Incoming::Disconnect(Close::ABNORMAL.into()));
            return self.poll(cx, topic, outgoing);
        }
        false
    }

    fn encode(&mut self, topic: &str, output: Outgoing) -> Option<Value> {
        let payload = match output {
            Outgoing::Accept(_) => {
                self.undecided = None;
                self.wire.accepted();
                let r#ref = mem::take(&mut self.r#ref);
                return Some(json!({ "op": "joined", "topic": topic, "ref": r#ref }));
            }
            Outgoing::Refuse(refuse) if !self.left => {
                self.undecided = None;
                self.left = true;
                let (r#ref, status) = (mem::take(&mut self.r#ref), refuse.status.as_u16());
                return Some(json!({ "op": "refused", "topic": topic, "ref": r#ref, "status": status }));
            }
            Outgoing::Frame(frame) => frame,
            Outgoing::Encoded(message) | Outgoing::Shared(message) => Frame::from_message(&message)?,
            _ => return None,
        };
        let Frame::Text(text) = payload else {
            tracing::warn!(topic, "a binary frame on a multiplexed socket: dropped");
            return None;
        };
        let payload = frame::read(&text).unwrap_or(Value::String(text));
        Some(json!({ "op": "message", "topic": topic, "payload": payload }))
    }

    fn left_message(&mut self, topic: &str) -> Option<Frame> {
        if self.left {
            return None;
        }
        self.left = true;
        let Close { code, reason } = self.wire.close().unwrap_or_default();
        let r#ref = mem::take(&mut self.r#ref);
        let left = json!({ "op": "left", "topic": topic, "ref": r#ref, "code": code, "reason": reason });
        Frame::from_json(&left).ok()
    }
}
