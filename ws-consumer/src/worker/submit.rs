//! Submission of work.

use std::time::Duration;

use channel_layer::{ChannelLayer, ChannelName, Message, REPLY_CHANNEL};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::job::DONE_CHANNEL;
use crate::{
    error::{Error, Result},
    socket::{Context, usable},
};

/// A channel that is full is tried again after this time.
const FULL: Duration = Duration::from_millis(50);

/// The timeout and the number of attempts of [`submit_until_done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubmitPolicy {
    /// The time that a worker may take, including its retries.
    pub timeout: Duration,
    /// The number of submissions. At least 1.
    pub attempts: u32,
}

impl SubmitPolicy {
    /// Submits up to `attempts` times, and waits for `timeout` each time.
    pub fn new(timeout: Duration, attempts: u32) -> Self {
        Self { timeout, attempts: attempts.max(1) }
    }
}

/// Sends an event to a worker and waits for the end of the work. If no end is reported in time, the event is sent again.
///
/// No work is lost with a killed worker, but work may be done twice if the first worker was only slow. If the channel is full,
/// the call waits. Dropping the future does not cancel an event that was sent.
///
/// # Errors
/// The name is invalid, the event is no map, the worker has given up ([`Other`](Error::Other)), no worker was done in time
/// ([`TimedOut`](std::io::ErrorKind::TimedOut) in an [`Other`](Error::Other)), or the layer fails.
pub async fn submit_until_done<N, T>(
    layer: &dyn ChannelLayer,
    channel: N,
    event: &T,
    policy: SubmitPolicy,
) -> Result<()>
where
    N: TryInto<ChannelName, Error: Into<channel_layer::Error>>,
    T: Serialize + ?Sized,
{
    let channel: ChannelName = channel.try_into().map_err(|error| Error::Layer(error.into()))?;
    let message = Message::encode(event);
    let mut ends = layer.open("done".into()).await?;
    let message = message?.with(DONE_CHANNEL, ends.channel().as_str());
    for _ in 0..policy.attempts {
        let end = Instant::now() + policy.timeout;
        if send_by(layer, &channel, &message, end).await? {
            match timeout(end.saturating_duration_since(Instant::now()), ends.recv()).await {
                Ok(end) if end.event_type() == Some("worker.done") => return Ok(()),
                Ok(_) => return Err(Error::other("the worker has given up")),
                Err(_) => tracing::warn!(%channel, "submitted work is not done: submitting again"),
            }
        }
    }
    Err(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("no worker at `{channel}` was done in time"),
    )
    .into())
}

/// Sends a message before `end`. Returns whether the channel had room in time.
async fn send_by(
    layer: &dyn ChannelLayer,
    channel: &ChannelName,
    message: &Message,
    end: Instant,
) -> Result<bool> {
    while Instant::now() < end {
        match layer.send(channel, message.clone()).await {
            Err(channel_layer::Error::ChannelFull { .. }) => sleep(FULL).await,
            other => return Ok(other.map(|()| true)?),
        }
    }
    Ok(false)
}

impl Context {
    /// Submits an event to the workers of a channel. Their [reports](super::Job::progress) arrive at this connection's `event`
    /// hook.
    ///
    /// # Errors
    /// The event is no map, the name is invalid, or the layer fails, usually because the channel is full: the workers are
    /// overloaded.
    #[track_caller]
    pub fn submit<N, T>(&mut self, channel: N, event: &T) -> impl Future<Output = Result<()>> + Send
    where
        N: TryInto<ChannelName, Error: Into<channel_layer::Error>> + AsRef<str>,
        T: Serialize + ?Sized,
    {
        let channel = self.name("submit", channel);
        let message = usable("submit", Message::encode(event));
        async {
            let (channel, message): (ChannelName, _) = (channel?, message?);
            let message = message.with(REPLY_CHANNEL, self.channel().await?.as_str());
            Ok(self.layer().send(&channel, message).await?)
        }
    }
}
