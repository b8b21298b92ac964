//! The object that both ends of a connection share.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use channel_layer::{ChannelName, LayerEvent, Mailbox, Message};
use http::StatusCode;

use super::{
    failures,
    hooks::{AnswerHook, FinishHook, Finishing, FrameMeter},
    lifecycle::Phase,
    outbox::{OutputLimits, SlowStats},
    profile::Profile,
    state::{ConnectionState, MailboxPoll},
    values::{Accept, Head, Input, Outgoing, Refuse, Resumed},
    wakers::Wakers,
};
use crate::{
    error::{Error, FailureReports, Result},
    frame::{Close, Frame},
};

/// Shared by a [`Wire`](super::Wire) and its [`Socket`](crate::Socket). Its functions take the lock, change the state and
/// wake the tasks that wait, without the lock.
pub(crate) struct Connection(Mutex<ConnectionState>);

impl Connection {
    /// `is_request`: a plain request, answered by a response.
    pub(crate) fn new(is_request: bool, profile: Profile) -> Self {
        Self(Mutex::new(ConnectionState::new(is_request, profile)))
    }

    pub(crate) fn profile(&self) -> Profile {
        self.state().profile
    }

    /// Returns whether this is a plain request, answered by a response.
    pub(crate) fn is_request(&self) -> bool {
        self.state().lifecycle.is_request()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state().lifecycle.phase()
    }

    /// The user that guards had found when the connection was accepted.
    pub(crate) fn user(&self) -> Option<Arc<str>> {
        self.state().user.clone()
    }

    pub(crate) fn set_user(&self, user: Option<Arc<str>>) {
        self.state().user = user;
    }

    // ---- failures

    pub(crate) fn set_reports(&self, reports: Arc<FailureReports>) {
        self.state().failures.set_reports(reports);
    }

    /// Logs a failure, at most once a second for each kind. `hook`: what failed.
    pub(crate) fn report(&self, path: Option<&str>, hook: &'static str, error: &Error) {
        let reports = self.state().failures.note(error);
        failures::log(&reports, path, hook, error);
    }

    /// Returns whether an error of this kind was logged and not survived.
    pub(crate) fn was_reported(&self, error: &Error) -> bool {
        self.state().failures.was_reported(error)
    }

    pub(crate) fn set_survived(&self) {
        self.state().failures.set_survived();
    }

    // ---- the transport

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

    /// Returns whether any output has left since the client was admitted.
    pub(crate) fn has_sent(&self) -> bool {
        self.state().outbox.has_sent()
    }

    pub(crate) fn slow(&self) -> SlowStats {
        self.state().outbox.slow()
    }

    /// Counts a client that the transport has given up because it takes no output.
    pub(crate) fn count_slow(&self) {
        self.state().outbox.count_closed();
    }

    // ---- middleware

    /// Adds a hook for the answer's headers.
    pub(crate) fn on_answer(&self, hook: AnswerHook) {
        self.state().hooks.get_or_insert_default().on_answer(hook);
    }

    /// Adds a hook that the answer to a plain request waits for.
    pub(crate) fn on_finish(&self, hook: FinishHook) {
        self.state().hooks.get_or_insert_default().on_finish(hook);
    }

    /// Adds a meter, which checks all further frames of the client.
    pub(crate) fn meter(&self, meter: FrameMeter) {
        self.state().hooks.get_or_insert_default().meter(meter);
    }

    /// The status of the answer to the client's request, unless it is accepted; `outcome` is the application's.
    pub(crate) fn status(&self, outcome: &Result<()>) -> Option<StatusCode> {
        self.state().lifecycle.status(outcome)
    }

    // ---- the decision

    pub(crate) fn accept(&self, accept: Accept) -> Result<()> {
        let mut state = self.state();
        if state.lifecycle.accept()? {
            state.push(Outgoing::Accept(accept));
        }
        Ok(())
    }

    /// Ready once the answer has been handed over.
    pub(crate) fn poll_accepted(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.state();
        match state.lifecycle.phase() {
            Phase::Open => Poll::Ready(Ok(())),
            Phase::Ended => Poll::Ready(Err(Error::Closed)),
            Phase::Undecided | Phase::Accepting => state.wakers.wait(cx),
        }
    }

    pub(crate) fn refuse(&self, refuse: Refuse) -> Result<()> {
        let mut state = self.state();
        if !state.lifecycle.is_undecided() {
            return Err(Error::Closed);
        }
        state.refuse(refuse);
        Ok(())
    }

    /// Begins a response.
    pub(crate) fn respond(&self, head: Head) -> Result<()> {
        let mut state = self.state();
        state.lifecycle.respond()?;
        state.push(Outgoing::Head(head));
        Ok(())
    }

    // ---- output

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

    pub(crate) fn set_limits(&self, limits: Arc<OutputLimits>) {
        self.state().outbox.set_limits(limits);
    }

    // ---- input

    /// The next thing to handle, or `None` once the connection has ended and all that came before is handled.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Input>> {
        let mut state = self.state();
        match state.next_input() {
            Some(input) => Poll::Ready(Some(input)),
            None if state.lifecycle.is_ended() || state.close_if_ending() => Poll::Ready(None),
            None => state.wakers.wait(cx),
        }
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

    pub(crate) fn channel(&self) -> Option<ChannelName> {
        self.state().inbound.channel().cloned()
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn wake_both(mut state: MutexGuard<'_, ConnectionState>) {
    let wakers = state.wakers.both();
    drop(state);
    wakers.for_each(Waker::wake);
}
