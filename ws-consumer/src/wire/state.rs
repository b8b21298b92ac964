//! The mechanisms of a connection together.

use std::{
    sync::Arc,
    task::{Context, Waker},
};

use channel_layer::Message;

use super::{
    commands::LayerCommand,
    failures::FailureLog,
    hooks::{ConnectionHooks, Verdict},
    inbound::{Inbound, MailboxBatch},
    inbox::Inbox,
    lifecycle::{Lifecycle, OutcomeEnd, Phase},
    outbox::{Enqueued, Outbox},
    profile::Profile,
    values::{Head, Input, Outgoing, Refuse},
    wakers::Wakers,
};
use crate::{
    error::Result,
    frame::{Close, Frame},
};

/// The state of a connection, behind one lock: both ends are polled in one task, so it is never contended unless the application
/// gave its socket to another task, which is allowed.
#[derive(Default)]
pub(super) struct ConnectionState {
    pub(super) profile: Profile,
    /// The user that guards had found when it was accepted.
    pub(super) user: Option<Arc<str>>,
    pub(super) lifecycle: Lifecycle,
    pub(super) inbox: Inbox,
    pub(super) inbound: Inbound,
    pub(super) outbox: Outbox,
    pub(super) wakers: Wakers,
    pub(super) failures: FailureLog,
    /// Boxed, and gone once no hook is left: most connections have none.
    pub(super) hooks: Option<Box<ConnectionHooks>>,
}

/// The state of the mailbox after a poll.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MailboxPoll {
    /// Messages were left there for the moment.
    Corked,
    /// The mailbox is empty, or not to be read.
    Done,
}

impl ConnectionState {
    pub(super) fn new(is_request: bool, profile: Profile) -> Self {
        let (lifecycle, inbox) = (Lifecycle::new(is_request), Inbox::new(is_request));
        Self { profile, lifecycle, inbox, ..Self::default() }
    }

    // ---- messages

    pub(super) fn poll_mailbox(&mut self, cx: &mut Context<'_>) -> MailboxPoll {
        if !self.lifecycle.takes_messages() || self.inbox.is_full_of_events() {
            return MailboxPoll::Done;
        }
        match self.inbound.poll(cx, self.profile.reports_gaps) {
            MailboxBatch::Empty => MailboxPoll::Done,
            MailboxBatch::Corked => MailboxPoll::Corked,
            MailboxBatch::Messages { messages, gap, overflowed } => {
                messages.into_iter().for_each(|message| self.sort(message));
                if gap {
                    self.push(Outgoing::Gap);
                }
                if overflowed {
                    // A client that knows is better off than one that receives no further message.
                    self.too_slow();
                }
                MailboxPoll::Done
            }
        }
    }

    /// Takes all messages; true if no input is to be handled before the end.
    pub(super) fn must_end_now(&mut self) -> bool {
        if self.lifecycle.is_open() {
            self.inbound.take_all().into_iter().for_each(|message| self.sort(message));
        }
        // A response's inputs are its request's body, which need not be read. The holder of the wire may have more.
        let is_idle = self.inbox.is_empty() && !self.profile.buffers_input;
        self.lifecycle.is_request() || !self.lifecycle.is_open() || is_idle
    }

    /// Sends a message on its way: to the client, to the application, or to the connection itself.
    fn sort(&mut self, message: Message) {
        if message.is_websocket_send() {
            return self.push_encoded(message);
        }
        match LayerCommand::from_message(&message).close() {
            None => self.inbox.push_event(Input::Event(message)),
            Some(_) if self.lifecycle.is_ended() => {}
            Some(close) => self.close(close.clone()),
        }
    }

    // ---- input

    /// Returns whether the client may be read.
    pub(super) fn wants_input(&self) -> bool {
        // A holder that buffers input hands over what it has, and takes no more from the client instead.
        let is_muted = self.lifecycle.is_muted() && !self.profile.buffers_input;
        let is_paused = self.hooks.as_ref().is_some_and(|hooks| hooks.is_paused());
        !is_muted && !is_paused && self.inbox.has_room()
    }

    pub(super) fn push_input(&mut self, input: Input) {
        if self.lifecycle.is_ended() || (self.lifecycle.is_draining() && self.refuses(&input)) {
            return;
        }
        if let (Input::Frame(frame), Some(hooks)) = (&input, &mut self.hooks) {
            match hooks.check(frame) {
                Verdict::Answer(answer) => return self.answer_frame(answer),
                Verdict::Close(close) => return self.close(close),
                Verdict::Pass => {}
                Verdict::Pause(time) => hooks.pause(time),
            }
        }
        self.inbox.push(input);
    }

    /// Returns true for a frame that comes too late, and so ends the connection.
    fn refuses(&mut self, input: &Input) -> bool {
        if !matches!(input, Input::Frame(_)) || self.profile.buffers_input {
            return false;
        }
        let Some(close) = self.lifecycle.refusing_close().cloned() else {
            return self.lifecycle.is_ending();
        };
        if self.must_end_now() {
            self.close(close);
        } else {
            self.lifecycle.end_after_input(close);
        }
        true
    }

