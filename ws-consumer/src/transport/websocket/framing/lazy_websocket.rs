//! [`LazyWebSocket`]: an upgraded stream, with tungstenite's state around it only while the client sends.
//!
//! Tungstenite with its buffer and its wakers is a third of what an idle connection would cost. It is created when bytes
//! arrive, and freed between two frames once the client is quiet.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, Sink, Stream};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message as WsMessage,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};

use super::metered_read::MeteredRead;
use crate::limits::Limits;

type Io = MeteredRead<TokioIo<Upgraded>>;

/// The stream of a WebSocket, in its states of use.
pub(in crate::transport::websocket) enum LazyWebSocket {
    /// The response to the handshake is being written, which the client may delay.
    Upgrading(OnUpgrade),
    Closed,
    /// Without tungstenite's state.
    Parked(Io),
    /// With tungstenite's state. Boxed, so that a parked stream does not reserve the memory.
    Active(Box<WebSocketStream<Io>>),
}

impl LazyWebSocket {
    pub(in crate::transport::websocket) fn new(upgrade: OnUpgrade) -> Self {
        Self::Upgrading(upgrade)
    }

    /// Waits until the stream can be read and written, or the upgrade has failed.
    pub(in crate::transport::websocket) fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        limits: &Limits,
    ) -> Poll<()> {
        if let Self::Upgrading(upgrade) = self {
            *self = match ready!(Pin::new(upgrade).poll(cx)) {
                Ok(upgraded) => Self::Parked(MeteredRead::new(TokioIo::new(upgraded), limits.max_fragments)),
                Err(_) => Self::Closed,
            };
        }
        Poll::Ready(())
    }

    pub(in crate::transport::websocket) fn is_upgrading(&self) -> bool {
        matches!(self, Self::Upgrading(_))
    }

    /// Returns the client's next message; `None` once the connection has ended or is lost.
    pub(in crate::transport::websocket) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        limits: &Limits,
    ) -> Poll<Option<Result<WsMessage, WsError>>> {
        if let Self::Parked(io) = self {
            match ready!(io.poll_ahead(cx)) {
                Ok(true) => {}
                Ok(false) | Err(_) => return Poll::Ready(None),
            }
        }
        match self.activate(limits) {
            Some(websocket) => websocket.poll_next(cx),
            None => Poll::Ready(None),
        }
    }

    /// Returns the raw stream, for the encoder's bytes.
    pub(in crate::transport::websocket) fn io(&mut self) -> Option<Pin<&mut Io>> {
        match self {
            Self::Upgrading(_) | Self::Closed => None,
            Self::Parked(io) => Some(Pin::new(io)),
            Self::Active(websocket) => Some(Pin::new(websocket.get_mut())),
        }
    }

    /// Writes tungstenite's pending frames. A parked connection has none.
    pub(in crate::transport::websocket) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Self::Active(websocket) = self else { return Poll::Ready(Ok(())) };
        match ready!(Pin::new(&mut **websocket).poll_flush(cx)) {
            Ok(()) | Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(io::Error::other(error))),
        }
    }

    /// Queues a close frame with tungstenite, written by the next flush.
    pub(in crate::transport::websocket) fn queue_close(
        &mut self,
        close: Option<CloseFrame>,
        limits: &Limits,
    ) {
        if let Some(websocket) = self.activate(limits) {
            // There is always space for a control frame, and an error returns at the next flush.
            let _ = websocket.start_send(WsMessage::Close(close));
        }
    }

    /// Reads and discards input, until the stream has ended.
    pub(in crate::transport::websocket) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 1024];
        loop {
            let Some(io) = self.io() else { return Poll::Ready(()) };
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(io.get_mut().inner_mut()).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    /// Frees tungstenite's state, unless a frame or a message has begun. The caller has read all bytes that have arrived,
    /// and has flushed tungstenite.
    pub(in crate::transport::websocket) fn park(&mut self) {
        if matches!(self, Self::Active(websocket) if !websocket.get_ref().scanner().is_mid_message())
            && let Self::Active(websocket) = mem::replace(self, Self::Closed)
        {
            *self = Self::Parked(websocket.into_inner());
        }
    }

    pub(in crate::transport::websocket) fn is_parked(&self) -> bool {
        matches!(self, Self::Parked(_))
    }

    /// Whether a message has begun that is not complete.
    pub(in crate::transport::websocket) fn is_mid_message(&self) -> bool {
        self.metered().is_some_and(|io| io.scanner().is_mid_message())
    }

    pub(in crate::transport::websocket) fn has_too_many_fragments(&self) -> bool {
        self.metered().is_some_and(|io| io.scanner().has_too_many_fragments())
    }

    fn metered(&self) -> Option<&Io> {
        match self {
            Self::Upgrading(_) | Self::Closed => None,
            Self::Parked(io) => Some(io),
            Self::Active(websocket) => Some(websocket.get_ref()),
        }
    }

    /// Creates tungstenite's state if the connection is parked.
    fn activate(&mut self, limits: &Limits) -> Option<Pin<&mut WebSocketStream<Io>>> {
        if self.is_parked()
            && let Self::Parked(io) = mem::replace(self, Self::Closed)
        {
            // Ready at once, although it is a future.
            let websocket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config(limits)));
            *self =
                websocket.now_or_never().map_or(Self::Closed, |websocket| Self::Active(Box::new(websocket)));
        }
        match self {
            Self::Active(websocket) => Some(Pin::new(&mut **websocket)),
            _ => None,
        }
    }
}

/// Tungstenite writes replies to control frames only. It needs no buffer of its own for writing, and a flood of pings
/// fills none.
fn config(limits: &Limits) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(limits.read_buffer_size)
        .write_buffer_size(0)
        .max_write_buffer_size(1024)
        .max_message_size(Some(limits.max_message_size))
        .max_frame_size(Some(limits.max_message_size))
}
