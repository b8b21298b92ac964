//! Messages of the layer on their way from the mailbox.

use std::{mem, task::Context};

use channel_layer::{ChannelName, Mailbox, Message};

/// With this number of messages the mailbox is emptied at once: its capacity is not to be spent on waiting for more.
const CORK: usize = 48;

/// A connection's mailbox.
#[derive(Default)]
pub(super) struct Inbound {
    /// The application's channel, once it has asked for one.
    mailbox: Option<Mailbox>,
    is_corked: bool,
    /// Poll the mailbox again without a wake-up: it is new, or was skipped because the event queue was full.
    again: bool,
    /// The number of messages that found the mailbox full and have been reported. Its low bits, which tell a change.
    reported_full: u32,
}

/// The result of a look into the mailbox.
pub(super) enum MailboxBatch {
    /// The mailbox is empty.
    Empty,
    /// Messages, left there until the runtime has polled its sockets: more may come, and leave in the same write.
    Corked,
    Messages {
        messages: Vec<Message>,
        /// Whether further messages found the mailbox full since the last report. False where reports are not wanted.
        gap: bool,
        /// Whether the mailbox takes no further message, by its overflow policy.
        overflowed: bool,
    },
}

impl Inbound {
    pub(super) fn set_mailbox(&mut self, mailbox: Mailbox) {
        self.mailbox = Some(mailbox);
        self.reported_full = 0;
        self.again = true;
    }

    pub(super) fn take_mailbox(&mut self) -> Option<Mailbox> {
        self.mailbox.take()
    }

    pub(super) fn channel(&self) -> Option<&ChannelName> {
        self.mailbox.as_ref().map(Mailbox::channel)
    }

    /// Asks for another look.
    pub(super) fn look_again(&mut self) {
        self.again = true;
    }

    pub(super) fn take_again(&mut self) -> bool {
        mem::take(&mut self.again)
    }

    /// Looks into the mailbox. `reports_gaps`: whether gaps are wanted.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, reports_gaps: bool) -> MailboxBatch {
        let Some(mailbox) = &mut self.mailbox else { return MailboxBatch::Empty };
        if mailbox.poll_ready(cx).is_pending() {
            return MailboxBatch::Empty;
        }
        let may_wait = mailbox.sender().len() < CORK;
        if may_wait && !mem::replace(&mut self.is_corked, true) {
            return MailboxBatch::Corked;
        }
        self.is_corked = false;
        let mut messages = Vec::new();
        mailbox.drain_into(&mut messages);
        let overflowed = mailbox.is_overflowed();
        let full = if reports_gaps { mailbox.sender().ledger().dropped.full as u32 } else { 0 };
        let gap = full != mem::replace(&mut self.reported_full, full);
        MailboxBatch::Messages { messages, gap, overflowed }
    }

    /// Takes all messages, without waiting for more.
    pub(super) fn take_all(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.drain_into(&mut messages);
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer};
    use futures_util::task::noop_waker_ref;

    use super::*;

    #[tokio::test]
    async fn corks_once() {
        let layer = MemoryLayer::default();
        let mut inbound = Inbound::default();
        let cx = &mut Context::from_waker(noop_waker_ref());
        assert!(matches!(inbound.poll(cx, false), MailboxBatch::Empty));
        inbound.set_mailbox(layer.new_channel().await.unwrap());
        assert!(inbound.take_again() && !inbound.take_again());
        let channel = inbound.channel().unwrap().clone();
        for few in [1, CORK - 1, CORK] {
            for _ in 0..few {
                layer.send(&channel, Message::new("said")).await.unwrap();
            }
            if few < CORK {
                assert!(matches!(inbound.poll(cx, false), MailboxBatch::Corked));
            }
            let MailboxBatch::Messages { messages, gap, overflowed } = inbound.poll(cx, false) else {
                panic!("{few} messages");
            };
            assert_eq!((messages.len(), gap, overflowed), (few, false, false));
        }
    }

    #[tokio::test]
    async fn reports_a_gap_once() {
        let layer = MemoryLayer::default();
        let mut inbound = Inbound::default();
        let cx = &mut Context::from_waker(noop_waker_ref());
        inbound.set_mailbox(layer.new_channel().await.unwrap());
        let channel = inbound.channel().unwrap().clone();
        let mut sent = 0;
        while layer.send(&channel, Message::new("said")).await.is_ok() {
            sent += 1;
        }
        let MailboxBatch::Messages { messages, gap, .. } = inbound.poll(cx, true) else { panic!("messages") };
        assert_eq!((messages.len(), gap), (sent, true));
        layer.send(&channel, Message::new("said")).await.unwrap();
        assert!(matches!(inbound.poll(cx, true), MailboxBatch::Corked));
        assert!(matches!(inbound.poll(cx, true), MailboxBatch::Messages { gap: false, .. }));
    }
}
