//! WebSocket consumers in the style of Django Channels, for hyper, axum and tower.
//!
//! A service is a [`Consumer`] and a route:
//!
//! ```no_run
//! use channel_layer::MemoryLayer;
//! use serde::{Deserialize, Serialize};
//! use ws_consumer::{Consumer, Frame, Protocols, Result, Router, Socket, listen, serve};
//!
//! #[derive(Default)]
//! struct Chat { group: String }
//!
//! #[derive(Serialize, Deserialize)]
//! #[serde(tag = "type")]
//! enum ChatEvent {
//!     #[serde(rename = "chat.message")]
//!     Message { message: String },
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Text<T> { message: T }
//!
//! impl Consumer for Chat {
//!     type Event = ChatEvent;
//!
//!     async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
//!         self.group = format!("chat_{}", socket.scope().param("room")?);
//!         socket.group_add(&self.group).await?;
//!         socket.accept().await
//!     }
//!     async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
//!         let Text { message } = frame.json()?;
//!         socket.group_send(&self.group, &ChatEvent::Message { message }).await
//!     }
//!     async fn event(&mut self, socket: &mut Socket, event: &ChatEvent) -> Result<()> {
//!         let ChatEvent::Message { message } = event;
//!         socket.send_json(&Text { message }).await
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let sockets = Router::new().consumer("/ws/chat/{room}/", Chat::default);
//!     let service = Protocols::new().websocket(sockets).into_service(MemoryLayer::default());
//!     serve(listen("127.0.0.1:8000").await?, service).await
//! }
//! ```
//!
//! # Ends of a connection
//!
//! | time | cause | the client sees |
//! |---|---|---|
//! | before accept | no route | 404 |
//! | | an invalid name from the URL, a parameter that does not fit, other bad input | 400, with the error's text |
//! | | a page of another origin | 403 |
//! | | the consumer refuses | 403, or the status, headers and body it chose |
//! | | no decision in time, or the server shuts down | 503 |
//! | | the channel layer is unreachable, too slow or full | 503 with `Retry-After` |
//! | | the server is [overloaded](Error::Overloaded), such as by a full [`BlockingPool`], or its store of browser sessions is out of reach | 503 with `Retry-After` |
//! | | any other error, a mistake of the server, a panic | 500 |
//! | after accept | bad input from the client | the [`error`](Consumer::error) hook decides; by default `{"error": text}`, and the connection stays open |
//! | | the channel layer is unreachable, too slow or full | the same; after a timeout of the layer with `"uncertain": true` |
//! | | the server is overloaded | 1013, unless the `error` hook handles it |
//! | | any other error, a mistake of the server (an event that is no map, an invalid name), a panic in a hook | 1011 |
//! | | an application without hooks returns bad input, or an outage of the layer | 1007, 1013 |
//! | | a protocol error, bad UTF-8, too big, too slow | 1002, 1007, 1009, 1013 |
//! | | the server shuts down | 1001 |
//! | always | | `disconnect` runs exactly once after every `connect` that began, also after a panic; the groups are left even if it could not run |
//!
//! [`Error::fault`] returns the party that caused an error. Mistakes of the server are logged with their
//! source location.
//!
//! A plain HTTP request that an application serves ends with its response: by then an error is a status as before accept
//! (no response is 500). After the response has begun an error aborts it, so that the client does not take it for complete.
//!
//! # Outages of the channel layer
//!
//! An accepted connection and its session stay open during an outage of the layer's backend. Groups that it joins meanwhile
//! are joined when the backend is back. A message that the layer refuses (`Unavailable`) has reached no member, not even in
//! this process; one that timed out (`TimedOut`) may have been delivered. Neither is sent again: the sender gets the error
//! and decides. Once the backend is back,
//! [`layer_event`](Consumer::layer_event) reports the gap. New connections and sessions are refused until then,
//! unless [`accept_in_outage`](Protocols::accept_in_outage) admits them; plain requests that need no layer are answered.
//!
//! # Stopping
//!
//! A [graceful shutdown](Serve::with_graceful_shutdown) first handles received frames and delivers their messages. The closes
//! are spread over time, and a client that sends a frame in the meantime is closed at once, without handling it. Plain
//! requests in progress are answered for [at most 10 s](Drain::requests_within); later ones get 503.
//!
//! # Overview
//!
//! | for | see |
//! |---|---|
//! | a consumer per connection | [`Consumer`]; with typed frames [`TypedConsumer`], in JSON or another [`Codec`] |
//! | broadcasts of typed frames, encoded once | [`TypedSocket::broadcast`], [`BroadcastExt`], [`TypedSocket::send_shared`] |
//! | a loop instead of hooks | [`Application`] |
//! | URLs | [`Router`] |
//! | requests and replies over a socket | [`Socket::answer`], [`Socket::request`]; typed [`TypedRequests`] |
//! | several subscriptions on a socket | [`Multiplexer`] |
//! | timers of a connection | [`Context::send_after`], [`Context::every`] |
//! | hooks that run at the same time | [`ConcurrentConsumer`]; single tasks with [`Context::spawn`] |
//! | code that blocks | [`BlockingPool`], [`blocking`] |
//! | messages to all connections of a user in every process, and their close | [`UsersExt`]; behind [`Auth`](middleware) no setup is needed |
//! | a backend with a high latency | [`Context::group_send_pipelined`] |
//! | plain HTTP, long polls, streams | [`HttpConsumer`], [`exchange`], [`require_websocket`] |
//! | responses, queries, forms, event streams by hand | [`Exchange::respond`], [`Scope::query_as`], [`Exchange::form`], [`Exchange::event_stream`] |
//! | server-sent events, long polls, resumable sessions | [`Protocols::resume`], [`docs::transports`] |
//! | a client for browsers, served without a copy | `client`, with the feature of that name |
//! | start-up and shutdown | [`Protocols::on_startup`], [`Protocols::on_shutdown`] |
//! | axum | [`Protocols::http`], [`SocketService`]; for its handlers `extract`, with the feature `axum` |
//! | hyper, tower | [`SocketService`] |
//! | values that consumers share, such as a pool of database connections | [`Router::with_state`], [`Scope::state`] |
//! | proxies in front | [`Protocols::trust`], [`docs::proxies`] |
//! | tests | `testing`, with the feature of that name |
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | adds |
//! |---|---|
//! | `auth` | authentication by tokens and sessions: [`middleware`]'s `Auth`, `login`, `logout`; includes `sessions` |
//! | `axum` | `Error` as a response of axum's handlers, extractors for users and sessions: `extract`; `ConnectInfo` |
//! | `client` | the JavaScript client as a tower service, for pages without npm |
//! | `cookies` | plain, signed and private cookies: [`middleware`]'s `Cookies` |
//! | `grants` | signed grants of group names: [`middleware`]'s `GrantKeys` |
//! | `msgpack` | MessagePack as a [`Codec`] of typed consumers |
//! | `sessions` | browser sessions in any store of tower-sessions: [`middleware`]'s `Sessions`; includes `cookies` |
//! | `testing` | the test kit: `testing` |
//!
//! # Order
//!
//! Frames of one client reach `receive` in the order in which they were sent, messages of one sender reach `event` in
//! theirs, and hooks run one at a time. A message of type `websocket.send` bypasses the consumer and may overtake an event whose
//! hook has not finished.
//!
//! # Admission
//!
//! Pages of other origins are refused by default. All other checks before the application, such as sessions, logins and
//! limits, are [guards](middleware). Background work is done by [workers](worker).
//!
//! # Limits of delivery
//!
//! Delivery is at most once: a member whose mailbox is full misses the message, which the sender's report counts. A client
//! that is offline for a moment misses the frames of that time, unless it has a [session](Protocols::resume): then every frame arrives once,
//! in order, or the client and its consumer are notified of the gap.

