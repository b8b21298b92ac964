//! [`Consumer`]: one value per connection, with a hook for each thing that can happen.

mod concurrent;
mod drive;
mod http;

use channel_layer::LayerEvent;
use serde::{Deserialize, de::DeserializeOwned};

pub use self::{
    concurrent::{ConcurrentConsumer, HookInput, concurrent},
    drive::consumer,
    http::{HttpConsumer, http_consumer, require_websocket},
};
use crate::{
    error::{Error, Result},
    frame::{Close, Frame},
    socket::Socket,
    wire::Resumed,
};

/// Handles one connection. Each connection has a value of its own, in one task: hooks run one at a time, in
/// order, and need no locks.
///
/// The [crate's front page](crate#ends-of-a-connection) lists the errors that a hook may return, and their effect
/// on the client.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use ws_consumer::{Consumer, Frame, Result, Socket};
///
/// #[derive(Default)]
/// struct Ticker;
///
/// #[derive(Serialize, Deserialize)]
/// #[serde(tag = "type")]
/// enum TickerEvent {
///     #[serde(rename = "price.changed")]
///     Price { cents: u64 },
/// }
///
/// impl Consumer for Ticker {
///     type Event = TickerEvent;
///
///     async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
///         socket.group_add("prices").await?;
///         socket.accept().await
///     }
///     async fn event(&mut self, socket: &mut Socket, event: &TickerEvent) -> Result<()> {
///         let TickerEvent::Price { cents } = event;
///         socket.send_text(cents.to_string()).await
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no consumer",
    note = "implement `Consumer` for it; every hook has a default, only `type Event` has to be named",
    note = "a `TypedConsumer` is served by `Router::typed`, a `ConcurrentConsumer` by `Router::concurrent`, an `HttpConsumer` by `Router::http`"
)]
pub trait Consumer: Send + 'static {
    /// The messages of the channel layer that the consumer understands; [`NoEvents`] if none.
    ///
    /// Decoded once per message, however many connections share it.
    type Event: DeserializeOwned + Send + Sync + 'static;

    /// The groups that every consumer of this type joins before `connect`.
    const GROUPS: &'static [&'static str] = &[];

    /// Decides about a client. By default it is accepted.
    ///
    /// A hook that returns without having accepted or refused refuses with 403.
    fn connect(&mut self, socket: &mut Socket) -> impl Future<Output = Result<()>> + Send {
        async { socket.accept().await }
    }

    /// Handles a frame of the client. By default it is ignored.
    fn receive(&mut self, socket: &mut Socket, frame: Frame) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, frame);
        async { Ok(()) }
    }

    /// Handles a message of the channel layer. By default it is ignored.
    fn event(&mut self, socket: &mut Socket, event: &Self::Event) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, event);
        async { Ok(()) }
    }

    /// Handles an event of the channel layer: it lost its backend, has it back, or lost messages. By default it is ignored.
    ///
    /// After [`Reconnected`](LayerEvent::Reconnected) every group is live again, but what others sent during the gap is
    /// lost: read anew what must not be missed, or tell the client. After [`Lost`](LayerEvent::Lost) do the same: messages
    /// to any channel or group of this process are missing, perhaps none of this socket's.
    fn layer_event(
        &mut self,
        socket: &mut Socket,
        event: LayerEvent,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, event);
        async { Ok(()) }
    }

    /// Handles a client that has resumed its session over a new connection: see
    /// [`Protocols::resume`](crate::Protocols::resume). Does nothing by default.
    ///
    /// The guards have admitted it again, and it is the same user. The frames that it missed for good are in
    /// [`gap`](Resumed::gap): send the state that it needs. Close the socket if the client may no longer be here.
    fn resumed(&mut self, socket: &mut Socket, resumed: Resumed) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, resumed);
        async { Ok(()) }
    }

    /// Handles the end of the connection. Runs exactly once after every `connect` that began.
    ///
    /// The channel leaves its groups by itself.
    fn disconnect(&mut self, socket: &mut Socket, close: Close) -> impl Future<Output = ()> + Send {
        let _ = (socket, close);
        async {}
    }

    /// Handles the failure of a hook after the client was admitted. `Ok` keeps the connection, an error ends it as that error says; this
    /// hook is not called for its own failure.
    ///
    /// By default bad input and outages of the channel layer are reported to the client as `{"error": text}`
    /// ([`Error::answer`]), and every other error ends the connection. A custom hook does the same for errors
    /// that it does not handle, by [`Socket::answer_error`].
    ///
    /// In an outage what the hook did is cut short where it failed, and nothing is repeated: after a
    /// [timeout](Error::is_uncertain) the layer may have done it.
    fn error(&mut self, socket: &mut Socket, error: Error) -> impl Future<Output = Result<()>> + Send {
        socket.answer_error(error)
    }
}

/// The events of a consumer that has none.
#[derive(Debug, Deserialize)]
pub enum NoEvents {}
