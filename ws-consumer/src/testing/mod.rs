//! The test kit: applications without a network and without a clock (feature `testing`).
//!
//! A communicator is a transport with a test at its other end. Run tests with
//! `#[tokio::test(start_paused = true)]`: then a timeout passes at once when no task can run, and [`advance`] moves the time.
//!
//! | to test | use |
//! |---|---|
//! | several clients over one layer | [`TestApp`] |
//! | a frame, a response, a broadcast | `assert_sent`, `receive_from`, `get_response`, [`Broadcasts`] |
//! | values of a typed consumer | [`typed`](WebsocketCommunicator::typed) |
//! | that nothing is sent | `refute_sent`, `refute_any_sent`, `refute_broadcast` |
//! | users, addresses, browser sessions | `with_user`, `with_peer`, `with_session` |
//! | a connection that breaks, and the return to its session | [`TestApp::with_resume`], [`cut`](WebsocketCommunicator::cut), [`resume`](WebsocketCommunicator::resume) |
//! | an outage of the layer | [`TestApp::layer_lost`], [`TestApp::outage`] |
//! | a whole service: origins, logins on pages, cookies | [`LiveServer`], with an HTTP client that keeps cookies |
//! | other clients: browsers, libraries | [`LiveServer`] |
//!
//! A refutation does not move a paused clock. It lets all tasks run until each waits for the clock, for another task or for a connection,
//! and until the calls of [`blocking`](crate::blocking) have ended; what was not sent by then is not sent before the clock moves.
//! Other blocking code, such as that of `tokio::task::spawn_blocking`, is not waited for.
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! # use ws_consumer::{Consumer, Frame, Result, Socket};
//! # #[derive(Default)] struct Chat { group: String }
//! # #[derive(Serialize, Deserialize)] #[serde(tag = "type")]
//! # enum ChatEvent { #[serde(rename = "chat.message")] Message { message: String } }
//! # #[derive(Serialize, Deserialize)] struct Said<T> { message: T }
//! # impl Consumer for Chat {
//! #     type Event = ChatEvent;
//! #     async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
//! #         self.group = format!("chat_{}", socket.scope().param("room")?);
//! #         socket.group_add(&self.group).await?;
//! #         socket.accept().await
//! #     }
//! #     async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
//! #         let Said { message } = frame.json()?;
//! #         socket.group_send(&self.group, &ChatEvent::Message { message }).await
//! #     }
//! #     async fn event(&mut self, socket: &mut Socket, event: &ChatEvent) -> Result<()> {
//! #         let ChatEvent::Message { message } = event;
//! #         socket.send_json(&Said { message }).await
//! #     }
//! # }
//! use serde_json::json;
//! use ws_consumer::{Router, testing::TestApp};
//!
//! # /*
//! #[tokio::test(start_paused = true)]
//! # */
//! async fn messages_reach_their_room() {
//!     let app = TestApp::new(Router::new().consumer("/ws/chat/{room}/", Chat::default));
//!     let mut ann = app.websocket("/ws/chat/lobby/");
//!     let mut bob = app.websocket("/ws/chat/lobby/");
//!     let mut eve = app.websocket("/ws/chat/attic/");
//!     for member in [&mut ann, &mut bob, &mut eve] {
//!         member.connect().await.unwrap();
//!     }
//!     ann.send_json_to(&json!({ "message": "hello" })).await;
//!     ann.assert_sent(json!({ "message": "hello" })).await;
//!     bob.assert_sent(json!({ "message": "hello" })).await;
//!     eve.refute_sent(json!({ "message": "hello" })).await;
//! }
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
//! #     .block_on(messages_reach_their_room());
//! ```

mod application;
mod broadcasts;
#[cfg(feature = "sessions")]
mod browser_session;
mod expected;
mod host;
mod http;
mod idle;
mod live;
mod reconnection;
mod request;
mod test_app;
mod typed;
mod websocket;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

#[cfg(feature = "sessions")]
pub use self::browser_session::BrowserSession;
pub use self::{
    application::ApplicationCommunicator, broadcasts::Broadcasts, expected::Expected, http::HttpCommunicator,
    live::LiveServer, reconnection::Reconnection, test_app::TestApp, typed::TypedCommunicator,
    websocket::WebsocketCommunicator,
};

/// The address of a communicator's client: limits per address need one.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// The time that a communicator waits for an output by default.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Advances the paused clock, and lets everything happen that is due by then.
///
/// # Panics
/// When the clock is not paused.
pub async fn advance(time: Duration) {
    assert!(idle::is_paused(), "the clock is not paused: `#[tokio::test(start_paused = true)]`");
    idle::settle().await; // so that timers are set that are about to be
    tokio::time::advance(time).await;
    idle::settle().await;
}