#[cfg(feature = "client")]
pub mod client;
pub mod docs;
#[cfg(feature = "axum")]
pub mod extract;
pub mod middleware;
#[cfg(feature = "testing")]
pub mod testing;
pub mod wire;
pub mod worker;

mod application;
mod connections;
mod consumer;
mod error;
mod frame;
mod limits;
mod multiplex;
mod options;
mod resume;
mod router;
mod scope;
mod server;
mod settings;
mod socket;
mod sync;
mod transport;
mod typed;

#[cfg(feature = "msgpack")]
pub use self::typed::MessagePack;
pub use self::{
    application::{Application, exchange},
    connections::{ConnectionStats, Connections, Drain},
    consumer::{
        ConcurrentConsumer, Consumer, HookInput, HttpConsumer, NoEvents, concurrent, consumer, http_consumer,
        require_websocket,
    },
    error::{BoxError, Error, Fault, MisuseError, Result},
    frame::{Close, EventStreamOptions, Frame, ServerSentEvent},
    limits::Limits,
    middleware::Origins,
    multiplex::Multiplexer,
    options::ConnectionOptions,
    resume::{LostSession, Resume},
    router::{RouteError, Router},
    scope::{MissingStateError, Peer, Protocol, QueryError, Scope, Transport},
    server::{
        IntoSocketService, LoggedBody, NotFound, Protocols, Serve, SocketService, accept, listen, listeners,
        serve, serve_connection, serve_connection_from,
    },
    settings::ConnectionSettings,
    socket::{
        BlockingPool, ConcurrentSocket, Context, Exchange, Handle, HttpResponse, IntoHeaders,
        IntoHttpResponse, PoolFullError, Socket, TimerError, TimerId, UsersExt, blocking,
    },
    transport::ReplyBody,
    typed::{
        BroadcastExt, Codec, Decode, Encode, Json, SerdeCodec, TypedConsumer, TypedRequests, TypedSocket,
        typed, typed_requests,
    },
    wire::{Accept, Head, Input, OutputLimits, Refuse, Resumed},
};
pub use channel_layer::OverflowPolicy;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
