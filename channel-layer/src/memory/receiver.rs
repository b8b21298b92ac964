//! The receivers of one named channel.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    mailbox::{Mailbox, MailboxSender},
    message::Message,
};

/// A channel that any number of receivers share.
#[derive(Debug)]
pub(super) struct Named {
    mailbox: Mailbox,
    /// Wakes one receiver, and the next one if that one is cancelled before it took the message.
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

/// A call of `receive`, for as long as it waits: its channel is kept meanwhile.
pub(super) struct Receiver(Arc<Named>);

impl Named {
    pub(super) fn new(mut mailbox: Mailbox) -> Arc<Self> {
        let arrivals = Arc::new(Arrivals::default());
        // The mailbox's one waker stands for all receivers.
        let waker = Waker::from(arrivals.clone());
        let _: Poll<()> = mailbox.poll_ready(&mut Context::from_waker(&waker));
        Arc::new(Self { mailbox, arrivals, receivers: AtomicUsize::new(0) })
    }

    pub(super) fn sender(&self) -> &MailboxSender {
        self.mailbox.sender()
    }

    /// Does nothing wait here, and nobody? The map's own reference is the one that counts.
    pub(super) fn is_idle(self: &Arc<Self>, now: Instant) -> bool {
        self.sender().expire(now);
        self.receivers.load(Relaxed) == 0 && Arc::strong_count(self) == 1 && self.sender().is_empty()
    }
}

impl Receiver {
    pub(super) fn new(named: Arc<Named>) -> Self {
        named.receivers.fetch_add(1, Relaxed);
        Self(named)
    }

    /// Waits for a message. Cancel safe: the message is taken at the moment it is returned.
    pub(super) async fn recv(&self) -> Message {
        loop {
            if let Some(message) = self.0.sender().pop() {
                // The mailbox wakes once for all that it holds: pass it on to the next receiver.
                if !self.0.sender().is_empty() {
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
