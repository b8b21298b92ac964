//! Messages to groups that are under way while the hooks go on.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use channel_layer::{Audience, ChannelLayer, Message};
use tokio::task::{JoinError, JoinSet};

use super::jobs::failure;
use crate::error::{Error, Result};

/// Messages of one socket that may be under way, and their bytes: with more, the hook waits, and so does the client. One
/// message is let through in any case.
const UNDER_WAY: usize = 32;
const BYTES_UNDER_WAY: usize = 256 << 10;
/// Failures that are kept for the `error` hook; a hook that sends on in an outage could have any number.
const FAILURES: usize = 32;

/// The sends of a connection that are under way. They go on after its end: messages that a client sent before
/// it left still count. Each call has the layer's deadline.
#[derive(Default)]
pub(super) struct PendingSends {
    tasks: JoinSet<SentMessage>,
    bytes: usize,
    failed: VecDeque<Error>,
}

struct SentMessage {
    bytes: usize,
    outcome: Result<()>,
}

impl PendingSends {
    /// Begins a call, and waits for it only if it is not under way yet.
    pub(super) async fn send(
        &mut self,
        layer: Arc<dyn ChannelLayer>,
        to: Box<Audience>,
        message: Message,
    ) -> Result<()> {
        let bytes = message.size();
        poll_fn(|cx| self.poll_room(cx, bytes)).await;
        let mut call = Box::pin(async move { layer.group_send(&to, message).await });
        // Begun here: tasks begin in any order.
        match poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
            Poll::Ready(sent) => Ok(sent.map(drop)?),
            Poll::Pending => {
                self.bytes += bytes;
                let outcome = async { Ok(call.await.map(drop)?) };
                self.tasks.spawn(async move { SentMessage { bytes, outcome: outcome.await } });
                Ok(())
            }
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        while self.tasks.len() >= UNDER_WAY
            || (!self.tasks.is_empty() && self.bytes + bytes > BYTES_UNDER_WAY)
        {
            match self.tasks.poll_join_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(sent) => self.note(sent),
            }
        }
        Poll::Ready(())
    }

    /// Ready with the failure of a message.
    pub(super) fn poll_failure(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        loop {
            if let Some(error) = self.failed.pop_front() {
                return Poll::Ready(error);
            }
            match self.tasks.poll_join_next(cx) {
                Poll::Ready(Some(sent)) => self.note(Some(sent)),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn note(&mut self, sent: Option<Result<SentMessage, JoinError>>) {
        let failed = match sent {
            None => return,
            Some(Ok(sent)) => {
                self.bytes -= sent.bytes;
                sent.outcome.err()
            }
            Some(Err(failed)) => Some(failure(failed)),
        };
        if self.failed.len() < FAILURES {
            self.failed.extend(failed);
        }
        if self.tasks.is_empty() {
            self.bytes = 0; // a call that panicked took its count along
        }
    }
}

impl Drop for PendingSends {
    fn drop(&mut self) {
        self.tasks.detach_all();
    }
}
