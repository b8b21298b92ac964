//! A typed consumer as a consumer of frames.

use std::marker::PhantomData;

use channel_layer::LayerEvent;

use super::{
    codec::Decode,
    consumer::{SharedEvent, TypedConsumer, TypedSocket},
};
use crate::{
    consumer::Consumer,
    error::{Error, Result},
    frame::{Close, Frame},
    socket::Socket,
    wire::Resumed,
};

/// The decoding of frames for a consumer of type `C`.
pub(super) trait FrameDecoding<C: TypedConsumer>: 'static {
    /// Decodes a frame, and runs the hook for it.
    fn receive(
        consumer: &mut C,
        socket: &mut Socket,
        frame: Frame,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// Frames that are all inputs.
pub(super) struct Inputs;

impl<C: TypedConsumer> FrameDecoding<C> for Inputs {
    async fn receive(consumer: &mut C, socket: &mut Socket, frame: Frame) -> Result<()> {
        let input = C::Codec::decode(&frame)?;
        drop(frame);
        consumer.receive(&mut TypedSocket::new(socket), input).await
    }
}

/// A typed consumer, whose frames are decoded by `D`.
pub(super) struct Typed<C, D>(C, PhantomData<fn() -> D>);

impl<C, D> Typed<C, D> {
    pub(super) fn new(consumer: C) -> Self {
        Self(consumer, PhantomData)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<C: TypedConsumer, D: FrameDecoding<C>> Consumer for Typed<C, D> {
    type Event = SharedEvent<C>;

    const GROUPS: &'static [&'static str] = C::GROUPS;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.0.connect(&mut TypedSocket::new(socket)).await
    }

    fn receive(&mut self, socket: &mut Socket, frame: Frame) -> impl Future<Output = Result<()>> + Send {
        D::receive(&mut self.0, socket, frame)
    }

    async fn event(&mut self, socket: &mut Socket, shared: &SharedEvent<C>) -> Result<()> {
        self.0.event(&mut TypedSocket::with_event(socket, shared), &shared.event).await
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
