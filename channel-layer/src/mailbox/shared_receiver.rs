//! A mailbox that any number of receivers share: one named channel.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::{sync::Notify, time::Instant};

use super::{Mailbox, MailboxSender};
use crate::message::Message;

/// A mailbox with any number of receivers, of which each message reaches one.
#[derive(Debug)]
pub(crate) struct SharedMailbox {
    mailbox: Mailbox,
    /// Wakes one receiver, and the next one if that one is cancelled before it took the message.
    wake_one: Arc<WakeOne>,
    /// Relaxed: it decides under the lock of the map that holds the mailbox, where it grows too.
    receivers: AtomicUsize,
}

#[derive(Debug, Default)]
struct WakeOne(Notify);

impl Wake for WakeOne {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// A call of `receive`, for as long as it waits. Its mailbox is kept meanwhile.
#[derive(Debug)]
pub(crate) struct SharedReceiver(Arc<SharedMailbox>);

impl SharedMailbox {
    pub(crate) fn new(mut mailbox: Mailbox) -> Arc<Self> {
        let wake_one = Arc::new(WakeOne::default());
        // The mailbox's one waker stands for all receivers.
        let waker = Waker::from(wake_one.clone());
        let _: Poll<()> = mailbox.poll_ready(&mut Context::from_waker(&waker));
        Arc::new(Self { mailbox, wake_one, receivers: AtomicUsize::new(0) })
    }

    pub(crate) fn sender(&self) -> &MailboxSender {
        self.mailbox.sender()
    }

    pub(crate) fn receiver(self: &Arc<Self>) -> SharedReceiver {
        self.receivers.fetch_add(1, Relaxed);
        SharedReceiver(self.clone())
    }

    /// Whether a call of `receive` waits.
    pub(crate) fn has_receivers(&self) -> bool {
        self.receivers.load(Relaxed) > 0
    }

    /// Whether the mailbox is empty, and only its map refers to it.
    pub(crate) fn is_idle(self: &Arc<Self>, now: Instant) -> bool {
        self.sender().expire(now);
        !self.has_receivers() && Arc::strong_count(self) == 1 && self.sender().is_empty()
    }
}

impl SharedReceiver {
    /// Waits for a message. Cancel safe: the message is taken at the moment it is returned.
    pub(crate) async fn recv(&self) -> Message {
        loop {
            if let Some(message) = self.0.sender().pop() {
                // The mailbox wakes once for all that it holds: the next receiver is woken for the rest.
                if !self.0.sender().is_empty() {
                    self.0.wake_one.0.notify_one();
                }
                return message;
            }
            self.0.wake_one.0.notified().await;
        }
    }
}

impl Drop for SharedReceiver {
    fn drop(&mut self) {
        self.0.receivers.fetch_sub(1, Relaxed);
    }
}
