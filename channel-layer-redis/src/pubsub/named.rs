//! General channels: subscribed to while somebody receives, and a little longer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use channel_layer::{ChannelName, Mailbox, Message, hub::Hub, mailbox::Bounds};
use tokio::{sync::Notify, time::sleep};

/// A line is kept so long at least for a receiver that was cancelled and comes back, as in a `select!` in a loop.
const GRACE: Duration = Duration::from_millis(100);

/// The general channels that this process receives from.
#[derive(Debug, Default)]
pub(super) struct Named(Mutex<HashMap<ChannelName, Arc<Line>>>);

#[derive(Debug)]
struct Line {
    /// Held to take a message.
    mailbox: Mutex<Mailbox>,
    arrivals: Arc<Arrivals>,
    receivers: AtomicUsize,
}

#[derive(Debug, Default)]
struct Arrivals(Notify);

impl Wake for Arrivals {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// A call of `receive`, for as long as it waits.
pub(super) struct Receiver(Arc<Line>);

impl Named {
    /// A receiver, and whether it is the first one; nothing if the channel is a mailbox.
    pub(super) fn enter(&self, hub: &Hub, channel: &ChannelName, bounds: Bounds) -> Option<(Receiver, bool)> {
        let mut lines = self.lock();
        let known = lines.get(channel).cloned();
        let is_new = known.is_none();
        let line = match known {
            Some(line) => line,
            None => Line::new(hub.open(channel.clone(), bounds)?),
        };
        line.receivers.fetch_add(1, Relaxed);
        lines.insert(channel.clone(), line.clone());
        Some((Receiver(line), is_new))
    }

    pub(super) fn contains(&self, channel: &ChannelName) -> bool {
        self.lock().contains_key(channel)
    }

    /// Waits until nobody has received for a while, and ends the line then.
    pub(super) async fn retire(&self, channel: &ChannelName, linger: Duration) {
        let mut was_idle = false;
        loop {
            sleep(linger.max(GRACE)).await;
            let mut lines = self.lock();
            let Some(line) = lines.get(channel) else { return };
            let is_idle = line.receivers.load(Relaxed) == 0; // changed under the lock only when it grows
            if is_idle && was_idle {
                lines.remove(channel); // under the lock, so that who comes next finds the name free
                return;
            }
            was_idle = is_idle;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelName, Arc<Line>>> {
        // Nothing in here is left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn new(mut mailbox: Mailbox) -> Arc<Self> {
        let arrivals = Arc::new(Arrivals::default());
        // The mailbox's one waker stands for all receivers.
        let waker = Waker::from(arrivals.clone());
        let _: Poll<()> = mailbox.poll_ready(&mut Context::from_waker(&waker));
        Arc::new(Self { mailbox: Mutex::new(mailbox), arrivals, receivers: AtomicUsize::new(0) })
    }

    /// The next message, and whether more wait.
    fn take(&self) -> Option<(Message, bool)> {
        let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        let message = mailbox.try_recv()?;
        Some((message, !mailbox.sender().is_empty()))
    }
}

impl Receiver {
    /// Cancel safe: the message is taken at the moment it is returned.
    pub(super) async fn recv(&self) -> Message {
        loop {
            if let Some((message, more)) = self.0.take() {
                // The mailbox wakes once for all that it holds: pass it on to the next receiver.
                if more {
                    self.0.arrivals.0.notify_one();
                }
                return message;
            }
            self.0.arrivals.0.notified().await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.receivers.fetch_sub(1, Relaxed);
    }
}
