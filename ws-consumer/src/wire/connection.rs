//! The object that both ends of a connection share, and the way of messages through it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use channel_layer::{LayerEvent, Mailbox, Message};

use super::{
    commands::LayerCommand,
    failures::FailureLog,
    hooks::{ConnectionHooks, Finishing, Verdict},
    inbound::{Inbound, MailboxBatch},
    inbox::Inbox,
    lifecycle::{Lifecycle, Phase},
    outbox::{Enqueued, Outbox},
    profile::Profile,
    values::{Head, Input, Outgoing, Resumed},
    wakers::Wakers,
};
use crate::{
    error::{Error, Result},
    frame::{Close, Frame, HEARTBEAT},
    sync::lock,
};

/// Shared by a [`Wire`](super::Wire) and its [`Socket`](crate::Socket). Its functions take the lock, change the state and
/// wake the tasks that wait, without the lock.
pub(crate) struct Connection(Mutex<ConnectionState>);

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

impl Connection {
    /// `is_request`: a plain request, answered by a response.
    pub(crate) fn new(is_request: bool, profile: Profile) -> Self {
        Self(Mutex::new(ConnectionState::new(is_request, profile)))
    }

    // ---- the transport's side

    pub(super) fn push_input(&self, input: Input) {
        self.state().push_input(input);
    }

    pub(super) fn wants_input(&self) -> bool {
        self.state().wants_input()
    }

    pub(super) fn accepted(&self) {
        self.state().lifecycle.accepted();
    }

    /// Takes the messages of the mailbox, and wakes an application that waits by a waker other than the task's.
    pub(super) fn begin_poll(&self, cx: &mut Context<'_>) -> MailboxPoll {
        let mut state = self.state();
        state.wakers.begin_poll(cx);
        if let Some(hooks) = &mut state.hooks {
            hooks.watch_pause(cx);
        }
        let mailbox = state.poll_mailbox(cx);
        let foreign = state.wakers.take_foreign(cx);
        drop(state);
        foreign.into_iter().for_each(Waker::wake);
        mailbox
    }

    /// Returns whether the mailbox is worth another look, and the future that the answer waits for.
    pub(super) fn end_poll(&self) -> (bool, Option<Finishing>) {
        let mut state = self.state();
        state.wakers.end_poll();
        let finishing = state.hooks.as_mut().and_then(|hooks| hooks.take_held());
        (state.inbound.take_again(), finishing)
    }

    /// The answer goes on waiting.
    pub(super) fn hold_on(&self, finishing: Finishing) {
        self.state().hooks.get_or_insert_default().hold_on(finishing);
    }

    /// The answer may leave.
    pub(super) fn release(&self) {
        self.state().release();
    }

    /// Shows the output to `take`. Returns whether the application has waited for room, and has it now.
    pub(super) fn take_outputs(&self, take: impl FnMut(&mut VecDeque<Outgoing>)) -> bool {
        let mut state = self.state();
        if state.outbox.is_empty() || state.is_held() {
            return false;
        }
        let is_open = state.lifecycle.is_open();
        state.outbox.take(is_open, take);
        let Some((again, senders)) = state.take_waiting() else { return false };
        drop(state);
        senders.into_iter().for_each(Waker::wake);
        again
    }

    pub(super) fn has_outputs(&self) -> bool {
        let state = self.state();
        !state.is_held() && !state.outbox.is_empty()
    }

    // ---- the application's side