    /// Sends a guard's answer to a frame. A client that sends and takes no answers must not fill the memory with them.
    fn answer_frame(&mut self, answer: Frame) {
        match self.lifecycle.may_send() {
            Ok(()) if self.outbox.has_room() => self.push(Outgoing::Frame(answer)),
            Ok(()) => self.too_slow(),
            Err(_) => {}
        }
    }

    /// Takes the next input, and remembers the event from which frames may be shared.
    pub(super) fn next_input(&mut self) -> Option<Input> {
        self.outbox.set_event(None);
        let was_full = self.inbox.is_full_of_events();
        let input = self.inbox.pop()?;
        if was_full && input.is_event() {
            self.inbound.look_again();
        }
        if let Input::Event(message) = &input
            && self.profile.shares_frames
        {
            self.outbox.set_event(Some(message.clone()));
        }
        Some(input)
    }

    // ---- output

    pub(super) fn push(&mut self, mut output: Outgoing) {
        match &output {
            Outgoing::Head(head) => self.lifecycle.set_status(head.status),
            Outgoing::Refuse(refuse) => self.lifecycle.set_status(refuse.status),
            _ => {}
        }
        if let Some(hooks) = &mut self.hooks {
            if !hooks.hold(&mut output) {
                hooks.amend(&mut output);
            }
            if hooks.is_empty() {
                self.hooks = None;
            }
        }
        self.outbox.push(output);
        self.wakers.wake_task();
    }

    /// Queues a broadcast frame, which may begin the response to a plain request.
    pub(super) fn push_encoded(&mut self, message: Message) {
        match self.lifecycle.phase() {
            Phase::Ended => return,
            Phase::Undecided => {
                if self.lifecycle.respond().is_err() {
                    return;
                }
                self.push(Outgoing::Head(Head::default()));
            }
            Phase::Accepting | Phase::Open => {}
        }
        match self.outbox.push_broadcast(message) {
            Enqueued::Yes { dropped: 0 } => {}
            Enqueued::Yes { dropped } => self.count_dropped(dropped),
            Enqueued::No => self.count_dropped(1),
            Enqueued::TooSlow => self.too_slow(),
        }
        self.wakers.wake_task();
    }

    fn too_slow(&mut self) {
        if self.lifecycle.is_ended() {
            return;
        }
        let (channel, bytes) = (self.inbound.channel(), self.outbox.bytes());
        let rule =
            if self.outbox.has_room() { "the mailbox's capacity" } else { "output.bytes, output.messages" };
        tracing::warn!(?channel, bytes, rule, "closing a client that is too slow");
        self.outbox.count_closed();
        self.close(Close::new(Close::TRY_AGAIN_LATER, "too slow"));
    }

    fn count_dropped(&mut self, frames: u64) {
        tracing::debug!(channel = ?self.inbound.channel(), frames, "frames dropped for a slow client");
        self.outbox.count_dropped(frames);
    }

    /// Returns whether the answer to a plain request waits for guards. Until they are done, no output leaves.
    pub(super) fn is_held(&self) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.is_holding())
    }

    /// Lets the answer leave, if the client is still there for it.
    pub(super) fn release(&mut self) {
        let Some(mut hooks) = self.hooks.take() else { return };
        if let Some(answer) = self.outbox.first_mut() {
            hooks.amend(answer);
        }
    }

    /// Takes the wakers of senders, if the outbox has room; and whether the application waited for it.
    pub(super) fn take_waiting(&mut self) -> Option<(bool, Vec<Waker>)> {
        let has_room = self.outbox.has_room();
        has_room.then(|| (self.wakers.take_wants_room(), self.wakers.take_senders()))
    }

    // ---- the end

    /// Ends the connection, which has not ended before.
    pub(super) fn close(&mut self, close: Close) {
        self.push(match self.lifecycle.phase() {
            Phase::Undecided => Outgoing::Refuse(Refuse::default()),
            _ => Outgoing::Close(close.clone()),
        });
        self.end(close);
    }

    /// Ends the connection as the application's outcome says.
    pub(super) fn close_for(&mut self, outcome: &Result<()>) {
        match self.lifecycle.end_for(outcome) {
            OutcomeEnd::Done => {}
            OutcomeEnd::Close(close) => self.close(close),
            OutcomeEnd::Refuse(refuse) => {
                self.push(Outgoing::Refuse(refuse));
                self.end(Close::ABNORMAL.into());
            }
        }
    }

    /// Ends the connection if it was to end once all input is handled. Returns whether it did.
    pub(super) fn close_if_ending(&mut self) -> bool {
        let Some(close) = self.lifecycle.pending_close().cloned() else { return false };
        self.close(close);
        true
    }

    pub(super) fn refuse(&mut self, refuse: Refuse) {
        let close = self.lifecycle.refusal_close();
        self.push(Outgoing::Refuse(refuse));
        self.end(close);
    }

    pub(super) fn end(&mut self, close: Close) {
        self.lifecycle.end(close);
        self.inbox.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Every idle connection has one.
    #[test]
    fn a_state_is_small() {
        let size = size_of::<ConnectionState>() - size_of::<Option<channel_layer::Mailbox>>();
        assert!(size <= 280, "{size} bytes");
    }
}
