//! A leg that streams: it is handed what the session sends, wherever the session is.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    forward::Reply,
    log::Payload,
    ndjson,
    profiles::CARRIER,
    protocol::{Control, Mode},
    service::Directory,
    state::{Session, Taken},
    token::Token,
};
use crate::{
    connections::{Connections, Registration},
    frame::{Close, Frame},
    scope::Transport,
    wire::Link,
};

/// Dropped, it lets the session go, which then waits for another.
pub(super) enum Leg {
    Here { session: Arc<Session>, number: u64 },
    There(There),
}

/// The session is in another process.
pub(super) struct There {
    directory: Directory,
    token: Token,
    transport: Transport,
    /// The number of the last frame that came.
    cursor: u64,
    /// What the client has acknowledged.
    acknowledged: u64,
    /// Has it spoken?
    confirmed: bool,
    /// A long poll on its way.
    asked: Option<Pin<Box<dyn Future<Output = Option<Reply>> + Send>>>,
    unanswered: u32,
}

/// An answer may be lost once or twice; asking again loses nothing.
const PATIENCE: u32 = 3;

impl Leg {
    pub(super) fn there(directory: Directory, token: Token, transport: Transport, cursor: u64) -> Self {
        let (acknowledged, confirmed, asked, unanswered) = (cursor, false, None, 0);
        Self::There(There { directory, token, transport, cursor, acknowledged, confirmed, asked, unanswered })
    }

    /// Is the session in another process?
    pub(super) fn is_there(&self) -> bool {
        matches!(self, Self::There(_))
    }

    /// What to send next.
    pub(super) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Taken> {
        match self {
            Self::Here { session, number } => session.poll_take(*number, cx),
            Self::There(there) => there.poll_take(cx),
        }
    }

    /// The client has spoken over it, and so has its new token.
    pub(super) fn confirm(&mut self) {
        match self {
            Self::Here { session, number } => session.confirm(*number),
            Self::There(there) => there.confirmed = true,
        }
    }

    /// The client has the frames up to this one. In another process the next poll says it.
    pub(super) fn acknowledge(&mut self, cursor: u64) {
        match self {
            Self::Here { session, .. } => session.acknowledge(cursor),
            Self::There(there) => there.acknowledged = cursor.clamp(there.acknowledged, there.cursor),
        }
    }

    /// Hands over a frame of the client's, of this number. What is returned is the number of the last one that is in; nothing
    /// if the session cannot be reached.
    pub(super) fn push(&self, number: u64, frame: Frame) -> Pushing {
        match self {
            Self::Here { session, .. } => {
                let session = session.clone();
                Box::pin(async move { session.push(number, vec![frame]).await.ok() })
            }
            Self::There(there) => {
                let control = Control { first: Some(number), mode: Some(Mode::Send), ..Control::default() };
                let asked = there.ask(control, &[Payload::from(frame)]);
                Box::pin(async { ndjson::parse(&asked.await?.body, ndjson::ANY).ok()?.control.ack })
            }
        }
    }

    /// The client has ended the session.
    pub(super) async fn finish(&mut self, close: Close) {
        match self {
            Self::Here { session, .. } => session.finish(close),
            Self::There(there) => {
                let control = Control { mode: Some(Mode::Send), ..Control::close(close) };
                let _gone = there.ask(control, &[]).await;
            }
        }
    }
}

/// What carries a session of another process outside the tasks of connections, and is told when this process goes away.
pub(super) struct Carriage {
    link: Arc<Link>,
    _registration: Registration,
}

impl Carriage {
    /// Nothing once this process goes away.
    pub(super) fn new(connections: &Connections) -> Option<Self> {
        let link = Arc::new(Link::new(false, CARRIER));
        let registration = connections.register(&link)?;
        Some(Self { link, _registration: registration })
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Ready when it is to end.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.link.poll_close(cx).map(|_| ())
    }
}

/// A frame of the client's on its way.
pub(super) type Pushing = Pin<Box<dyn Future<Output = Option<u64>> + Send>>;

impl There {
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Taken> {
        loop {
            let mut asked = self.asked.take().unwrap_or_else(|| {
                let (cursor, after) = (Some(self.acknowledged), Some(self.cursor));
                let control = Control { cursor, after, mode: Some(Mode::LongPoll), ..Control::default() };
                Box::pin(self.ask(control, &[]))
            });
            let Poll::Ready(answer) = asked.as_mut().poll(cx) else {
                self.asked = Some(asked);
                return Poll::Pending;
            };
            match answer.map(|answer| self.read(&answer)) {
                Some(Some(taken)) => return Poll::Ready(taken),
                Some(None) => self.unanswered = 0,
                None => self.unanswered += 1,
            }
            if self.unanswered == PATIENCE {
                return Poll::Ready(Taken::Replaced);
            }
        }
    }

    /// Asks the session's process.
    fn ask(
        &self,
        control: Control,
        frames: &[Payload],
    ) -> impl Future<Output = Option<Reply>> + Send + use<> {
        let (directory, token, transport) = (self.directory.clone(), self.token, self.transport);
        let (text, confirmed) = (Some(token.text()), self.confirmed.then_some(true));
        let body = ndjson::write(&Control { token: text, confirmed, ..control }, frames);
        async move { directory.ask(token, transport, body).await }
    }

    fn read(&mut self, answer: &Reply) -> Option<Taken> {
        let batch = match ndjson::parse(&answer.body, ndjson::ANY) {
            Ok(batch) if answer.status == 200 => batch,
            _ => return Some(Taken::Replaced),
        };
        if !batch.frames.is_empty() {
            let first = batch.control.first.unwrap_or(self.cursor.saturating_add(1));
            self.cursor = first.saturating_add(batch.frames.len() as u64 - 1);
            return Some(Taken::Frames(first, batch.frames.into_iter().map(Payload::from).collect()));
        }
        if let Some(to) = batch.control.gap.and_then(|gap| gap.to).filter(|to| *to > self.cursor) {
            self.cursor = to;
            return Some(Taken::Frames(to.saturating_add(1), Vec::new()));
        }
        batch.control.close.map(|close| Taken::Over(close.into()))
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        match self {
            Self::Here { session, number } => session.detach(*number),
            // Nothing asks any more, and the session notices.
            Self::There(there) => drop(mem::take(&mut there.asked)),
        }
    }
}
