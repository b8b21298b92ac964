//! Requests and their answers, in both directions, over a socket's JSON frames.

use std::{future::poll_fn, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::timeout;

use super::{last_text::LastText, websocket::Socket};
use crate::{
    error::{Error, Fault, Result},
    frame::Frame,
    scope::Scope,
    wire::{Connection, Input},
};

/// The caller's name for a request.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum CallRef {
    Number(u64),
    Text(String),
}

#[derive(Deserialize)]
struct ClientRequest {
    r#ref: CallRef,
    request: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum CallOutcome<R> {
    Error(String),
    Reply(R),
}

/// The answer to a request.
#[derive(Serialize)]
pub(crate) struct CallAnswer<R> {
    r#ref: CallRef,
    #[serde(flatten)]
    outcome: CallOutcome<R>,
}

impl<R> CallAnswer<R> {
    /// Makes an answer of the request's outcome. Returns the error as well if it is the server's fault: the caller has to
    /// fail with it.
    pub(crate) fn new(
        connection: &Connection,
        scope: &Scope,
        r#ref: CallRef,
        outcome: Result<R>,
    ) -> (Self, Option<Error>) {
        let (outcome, failure) = match outcome {
            Ok(reply) => (CallOutcome::Reply(reply), None),
            Err(error) => {
                let told = CallOutcome::Error(error.public_text());
                match error.fault() {
                    Fault::Client => (told, None),
                    Fault::Layer => {
                        connection.report(Some(scope.raw_path()), "answer", &error);
                        (told, None)
                    }
                    Fault::None | Fault::Overload | Fault::Server => (told, Some(error)),
                }
            }
        };
        (Self { r#ref, outcome }, failure)
    }
}

/// Answers the request in a frame by `work`. Returns the answer, and the error that the caller has to fail with.
pub(super) async fn answer_frame<Q, R, F>(
    connection: &Connection,
    scope: &Scope,
    frame: &Frame,
    deadline: Duration,
    work: impl FnOnce(Q) -> F,
) -> Result<(Frame, Option<Error>)>
where
    Q: DeserializeOwned,
    R: Serialize,
    F: Future<Output = Result<R>>,
{
    let ClientRequest { r#ref, request } = frame.json()?;
    let outcome = match serde_json::from_value(request) {
        Err(fault) => Err(Error::bad_input(fault)),
        Ok(question) => match timeout(deadline, work(question)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::bad_input("timed out")),
        },
    };
    let (answer, failure) = CallAnswer::new(connection, scope, r#ref, outcome);
    Ok((Frame::from_json(&answer)?, failure))
}

/// Returns the frame of a request to the client.
pub(super) fn request_frame<Q: Serialize + ?Sized>(number: u32, question: &Q) -> Result<Frame> {
    Frame::from_json(&serde_json::json!({ "ref": number, "request": question }))
}

/// The client's answer to a request.
#[derive(Deserialize)]
pub(super) struct ClientReply {
    r#ref: u32,
    error: Option<String>,
    reply: Option<Value>,
}

impl ClientReply {
    /// Returns the answer in an input, if it is one.
    pub(super) fn from_input(input: &Input) -> Option<Self> {
        let Input::Frame(frame) = input else { return None };
        let reply: Self = frame.json().ok()?;
        (reply.reply.is_some() || reply.error.is_some()).then_some(reply)
    }

    /// The number of the request.
    pub(super) fn number(&self) -> u32 {
        self.r#ref
    }

    /// Returns the reply, which becomes the client's last text.
    pub(super) fn read<R: DeserializeOwned>(self, last_text: &mut LastText) -> Result<R> {
        if let Some(error) = self.error {
            return Err(Error::bad_input(error));
        }
        let reply = self.reply.unwrap_or_default();
        last_text.set_frame(&Frame::Text(reply.to_string()));
        serde_json::from_value(reply).map_err(Error::bad_input)
    }
}

/// Requests and their answers over JSON frames, in both directions.
///
/// A request is `{"ref": 7, "request": ...}`, its answer `{"ref": 7, "reply": ...}` or `{"ref": 7, "error": "why"}`. The side
/// that asks chooses the `ref`, a number or a string; the two directions count apart.
impl Socket {
    /// Answers a client's request, `{"ref": 7, "request": ...}`, with the result of `work`, as
    /// `{"ref": 7, "reply": ...}`; with `{"ref": 7, "error": "why"}` when it is invalid or `work` misses the deadline.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ws_consumer::{Consumer, NoEvents, Frame, Result, Socket};
    /// # struct Sums;
    /// # impl Consumer for Sums {
    /// # type Event = NoEvents;
    /// async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
    ///     let sum = |numbers: Vec<i64>| async move { Ok(numbers.iter().sum::<i64>()) };
    ///     socket.answer(&frame, Duration::from_secs(1), sum).await
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`BadInput`](Error::BadInput) for a frame that is no request. A failure of `work` that is the server's
    /// fault: the client learns that it failed, the caller why. An outage of the channel layer is reported to the client.
    pub async fn answer<Q, R, F>(
        &mut self,
        frame: &Frame,
        deadline: Duration,
        work: impl FnOnce(Q) -> F,
    ) -> Result<()>
    where
        Q: DeserializeOwned,
        R: Serialize,
        F: Future<Output = Result<R>>,
    {
        let answer = answer_frame(&self.connection, &self.scope, frame, deadline, work).await;
        let (answer, failure) = answer?;
        self.send(answer).await?;
        failure.map_or(Ok(()), Err)
    }

    /// Asks the client, `{"ref": 1, "request": ...}`, and waits for its answer, `{"ref": 1, "reply": ...}` or
    /// `{"ref": 1, "error": "why"}`.
    ///
    /// Frames that come meanwhile keep their order and wait; a thousand of them, and the client is not read any more.
    /// An answer that comes after the deadline arrives as a frame like any other.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ws_consumer::{Result, Socket};
    /// # async fn hook(socket: &mut Socket) -> Result<()> {
    /// let zone: String = socket.request("your time zone?", Duration::from_secs(5)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](Error::TimedOut); [`BadInput`](Error::BadInput) for the client's `error` and for a reply that is
    /// no `R`; as [`send`](Self::send).
    pub async fn request<Q, R>(&mut self, question: &Q, deadline: Duration) -> Result<R>
    where
        Q: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.requests += 1;
        let number = self.requests;
        self.send(request_frame(number, question)?).await?;
        let sought = SeekGuard::new(&self.connection);
        let mut seen = 0;
        let reply = |input: &Input| ClientReply::from_input(input).filter(|reply| reply.number() == number);
        let reply = timeout(deadline, poll_fn(|cx| self.connection.poll_seek(cx, &mut seen, reply)));
        let reply = reply.await.map_err(|_| Error::TimedOut(deadline))?;
        drop(sought);
        reply?.read(&mut self.last_text)
    }
}

/// Lets more frames wait while it lives: the answer may be behind them.
struct SeekGuard<'a>(&'a Connection);

impl<'a> SeekGuard<'a> {
    fn new(connection: &'a Connection) -> Self {
        connection.set_sought(true);
        Self(connection)
    }
}

impl Drop for SeekGuard<'_> {
    fn drop(&mut self) {
        self.0.set_sought(false);
    }
}
