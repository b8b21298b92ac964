//! Consumers of values instead of frames.

mod codec;

use std::{
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use channel_layer::LayerEvent;
use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "msgpack")]
pub use self::codec::MessagePack;
pub use self::codec::{Codec, Json};
use crate::{
    application::Application,
    consumer::{Consumer, consumer},
    error::{Error, Result},
    frame::{Close, Frame},
    socket::Socket,
    wire::Resumed,
};

/// A [`Consumer`](crate::Consumer) of values: frames from the client are decoded to [`Input`](Self::Input), and
/// [`Output`](Self::Output) is encoded, in the format of a [`Codec`].
///
/// A frame that is no `Input` is bad input, which is passed to the [`error`](Self::error) hook.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use ws_consumer::{Json, NoEvents, Result, Router, TypedConsumer, TypedSocket};
///
/// #[derive(Deserialize)]
/// struct Question { a: i64, b: i64 }
/// #[derive(Serialize)]
/// struct Answer { sum: i64 }
///
/// #[derive(Default)]
/// struct Sums;
///
/// impl TypedConsumer for Sums {
///     type Codec = Json;
///     type Input = Question;
///     type Output = Answer;
///     type Event = NoEvents;
///
///     async fn receive(&mut self, socket: &mut TypedSocket<'_, Self>, question: Question) -> Result<()> {
///         socket.send(&Answer { sum: question.a + question.b }).await
///     }
/// }
///
/// let router = Router::new().typed("/sums", Sums::default);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no typed consumer",
    note = "implement `TypedConsumer` for it: its types `Codec`, `Input`, `Output` and `Event` have to be named"
)]
pub trait TypedConsumer: Sized + Send + 'static {
    /// The format: [`Json`], or a custom one.
    type Codec: Codec;
    /// The type of the client's frames.
    type Input: DeserializeOwned + Send;
    /// The type of frames to the client.
    type Output: Serialize;
    /// The events that the consumer accepts; [`NoEvents`](crate::NoEvents) if none.
    type Event: DeserializeOwned + Send + Sync + 'static;

    /// The groups that every connection joins before [`connect`](Self::connect).
    const GROUPS: &'static [&'static str] = &[];

    /// Handles the connection: see [`Consumer::connect`].
    fn connect(&mut self, socket: &mut TypedSocket<'_, Self>) -> impl Future<Output = Result<()>> + Send {
        async { socket.accept().await }
    }

    /// Handles a frame of the client. By default it is ignored.
    fn receive(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        input: Self::Input,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, input);
        async { Ok(()) }
    }

    /// Handles an event: see [`Consumer::event`].
    fn event(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        event: &Self::Event,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, event);
        async { Ok(()) }
    }

    /// Handles an event of the layer: see [`Consumer::layer_event`].
    fn layer_event(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        event: LayerEvent,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, event);
        async { Ok(()) }
    }

    /// Handles a resumption: see [`Consumer::resumed`].
    fn resumed(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        resumed: Resumed,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, resumed);
        async { Ok(()) }
    }

    /// Handles the end: see [`Consumer::disconnect`].
    fn disconnect(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        close: Close,
    ) -> impl Future<Output = ()> + Send {
        let _ = (socket, close);
        async {}
    }

    /// Handles an error like [`Consumer::error`]; the answer is in this consumer's format.
    fn error(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        error: Error,
    ) -> impl Future<Output = Result<()>> + Send {
        async {
            let Some(answer) = error.answer() else { return Err(error) };
            let encoded = Self::Codec::encode(&answer);
            socket.socket.send(encoded?).await
        }
    }
}

/// A [`Socket`] that sends values. It dereferences to the socket.
pub struct TypedSocket<'a, C> {
    socket: &'a mut Socket,
    consumer: PhantomData<fn() -> C>,
}

impl<'a, C: TypedConsumer> TypedSocket<'a, C> {
    fn new(socket: &'a mut Socket) -> Self {
        Self { socket, consumer: PhantomData }
    }

    /// Sends a value.
    ///
    /// # Errors
    /// See [`Socket::send`]; also if the format cannot hold the value.
    pub async fn send(&mut self, output: &C::Output) -> Result<()> {
        // Not across an await: the value need not be `Sync`.
        let frame = C::Codec::encode(output);
        self.socket.send(frame?).await
    }
}

impl<C> Deref for TypedSocket<'_, C> {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        self.socket
    }
}

impl<C> DerefMut for TypedSocket<'_, C> {
    fn deref_mut(&mut self) -> &mut Socket {
        self.socket
    }
}

/// Returns an application that creates a typed consumer for each connection.
pub fn typed<C, F>(make: F) -> impl Application
where
    C: TypedConsumer,
    F: Fn() -> C + Send + Sync + 'static,
{
    consumer(move || Typed(make()))
}

struct Typed<C>(C);

#[deny(clippy::missing_trait_methods)]
impl<C: TypedConsumer> Consumer for Typed<C> {
    type Event = C::Event;

    const GROUPS: &'static [&'static str] = C::GROUPS;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.0.connect(&mut TypedSocket::new(socket)).await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let input = C::Codec::decode(&frame)?;
        drop(frame);
        self.0.receive(&mut TypedSocket::new(socket), input).await
    }

    async fn event(&mut self, socket: &mut Socket, event: &C::Event) -> Result<()> {
        self.0.event(&mut TypedSocket::new(socket), event).await
    }

    async fn layer_event(&mut self, socket: &mut Socket, event: LayerEvent) -> Result<()> {
        self.0.layer_event(&mut TypedSocket::new(socket), event).await
    }

    async fn resumed(&mut self, socket: &mut Socket, resumed: Resumed) -> Result<()> {
        self.0.resumed(&mut TypedSocket::new(socket), resumed).await
    }

    async fn disconnect(&mut self, socket: &mut Socket, close: Close) {
        self.0.disconnect(&mut TypedSocket::new(socket), close).await;
    }

    async fn error(&mut self, socket: &mut Socket, error: Error) -> Result<()> {
        self.0.error(&mut TypedSocket::new(socket), error).await
    }
}
