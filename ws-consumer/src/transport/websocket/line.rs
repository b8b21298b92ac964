//! The client's end of a connection: bare while nothing is said, with tungstenite around it while something is.
//!
//! Tungstenite with its buffer and its wakers is a third of what an idle client would cost, and an idle client has no
//! use for it: it is made when bytes arrive, and unmade between two frames once the client has gone quiet.

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
        protocol::{CloseFrame, Role},
    },
};
use hyper_util::rt::TokioIo;

use super::{intake::Intake, upgrade::config};
use crate::limits::Limits;

type Io = Intake<TokioIo<Upgraded>>;

pub(super) enum Line {
    /// The answer to the handshake is on its way, which the client may hold up.
    Coming(OnUpgrade),
    /// Nothing is left of it.
    Gone,
    Bare(Io),
    /// Boxed, so that a bare one does not keep room for it.
    Framed(Box<WebSocketStream<Io>>),
}

impl Line {
    /// Ready once there is something to read from and to write to, or never will be.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>, limits: &Limits) -> Poll<()> {
        if let Self::Coming(upgrade) = self {
            *self = match ready!(Pin::new(upgrade).poll(cx)) {
                Ok(upgraded) => Self::Bare(Intake::new(TokioIo::new(upgraded), limits.max_fragments)),
                Err(_) => Self::Gone,
            };
        }
        Poll::Ready(())
    }

    pub(super) fn is_coming(&self) -> bool {
        matches!(self, Self::Coming(_))
    }

    /// The next message of the client's; `None` once the connection has ended or is lost.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        limits: &Limits,
    ) -> Poll<Option<Result<WsMessage, WsError>>> {
        if let Self::Bare(io) = self {
            match ready!(io.poll_ahead(cx)) {
                Ok(true) => {}
                Ok(false) | Err(_) => return Poll::Ready(None),
            }
        }
        match self.framed(limits) {
            Some(websocket) => websocket.poll_next(cx),
            None => Poll::Ready(None),
        }
    }

    /// The raw connection, for what is written beside tungstenite.
    pub(super) fn io(&mut self) -> Option<Pin<&mut Io>> {
        match self {
            Self::Coming(_) | Self::Gone => None,
            Self::Bare(io) => Some(Pin::new(io)),
            Self::Framed(websocket) => Some(Pin::new(websocket.get_mut())),
        }
    }

    /// Writes what tungstenite has to say, which it has only while it is there.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Framed(websocket) = self else { return Poll::Ready(Ok(())) };
        match ready!(Pin::new(&mut **websocket).poll_flush(cx)) {
            Ok(()) | Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(io::Error::other(error))),
        }
    }

    /// Has tungstenite say this at the next flush.
    pub(super) fn say(&mut self, close: Option<CloseFrame>, limits: &Limits) {
        if let Some(websocket) = self.framed(limits) {
            // Always room for a control frame, and an error shows again at the next flush.
            let _ = websocket.start_send(WsMessage::Close(close));
        }
    }

    /// Gives back what only a client that speaks needs, unless it is in the middle of a frame or a message. To be called
    /// when all that came has been read, and tungstenite has nothing left to say.
    pub(super) fn hush(&mut self) {
        if matches!(self, Self::Framed(websocket) if !websocket.get_ref().watch().is_mid_message())
            && let Self::Framed(websocket) = mem::replace(self, Self::Gone)
        {
            *self = Self::Bare(websocket.into_inner());
        }
    }

    pub(super) fn is_bare(&self) -> bool {
        matches!(self, Self::Bare(_))
    }

    /// Has a message begun that is not whole?
    pub(super) fn is_mid_message(&self) -> bool {
        self.seen().is_some_and(|io| io.watch().is_mid_message())
    }

    pub(super) fn has_too_many_fragments(&self) -> bool {
        self.seen().is_some_and(|io| io.watch().has_too_many_fragments())
    }

    fn seen(&self) -> Option<&Io> {
        match self {
            Self::Coming(_) | Self::Gone => None,
            Self::Bare(io) => Some(io),
            Self::Framed(websocket) => Some(websocket.get_ref()),
        }
    }

    fn framed(&mut self, limits: &Limits) -> Option<Pin<&mut WebSocketStream<Io>>> {
        if self.is_bare()
            && let Self::Bare(io) = mem::replace(self, Self::Gone)
        {
            // A future for no reason: it is ready at once.
            let websocket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config(limits)));
            *self =
                websocket.now_or_never().map_or(Self::Gone, |websocket| Self::Framed(Box::new(websocket)));
        }
        match self {
            Self::Framed(websocket) => Some(Pin::new(&mut **websocket)),
            _ => None,
        }
    }
}