    /// Queues a frame if there is room for it; `frame` is taken only then.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, frame: &mut Option<Frame>) -> Poll<Result<()>> {
        self.poll_frame(frame, |wakers| wakers.wait_for_room(cx))
    }

    /// Queues a frame like [`poll_send`](Self::poll_send), from other tasks, of which any number may wait.
    pub(crate) fn poll_send_from_task(
        &self,
        cx: &mut Context<'_>,
        frame: &mut Option<Frame>,
    ) -> Poll<Result<()>> {
        self.poll_frame(frame, |wakers| wakers.wait_as_sender(cx))
    }

    fn poll_frame(
        &self,
        frame: &mut Option<Frame>,
        wait: impl FnOnce(&mut Wakers) -> Poll<Result<()>>,
    ) -> Poll<Result<()>> {
        let mut state = self.state();
        state.lifecycle.may_send_frames()?;
        if !state.outbox.has_room() {
            return wait(&mut state.wakers);
        }
        if let Some(frame) = frame.take() {
            state.push(Outgoing::Frame(frame));
        }
        Poll::Ready(Ok(()))
    }

    /// Queues a frame that several connections send, if there is room for it.
    pub(crate) fn poll_send_shared(&self, cx: &mut Context<'_>, message: &Message) -> Poll<Result<()>> {
        let mut state = self.state();
        state.lifecycle.may_send_frames()?;
        if !state.outbox.has_room() {
            return state.wakers.wait_for_room(cx);
        }
        state.push(Outgoing::Shared(message.clone()));
        Poll::Ready(Ok(()))
    }

    /// Queues a part of a response's body; the last one ends it.
    pub(crate) fn poll_body(&self, cx: &mut Context<'_>, chunk: &Bytes, more: bool) -> Poll<Result<()>> {
        let mut state = self.state();
        state.lifecycle.may_send()?;
        if !state.outbox.has_room() {
            return state.wakers.wait_for_room(cx);
        }
        state.push(Outgoing::Body { chunk: chunk.clone(), more });
        if !more {
            state.end(Close::NORMAL.into());
        }
        Poll::Ready(Ok(()))
    }

    /// Queues a comment of an event stream, unless output waits, which shows as well that the stream is alive. Returns
    /// false after the end.
    pub(crate) fn send_heartbeat(&self) -> bool {
        let mut state = self.state();
        if state.lifecycle.may_send().is_err() {
            return false;
        }
        if state.outbox.is_empty() {
            state.push(Outgoing::Body { chunk: Bytes::from_static(HEARTBEAT.as_bytes()), more: true });
        }
        true
    }

    /// Queues a message's ready bytes; never waits.
    pub(crate) fn send_encoded(&self, message: Message) -> Result<()> {
        let mut state = self.state();
        state.lifecycle.may_send_frames()?;
        state.push_encoded(message);
        Ok(())
    }

    /// Ready while the outbox has room and at most `bytes` wait in it, or after the end.
    pub(crate) fn poll_drained(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        let mut state = self.state();
        let is_drained = state.outbox.bytes() <= bytes && state.outbox.has_room();
        if state.lifecycle.is_ended() || is_drained {
            return Poll::Ready(());
        }
        state.wakers.wait_for_room(cx)
    }

    /// The next thing to handle, or `None` once the connection has ended and all that came before is handled.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Input>> {
        let mut state = self.state();
        match state.next_input() {
            Some(input) => Poll::Ready(Some(input)),
            None if state.lifecycle.is_ended() || state.close_if_ending() => Poll::Ready(None),
            None => state.wakers.wait(cx),
        }
    }

    /// The next thing to handle while the application handles others, or `None` once the connection has ended. A drain that waits
    /// for the input to be handled goes on waiting.
    pub(crate) fn poll_next_beside(&self, cx: &mut Context<'_>) -> Poll<Option<Input>> {
        let mut state = self.state();
        let is_handling = state.inbox.is_handling();
        let input = state.next_input();
        if is_handling {
            state.inbox.set_handling(true);
        }
        match input {
            Some(input) => Poll::Ready(Some(input)),
            None if state.lifecycle.is_ended() => Poll::Ready(None),
            None => state.wakers.wait(cx),
        }
    }

    /// Lets the application look again at what it waits for.
    pub(crate) fn wake(&self) {
        wake_both(self.state());
    }

    /// Whether the application may handle an event of its own: not after the end, nor while the end waits for input.
    pub(crate) fn takes_events(&self) -> bool {
        let state = self.state();
        !state.lifecycle.is_ended() && !state.lifecycle.is_ending()
    }

    /// Treats a message of the application's own like one from its mailbox. Returns the event, if it is one.
    pub(crate) fn take_event(&self, message: Message) -> Option<Input> {
        let mut state = self.state();
        state.outbox.set_event(None);
        state.inbox.set_handling(false);
        state.sort_command(message).map(Input::Event)
    }

    /// Takes the first of the client's inputs from which `select` makes a value, out of order. The first `seen` of
    /// them have been looked at before.
    pub(crate) fn poll_seek<T>(
        &self,
        cx: &mut Context<'_>,
        seen: &mut usize,
        select: impl Fn(&Input) -> Option<T>,
    ) -> Poll<Result<T>> {
        let mut state = self.state();
        match state.inbox.seek(seen, select) {
            Some(found) => Poll::Ready(Ok(found)),
            None if state.lifecycle.is_ended() => Poll::Ready(Err(Error::Closed)),
            None => state.wakers.wait(cx),
        }
    }

    /// Sets whether a hook looks for an answer among the inputs.
    pub(crate) fn set_sought(&self, is_sought: bool) {
        self.state().inbox.set_sought(is_sought);
    }

    pub(crate) fn set_mailbox(&self, mailbox: Mailbox) {
        let mut state = self.state();
        if !state.lifecycle.is_ended() {
            state.inbound.set_mailbox(mailbox);
            state.wakers.wake_task();
        }
    }

    /// Hands the application an event of the layer's backend.
    pub(crate) fn push_layer_event(&self, event: LayerEvent) {
        self.push_event(Input::Layer(event));
    }

    /// Hands the application the return of its client.
    pub(crate) fn push_resumed(&self, resumed: Resumed) {
        if !self.state().inbox.merge_resumed(&resumed) {
            self.push_event(Input::Resumed(resumed));
        }
    }

    fn push_event(&self, event: Input) {
        let mut state = self.state();
        if !state.lifecycle.is_open() {
            return;
        }
        state.inbox.push_event(event);
        wake_both(state);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, ConnectionState> {
        // User code never runs under the lock, so a poisoned one is still whole.
        lock(&self.0)
    }
}

impl ConnectionState {
    pub(super) fn new(is_request: bool, profile: Profile) -> Self {
        let (lifecycle, inbox) = (Lifecycle::new(is_request), Inbox::new(is_request));
        Self { profile, lifecycle, inbox, ..Self::default() }
    }

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

    /// Sends a message on its way: to the client, to the application, or to the connection itself.
    pub(super) fn sort(&mut self, message: Message) {
        if let Some(event) = self.sort_command(message) {
            self.inbox.push_event(Input::Event(event));
        }
    }

    /// Carries out a message to the connection; returns one for the application.
    fn sort_command(&mut self, message: Message) -> Option<Message> {
        if message.is_websocket_send() {
            self.push_encoded(message);
            return None;
        }
        let Some(close) = LayerCommand::from_message(&message).close() else { return Some(message) };
        if !self.lifecycle.is_ended() {
            self.close(close.clone());
        }
        None
    }

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
}

pub(super) fn wake_both(mut state: MutexGuard<'_, ConnectionState>) {
    let wakers = state.wakers.both();
    drop(state);
    wakers.for_each(Waker::wake);
}
