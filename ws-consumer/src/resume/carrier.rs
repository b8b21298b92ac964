//! Carriers that stream: a WebSocket or an event stream, of a session in this process or another.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    attachment::CarrierOutput,
    forward::{ForwardReply, Forwarder},
    log::Payload,
    ndjson,
    protocol::{ControlObject, RequestMode},
    session::Session,
    token::SessionToken,
};
use crate::{
    connections::{Connections, Registration},
    frame::{Close, Frame},
    scope::Transport,
    wire::{Connection, Profile},
};

/// The profile of a connection that carries a session, which is the client's connection and reports for itself.
pub(crate) const CARRIER: Profile =
    Profile { identifies_user: false, is_counted: false, reports_failures: false, ..Profile::CLIENT };

/// A carrier that streams. Dropped, it detaches from the session, which then waits for another carrier.
pub(super) enum Carrier {
    Local { session: Arc<Session>, number: u64 },
    Remote(RemoteCarrier),
}

/// A carrier of a session in another process.
pub(super) struct RemoteCarrier {
    forwarder: Arc<Forwarder>,
    token: SessionToken,
    transport: Transport,
    /// The number of the last frame that came.
    cursor: u64,
    /// The number of the last frame that the client has acknowledged.
    acknowledged: u64,
    /// Whether the client has sent something.
    confirmed: bool,
    /// A long poll that was forwarded.
    poll: Option<Pin<Box<dyn Future<Output = Option<ForwardReply>> + Send>>>,
    unanswered: u32,
}

/// The polls that may stay unanswered in a row. A reply may be lost; another poll loses no frame.
const ATTEMPTS: u32 = 3;

/// A frame of the client that is handed over.
pub(super) type PushFuture = Pin<Box<dyn Future<Output = Option<u64>> + Send>>;

impl Carrier {
    pub(super) fn remote(
        forwarder: Arc<Forwarder>,
        token: SessionToken,
        transport: Transport,
        cursor: u64,
    ) -> Self {
        Self::Remote(RemoteCarrier {
            forwarder,
            token,
            transport,
            cursor,
            acknowledged: cursor,
            confirmed: false,
            poll: None,
            unanswered: 0,
        })
    }

    /// Whether the session is in another process.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// Ready with the next output.
    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<CarrierOutput> {
        match self {
            Self::Local { session, number } => session.poll_output(*number, cx),
            Self::Remote(remote) => remote.poll_output(cx),
        }
    }

    /// Notes that the client has sent something over it, and so has its new token.
    pub(super) fn confirm(&mut self) {
        match self {
            Self::Local { session, number } => session.confirm(*number),
            Self::Remote(remote) => remote.confirmed = true,
        }
    }

    /// Notes that the client has the frames up to this one. Another process learns it with the next poll.
    pub(super) fn acknowledge(&mut self, cursor: u64) {
        match self {
            Self::Local { session, .. } => session.acknowledge(cursor),
            Self::Remote(remote) => remote.acknowledged = cursor.clamp(remote.acknowledged, remote.cursor),
        }
    }

    /// Hands over the client's frame of this number. Returns the number of the last frame that was taken; `None` if the
    /// session is out of reach.
    pub(super) fn push(&self, number: u64, frame: Frame) -> PushFuture {
        match self {
            Self::Local { session, .. } => {
                let session = session.clone();
                Box::pin(async move { session.push(number, vec![frame]).await.ok() })
            }
            Self::Remote(remote) => {
                let mode = Some(RequestMode::Send);
                let control = ControlObject { first: Some(number), mode, ..ControlObject::default() };
                let reply = remote.send(control, &[Payload::from(frame)]);
                Box::pin(async { ndjson::parse(&reply.await?.body, ndjson::UNLIMITED).ok()?.control.ack })
            }
        }
    }

    /// Ends the session for its client.
    pub(super) async fn finish(&mut self, close: Close) {
        match self {
            Self::Local { session, .. } => session.finish(close),
            Self::Remote(remote) => {
                let mode = Some(RequestMode::Send);
                let control = ControlObject { mode, ..ControlObject::close(close) };
                let _gone = remote.send(control, &[]).await;
            }
        }
    }
}

impl RemoteCarrier {
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<CarrierOutput> {
        loop {
            let mut poll = self.poll.take().unwrap_or_else(|| {
                let (cursor, after) = (Some(self.acknowledged), Some(self.cursor));
                let mode = Some(RequestMode::LongPoll);
                Box::pin(self.send(ControlObject { cursor, after, mode, ..ControlObject::default() }, &[]))
            });
            let Poll::Ready(reply) = poll.as_mut().poll(cx) else {
                self.poll = Some(poll);
                return Poll::Pending;
            };
            match reply.map(|reply| self.read(&reply)) {
                Some(Some(output)) => return Poll::Ready(output),
                Some(None) => self.unanswered = 0,
                None => self.unanswered += 1,
            }
            if self.unanswered == ATTEMPTS {
                return Poll::Ready(CarrierOutput::Replaced);
            }
        }
    }

    /// Sends a batch to the session's process.
    fn send(
        &self,
        control: ControlObject,
        frames: &[Payload],
    ) -> impl Future<Output = Option<ForwardReply>> + Send + use<> {
        let (forwarder, token, transport) = (self.forwarder.clone(), self.token, self.transport);
        let (text, confirmed) = (Some(token.text()), self.confirmed.then_some(true));
        let body = ndjson::write(&ControlObject { token: text, confirmed, ..control }, frames);
        async move { forwarder.relay(token, transport, body).await }
    }

    fn read(&mut self, reply: &ForwardReply) -> Option<CarrierOutput> {
        let batch = match ndjson::parse(&reply.body, ndjson::UNLIMITED) {
            Ok(batch) if reply.status == 200 => batch,
            _ => return Some(CarrierOutput::Replaced),
        };
        if !batch.frames.is_empty() {
            let first = batch.control.first.unwrap_or(self.cursor.saturating_add(1));
            self.cursor = first.saturating_add(batch.frames.len() as u64 - 1);
            let frames = batch.frames.into_iter().map(Payload::from).collect();
            return Some(CarrierOutput::Frames(first, frames));
        }
        if let Some(to) = batch.control.gap.and_then(|gap| gap.to).filter(|to| *to > self.cursor) {
            self.cursor = to;
            return Some(CarrierOutput::Frames(to.saturating_add(1), Vec::new()));
        }
        batch.control.close.map(|close| CarrierOutput::Closed(close.into()))
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        match self {
            Self::Local { session, number } => session.detach(*number),
            // The session notices that no poll follows.
            Self::Remote(remote) => drop(mem::take(&mut remote.poll)),
        }
    }
}

/// The registration of a carrier, or a request, that has no task of a connection, so that it ends with this process.
pub(super) struct CarrierRegistration {
    connection: Arc<Connection>,
    _registration: Registration,
}

impl CarrierRegistration {
    /// `None` once the service is closing.
    pub(super) fn new(connections: &Connections) -> Option<Self> {
        let connection = Arc::new(Connection::new(false, CARRIER));
        let registration = connections.register(&connection)?;
        Some(Self { connection, _registration: registration })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Ready once the carrier has to end.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.poll_closed(cx).map(|_| ())
    }
}
