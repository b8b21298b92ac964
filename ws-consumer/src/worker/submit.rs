//! Asking workers for something.

use std::time::Duration;

use channel_layer::{ChannelLayer, ChannelName, Message, REPLY_CHANNEL};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::job::WAITING;
use crate::{
    error::{Error, Result},
    socket::{Context, usable},
};

/// A channel that is full is tried again after this time.
const FULL: Duration = Duration::from_millis(50);

/// How long, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubmitPolicy {
    /// How long a worker may take, its own retries included, before it is taken for dead.
    pub each: Duration,
    /// How often the work is asked for. At least once.
    pub tries: u32,
}

impl SubmitPolicy {
    /// Asks up to `tries` times, and waits so long for each.
    pub fn new(each: Duration, tries: u32) -> Self {
        Self { each, tries: tries.max(1) }
    }
}

/// Sends an event to a worker and waits until it is done; when no end is heard of in time, sends it again.
///
/// So nothing is lost with a worker that is killed, and something may be done twice: by one that was only slow.
/// Where a channel is full, it waits for room. Dropping the future does not take back what has been sent.
///
/// # Errors
/// The worker has given up ([`Other`](Error::Other)), nobody was done in time
/// ([`TimedOut`](std::io::ErrorKind::TimedOut) in an [`Other`](Error::Other)), or what the layer says.
pub async fn submit_until_done<T: Serialize + ?Sized>(
    layer: &dyn ChannelLayer,
    channel: &ChannelName,
    event: &T,
    patience: SubmitPolicy,
) -> Result<()> {
    let message = Message::encode(event);
    let mut ends = layer.open("done".into()).await?;
    let message = message?.with(WAITING, ends.channel().as_str());
    for _ in 0..patience.tries {
        let end = Instant::now() + patience.each;
        if send_by(layer, channel, &message, end).await? {
            match timeout(end.saturating_duration_since(Instant::now()), ends.recv()).await {
                Ok(end) if end.event_type() == Some("worker.done") => return Ok(()),
                Ok(_) => return Err(Error::other("the worker has given up")),
                Err(_) => tracing::warn!(%channel, "work that was asked for is not done: asking again"),
            }
        }
    }
    Err(std::io::Error::new(std::io::ErrorKind::TimedOut, format!("nobody at `{channel}` was done in time"))
        .into())
}

/// True if there was room in time.
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
    /// Asks the workers of a channel for something. What they [report](super::Job::progress) arrives at this
    /// connection's `event` hook.
    ///
    /// # Errors
    /// An event that is no map; a name that is none; what the layer says, mostly that the channel is full: more is asked
    /// for than the workers get done.
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
