//! Requests and their answers, in both directions, over a socket of concurrent hooks.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::{
    calls::{answer_frame, request_frame},
    concurrent::ConcurrentSocket,
};
use crate::{
    error::{Error, Result},
    frame::Frame,
    sync::lock,
    wire::Input,
};

/// Requests and their answers over JSON frames, in both directions: see the functions of [`Socket`](crate::Socket).
impl ConcurrentSocket {
    /// Answers a client's request with the result of `work`: see [`Socket::answer`](crate::Socket::answer).
    ///
    /// The answers to several requests leave in the order in which their work ends.
    ///
    /// # Errors
    /// Those of [`Socket::answer`](crate::Socket::answer).
    pub async fn answer<Q, R, F>(
        &self,
        frame: &Frame,
        deadline: Duration,
        work: impl FnOnce(Q) -> F,
    ) -> Result<()>
    where
        Q: DeserializeOwned,
        R: Serialize,
        F: Future<Output = Result<R>>,
    {
        let answer = answer_frame(self.connection(), self.scope(), frame, deadline, work).await;
        let (answer, failure) = answer?;
        self.send(answer).await?;
        failure.map_or(Ok(()), Err)
    }

    /// Asks the client, and waits for its answer: see [`Socket::request`](crate::Socket::request).
    ///
    /// Several requests may wait at the same time, in several hooks or in one; their answers may come in any order. Frames that
    /// come meanwhile are handled by other hooks, up to [`LIMIT`](crate::ConcurrentConsumer::LIMIT); answers are
    /// found also behind a thousand frames that wait for room. An answer that comes after the deadline arrives as a frame
    /// like any other.
    ///
    /// # Errors
    /// Those of [`Socket::request`](crate::Socket::request).
    ///
    /// # Cancel safety
    /// The client may have got the request of a dropped call. Its answer then arrives as a frame.
    pub async fn request<Q, R>(&self, question: &Q, deadline: Duration) -> Result<R>
    where
        Q: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let (request, answered) = {
            let mut requests = lock(&self.shared.requests);
            let (number, answered) = requests.add();
            self.shared.connection.set_sought(true);
            (RequestGuard { socket: self, number }, answered)
        };
        // The driver, if all hooks wait: this one may run in another task.
        self.shared.connection.wake();
        self.send(request_frame(request.number, question)?).await?;
        let reply = timeout(deadline, answered).await.map_err(|_| Error::TimedOut(deadline))?;
        reply.map_err(|_| Error::Closed)?.read(&mut lock(&self.last_text))
    }

    // ---- for the hooks' driver

    /// Passes the client's answers on to their requests, past the frames that wait for room.
    pub(crate) fn poll_answers(&self, cx: &mut Context<'_>) {
        let mut requests = lock(&self.shared.requests);
        while !requests.is_empty() {
            let mut seen = requests.seen;
            let found = self.shared.connection.poll_seek(cx, &mut seen, |input| requests.find(input));
            requests.seen = seen;
            match found {
                Poll::Ready(Ok(reply)) => requests.answer(reply),
                Poll::Ready(Err(_)) => requests.clear(),
                Poll::Pending => return,
            }
        }
    }

    /// Passes an input on to the request that it answers. Returns false if there is none.
    pub(crate) fn take_answer(&self, input: &Input) -> bool {
        let mut requests = lock(&self.shared.requests);
        if requests.is_empty() || !matches!(input, Input::Frame(_)) {
            return false;
        }
        requests.seen = requests.seen.saturating_sub(1);
        let reply = requests.find(input);
        let is_answer = reply.is_some();
        reply.into_iter().for_each(|reply| requests.answer(reply));
        is_answer
    }

    /// Ends all requests with [`Closed`](Error::Closed): no answer can come any more.
    pub(crate) fn end_requests(&self) {
        lock(&self.shared.requests).clear();
    }
}

/// A request that waits for its answer.
struct RequestGuard<'a> {
    socket: &'a ConcurrentSocket,
    number: u32,
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        let shared = &self.socket.shared;
        // One lock around both, so that a request of another task is not overlooked.
        let mut requests = lock(&shared.requests);
        if requests.remove(self.number) {
            shared.connection.set_sought(false);
        }
    }
}
