//! A client of a typed consumer.

use std::{
    marker::PhantomData,
    ops::{Deref, DerefMut},
    panic::Location,
};

use super::WebsocketCommunicator;
use crate::typed::{Decode, Encode, TypedConsumer};

/// A [`WebsocketCommunicator`], to which it dereferences, that sends and receives values in the codec of the consumer `C`.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use ws_consumer::{Json, NoEvents, Result, Router, TypedConsumer, TypedSocket};
/// # #[derive(Serialize, Deserialize)] struct Question { a: i64, b: i64 }
/// # #[derive(Serialize)] struct Answer { sum: i64 }
/// # #[derive(Default)] struct Sums;
/// # impl TypedConsumer for Sums {
/// #     type Codec = Json;
/// #     type Input = Question;
/// #     type Output<'a> = Answer;
/// #     type Event = NoEvents;
/// #     async fn receive(&mut self, socket: &mut TypedSocket<'_, Self>, question: Question) -> Result<()> {
/// #         socket.send(&Answer { sum: question.a + question.b }).await
/// #     }
/// # }
/// # use ws_consumer::testing::TestApp;
/// # async fn sums() {
/// let app = TestApp::new(Router::new().typed("/sums", Sums::default));
/// let mut client = app.websocket("/sums").typed::<Sums>();
/// client.connect().await.unwrap();
/// client.send_value_to(&Question { a: 2, b: 3 }).await;
/// client.assert_value_sent(&Answer { sum: 5 }).await;
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(sums());
/// ```
pub struct TypedCommunicator<C> {
    client: WebsocketCommunicator,
    consumer: PhantomData<fn() -> C>,
}

impl WebsocketCommunicator {
    /// Returns the client of a typed consumer.
    pub fn typed<C: TypedConsumer>(self) -> TypedCommunicator<C> {
        TypedCommunicator { client: self, consumer: PhantomData }
    }
}

impl<C: TypedConsumer> TypedCommunicator<C> {
    /// Sends a value: an input of the consumer, or another value that its codec encodes.
    ///
    /// # Panics
    /// Like [`send_to`](WebsocketCommunicator::send_to), and when the value cannot be encoded.
    pub async fn send_value_to<T>(&mut self, value: &T)
    where
        C::Codec: Encode<T>,
    {
        let frame = <C::Codec as Encode<T>>::encode(value);
        self.send_to(frame.expect("a value to be encoded")).await;
    }

    /// The next frame, as a value.
    ///
    /// # Panics
    /// Like [`receive_from`](WebsocketCommunicator::receive_from), and when the frame is no such value.
    #[track_caller]
    pub fn receive_value_from<T>(&mut self) -> impl Future<Output = T>
    where
        C::Codec: Decode<T>,
    {
        let (at, frame) = (Location::caller(), self.receive_from());
        async move {
            let frame = frame.await;
            <C::Codec as Decode<T>>::decode(&frame).unwrap_or_else(|fault| panic!("{at}: {frame:?}: {fault}"))
        }
    }

    /// Waits for the frame of an output, like [`assert_sent`](WebsocketCommunicator::assert_sent).
    ///
    /// # Panics
    /// When it does not come, and when the output cannot be encoded.
    #[track_caller]
    pub fn assert_value_sent(&mut self, output: &C::Output<'_>) -> impl Future<Output = ()> {
        let frame = <C::Codec as Encode<C::Output<'_>>>::encode(output);
        self.assert_sent(frame.expect("an output to be encoded"))
    }

    /// Checks that the frame of an output is not sent, like [`refute_sent`](WebsocketCommunicator::refute_sent).
    ///
    /// # Panics
    /// When it is sent, and when the output cannot be encoded.
    #[track_caller]
    pub fn refute_value_sent(&mut self, output: &C::Output<'_>) -> impl Future<Output = ()> {
        let frame = <C::Codec as Encode<C::Output<'_>>>::encode(output);
        self.refute_sent(frame.expect("an output to be encoded"))
    }

    /// Leaves: see [`WebsocketCommunicator::disconnect`].
    ///
    /// # Panics
    /// When the application fails, or does not end.
    pub async fn disconnect(self) {
        self.client.disconnect().await;
    }
}

impl<C> Deref for TypedCommunicator<C> {
    type Target = WebsocketCommunicator;

    fn deref(&self) -> &WebsocketCommunicator {
        &self.client
    }
}

impl<C> DerefMut for TypedCommunicator<C> {
    fn deref_mut(&mut self) -> &mut WebsocketCommunicator {
        &mut self.client
    }
}
