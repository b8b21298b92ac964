//! [`ConcurrentConsumer`]: one value per connection, whose hooks run at the same time.

mod drive;
mod running;

use channel_layer::LayerEvent;
use serde::de::DeserializeOwned;

pub use self::drive::concurrent;
use crate::{
    error::{Error, Result},
    frame::{Close, Frame},
    socket::{ConcurrentSocket, Socket},
    wire::Resumed,
};

/// Handles one connection with hooks that run at the same time, so that one slow database call does not delay the messages
/// behind it. Hooks of a [`Consumer`](crate::Consumer) run one at a time, which needs no locks and is the better choice
/// until that delay is noticed.
///
/// Each connection has one value, which its hooks share: state that they change is behind a lock or atomic. They also share the
/// connection's one task, so they overlap where they wait; code that computes or blocks belongs in a
/// [`BlockingPool`](crate::BlockingPool).
///
/// ```
/// use std::hash::{DefaultHasher, Hash, Hasher};
///
/// use serde::Deserialize;
/// use ws_consumer::{ConcurrentConsumer, ConcurrentSocket, Frame, HookInput, NoEvents, Result, Router};
///
/// #[derive(Default)]
/// struct Documents;
///
/// #[derive(Deserialize)]
/// struct Edit { document: String, text: String }
///
/// # async fn save(edit: Edit) -> Result<String> { Ok(edit.text) }
/// impl ConcurrentConsumer for Documents {
///     type Event = NoEvents;
///
///     // Edits of one document in order, those of several at the same time.
///     fn key(&self, input: HookInput<'_, NoEvents>) -> Option<u64> {
///         let HookInput::Frame(frame) = input else { return None };
///         let mut hasher = DefaultHasher::new();
///         frame.json::<Edit>().ok()?.document.hash(&mut hasher);
///         Some(hasher.finish())
///     }
///     async fn receive(&self, socket: &ConcurrentSocket, frame: Frame) -> Result<()> {
///         let saved = save(frame.json()?).await?;
///         socket.send_text(saved).await
///     }
/// }
///
/// let sockets = Router::new().concurrent("/documents", Documents::default);
/// ```
///
/// Frames of another format go through its [`Codec`](crate::Codec): `Json::decode(&frame)` in a hook, and
/// `socket.send(Json::encode(&output)?)` for the answer. A `key` needs a part of the frame only.
///
/// # Guarantees
///
/// | | |
/// |---|---|
/// | order | inputs with the same [`key`](Self::key) are handled one at a time, in the order of arrival; all others begin in that order, and overlap. `layer_event` and `resumed` are in order among themselves. |
/// | limit | at most [`LIMIT`](Self::LIMIT) inputs are being handled, or wait for one with their key. With more the connection reads on neither from its client (back-pressure) nor from its mailbox, which fills by its overflow policy. |
/// | `connect` | runs alone, before every other hook |
/// | `disconnect` | runs exactly once after every `connect` that began, alone: all other hooks have ended, or were dropped |
/// | end by the client | frames that it sent before are handled; hooks have 10 s from then on, in all, and are dropped at an `.await` |
/// | end by a hook, or the server | inputs that have not begun are dropped; hooks that run have 10 s as well |
/// | a drain | waits for the hooks of frames, as with a `Consumer` |
/// | errors | go to [`error`](Self::error), in the place of the failed hook: its key is busy until then. An error from there, or a panic of any hook, ends the connection. |
/// | memory | an idle connection keeps its scope, its hooks and its channel's name in three allocations more than a `Consumer`'s; each input takes two, and its hook's future |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no concurrent consumer",
    note = "implement `ConcurrentConsumer` for it; every hook has a default, only `type Event` has to be named",
    note = "a `Consumer` is served by `Router::consumer`"
)]
pub trait ConcurrentConsumer: Send + Sync + 'static {
    /// The messages of the channel layer that the consumer understands; [`NoEvents`](crate::NoEvents) if none.
    type Event: DeserializeOwned + Send + Sync + 'static;

    /// The groups that every consumer of this type joins before `connect`.
    const GROUPS: &'static [&'static str] = &[];
    /// The number of inputs that are handled at the same time, or wait for one with their key. At least 1; 16 by default.
    const LIMIT: usize = 16;

    /// The key of an input. Inputs with the same key are handled in order, one at a time; one without a key waits for no
    /// other. By default none has one.
    ///
    /// A hash will do: inputs that share a key by accident only wait for each other. `Some(0)` for every input is the order of a
    /// [`Consumer`](crate::Consumer). Called once per input, in order, and must not block.
    fn key(&self, input: HookInput<'_, Self::Event>) -> Option<u64> {
        let _ = input;
        None
    }

    /// Decides about a client. By default it is accepted. No other hook runs yet, so the consumer and its socket are
    /// exclusive: see [`Consumer::connect`](crate::Consumer::connect).
    fn connect(&mut self, socket: &mut Socket) -> impl Future<Output = Result<()>> + Send {
        async { socket.accept().await }
    }

    /// Handles a frame of the client. By default it is ignored.
    fn receive(&self, socket: &ConcurrentSocket, frame: Frame) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, frame);
        async { Ok(()) }
    }

    /// Handles a message of the channel layer. By default it is ignored.
    fn event(
        &self,
        socket: &ConcurrentSocket,
        event: &Self::Event,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, event);
        async { Ok(()) }
    }

    /// Handles an event of the channel layer: see [`Consumer::layer_event`](crate::Consumer::layer_event).
    fn layer_event(
        &self,
        socket: &ConcurrentSocket,
        event: LayerEvent,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, event);
        async { Ok(()) }
    }

    /// Handles a client that has resumed its session: see [`Consumer::resumed`](crate::Consumer::resumed).
    fn resumed(
        &self,
        socket: &ConcurrentSocket,
        resumed: Resumed,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, resumed);
        async { Ok(()) }
    }

    /// Handles the end of the connection. Runs exactly once after every `connect` that began, when no other hook runs.
    fn disconnect(&self, socket: &ConcurrentSocket, close: Close) -> impl Future<Output = ()> + Send {
        let _ = (socket, close);
        async {}
    }

    /// Handles the failure of a hook after the client was admitted: see [`Consumer::error`](crate::Consumer::error).
    fn error(&self, socket: &ConcurrentSocket, error: Error) -> impl Future<Output = Result<()>> + Send {
        socket.answer_error(error)
    }
}

/// An input of a [`ConcurrentConsumer`], before its hook begins.
#[derive(Debug)]
#[non_exhaustive]
pub enum HookInput<'a, E> {
    /// A message of the channel layer.
    Event(&'a E),
    /// A frame of the client.
    Frame(&'a Frame),
}
