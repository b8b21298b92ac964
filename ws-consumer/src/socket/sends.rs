//! Messages to groups that are under way while the hooks go on.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll},
};

use channel_layer::{Audience, GroupName, Message};
use serde::Serialize;
use tokio::task::{JoinError, JoinSet};

use super::{Socket, jobs::failure, json_message};
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
pub(super) struct Sends {
    tasks: JoinSet<Sent>,
    bytes: usize,
    failed: VecDeque<Error>,
}

struct Sent {
    bytes: usize,
    outcome: Result<()>,
}

impl Socket {
    /// Sends an event like [`group_send`](Self::group_send), without waiting for the layer's answer: messages
    /// of this socket are under way at the same time, in the order of the calls. With `group_send`, a distant
    /// backend limits each client to one message per round trip.
    ///
    /// A failure that is not known at once is reported later, as if [`event`](crate::Consumer::event) had failed: `Ok` does
    /// not say that the message was sent. With 32 messages or 256 KiB under way it waits. They go on when the connection
    /// ends.
    ///
    /// On a layer that does not [keep the order of calls](channel_layer::Capabilities::orders_calls), each call
    /// waits for its answer, as `group_send` does; the layers of this project keep it. Of messages that fail,
    /// none is repeated; later ones may arrive.
    ///
    /// # Errors
    /// Those of [`group_send`](Self::group_send) that are known at once.
    #[track_caller]
    pub fn group_send_pipelined<G, T>(
        &mut self,
        group: G,
        event: &T,
    ) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
        T: Serialize + ?Sized,
    {
        let prepared = self.prepared("group_send_pipelined", group, Message::encode(event));
        self.pipelined(prepared)
    }

    /// Sends a frame like [`group_send_json`](Self::group_send_json), without waiting for the layer's answer:
    /// see [`group_send_pipelined`](Self::group_send_pipelined).
    ///
    /// # Errors
    /// Those of [`group_send_pipelined`](Self::group_send_pipelined).
    #[track_caller]
    pub fn group_send_json_pipelined<G, T>(
        &mut self,
        group: G,
        value: &T,
    ) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
        T: Serialize + ?Sized,
    {
        let prepared = self.prepared("group_send_json_pipelined", group, json_message(value));
        self.pipelined(prepared)
    }

    async fn pipelined(&mut self, prepared: Result<(Box<Audience>, Message)>) -> Result<()> {
        if !self.layer.capabilities().orders_calls {
            return self.group_send_message(prepared).await;
        }
        let (to, message) = prepared?;
        let sends = self.sends.get_or_insert_default();
        let bytes = message.size();
        poll_fn(|cx| sends.poll_room(cx, bytes)).await;
        let layer = self.layer.clone();
        let mut call = Box::pin(async move { layer.group_send(&to, message).await });
        // Begun here: tasks begin in any order.
        match poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
            Poll::Ready(sent) => Ok(sent.map(drop)?),
            Poll::Pending => {
                sends.bytes += bytes;
                let outcome = async { Ok(call.await.map(drop)?) };
                sends.tasks.spawn(async move { Sent { bytes, outcome: outcome.await } });
                Ok(())
            }
        }
    }
}

impl Sends {
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

    fn note(&mut self, sent: Option<Result<Sent, JoinError>>) {
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

impl Drop for Sends {
    fn drop(&mut self) {
        self.tasks.detach_all();
    }
}
