//! What the two ends of a connection share.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use channel_layer::{ChannelName, LayerEvent, Mailbox, Message};
use http::StatusCode;

use super::{
    Accept, Head, Mail, Outgoing, Refuse,
    hooks::{AnswerHook, FinishHook, Finishing, Meter},
    output::OutputLimits,
    profile::Profile,
    state::{Input, Phase, Resumed, Slow, State},
};
use crate::{
    error::{Error, Reports, Result},
    frame::{Close, Frame},
};

/// Frames of the client that wait for a busy hook, and that are handled in one go; with more, the transport stops reading.
const INPUTS: usize = 8;
/// The same while a hook looks for the client's answer among them.
const INPUTS_SOUGHT: usize = 1024;

/// Shared by a [`Wire`](super::Wire) and its [`Socket`](crate::Socket).
pub(crate) struct Link(Mutex<State>);

impl Link {
    /// `http`: of a request that is answered by a response, not by a socket.
    pub(crate) fn new(http: bool, profile: Profile) -> Self {
        Self(Mutex::new(State { http, profile, handles: http, ..State::default() }))
    }

    pub(crate) fn profile(&self) -> Profile {
        self.state().profile
    }

    /// The user that guards had found when the connection was accepted.
    pub(crate) fn user(&self) -> Option<Arc<str>> {
        self.state().user.clone()
    }

    pub(crate) fn set_reports(&self, reports: Arc<Reports>) {
        self.state().reports = Some(reports);
    }

    /// Remembers that this error is logged.
    pub(super) fn note_reported(&self, error: &Error) -> Arc<Reports> {
        let mut state = self.state();
        state.reported = Some(mem::discriminant(error));
        state.reports.get_or_insert_default().clone()
    }

    /// Returns whether an error of this kind was logged and not survived.
    pub(crate) fn was_reported(&self, error: &Error) -> bool {
        self.state().reported == Some(mem::discriminant(error))
    }

    pub(crate) fn set_survived(&self) {
        self.state().reported = None;
    }

    pub(crate) fn set_user(&self, user: Option<Arc<str>>) {
        self.state().user = user;
    }

    // ---- the transport's side

    pub(super) fn push(&self, input: Input) {
        let mut state = self.state();
        if state.close.is_some() {
            return;
        }
        if state.leaving.is_some() && state.refuses(&input) {
            return;
        }
        state.take_input(input);
    }

    /// The connection is lost, or closed by the peer. The first word counts.
    pub(crate) fn disconnect(&self, close: Close) {
        let mut state = self.state();
        state.lost |= state.close.is_none();
        // What the client said before it left still counts; what others said to it does not.
        let inputs = mem::take(&mut state.inputs);
        state.end(close);
        state.inputs.extend(inputs.into_iter().filter(|input| !input.is_the_layers()));
        state.outputs.keep_refusal();
        let wakers = [state.task.clone(), state.application.take()];
        let beside = mem::take(&mut state.beside);
        drop(state);
        wakers.into_iter().flatten().chain(beside).for_each(Waker::wake);
    }

    pub(super) fn wants_input(&self) -> bool {
        let state = self.state();
        if state.wants_no_input() {
            return false;
        }
        let most = if state.sought { INPUTS_SOUGHT } else { INPUTS };
        let is_paused = state.hooks.as_ref().is_some_and(|hooks| hooks.is_paused());
        state.inputs.len() - state.events < most && !is_paused
    }

    pub(super) fn accepted(&self) {
        let mut state = self.state();
        if state.phase == Phase::Accepting {
            state.phase = Phase::Open;
        }
    }

    /// Takes what is in the mailbox, and wakes whoever waits for it by a waker other than the task's.
    pub(super) fn begin_poll(&self, cx: &mut Context<'_>) -> Mail {
        let mut state = self.state();
        state.polling = true;
        if !state.task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            state.task = Some(cx.waker().clone());
        }
        if let Some(hooks) = &mut state.hooks {
            hooks.watch_pause(cx);
        }
        let mail = state.pull(cx);
        let other = state.application.take_if(|waker| !waker.will_wake(cx.waker()));
        drop(state);
        if let Some(waker) = other {
            waker.wake();
        }
        mail
    }

    /// Whether the application made it worth while to look into the mailbox again, and what its answer waits for.
    pub(super) fn end_poll(&self) -> (bool, Option<Finishing>) {
        let mut state = self.state();
        state.polling = false;
        let finishing = state.hooks.as_mut().and_then(|hooks| hooks.take_held());
        (mem::take(&mut state.again), finishing)
    }

    /// The answer goes on waiting.
    pub(super) fn hold_on(&self, finishing: Finishing) {
        self.state().hooks.get_or_insert_default().hold_on(finishing);
    }

    /// The answer may leave.
    pub(super) fn release(&self) {
        self.state().release();
    }

    pub(super) fn take_outputs(&self, take: impl FnMut(&mut VecDeque<Outgoing>)) -> bool {
        let mut state = self.state();
        if state.outputs.is_empty() || state.is_held() {
            return false;
        }
        state.said |= state.phase == Phase::Open;
        state.outputs.take(take);
        if !state.has_room() {
            return false;
        }
        let again = mem::take(&mut state.wants_room);
        let beside = mem::take(&mut state.beside);
        drop(state);
        beside.into_iter().for_each(Waker::wake);
        again
    }

    pub(super) fn has_outputs(&self) -> bool {
        let state = self.state();
        !state.is_held() && !state.outputs.is_empty()
    }

    // ---- the middleware's side

    /// `hook` adds to the answer's headers, whatever it will be.
    pub(crate) fn on_answer(&self, hook: AnswerHook) {
        self.state().hooks.get_or_insert_default().on_answer(hook);
    }

    /// The answer to a plain request waits for `hook`.
    pub(crate) fn on_finish(&self, hook: FinishHook) {
        self.state().hooks.get_or_insert_default().on_finish(hook);
    }

    /// `meter` sees all frames of the client from now on.
    pub(crate) fn meter(&self, meter: Meter) {
        self.state().hooks.get_or_insert_default().meter(meter);
    }

    // ---- the application's side

    pub(crate) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// How the connection ended, if it has.
    pub(crate) fn close(&self) -> Option<Close> {
        self.state().close.clone()
    }

    /// With which status the client's request is answered, if it is not accepted; `outcome` is the application's.
    pub(crate) fn status(&self, outcome: &Result<()>) -> Option<StatusCode> {
        let state = self.state();
        let is_undecided = state.phase == Phase::Undecided;
        state.status.or_else(|| is_undecided.then(|| state.refusal(outcome).status))
    }

    pub(crate) fn accept(&self, accept: Accept) -> Result<()> {
        let mut state = self.state();
        match state.phase {
            Phase::Undecided => {
                state.phase = Phase::Accepting;
                state.push(Outgoing::Accept(accept));
                Ok(())
            }
            Phase::Accepting | Phase::Open => Ok(()),
            Phase::Ended => Err(Error::Closed),
        }
    }

    /// Ready once the answer has been handed over.
    pub(crate) fn poll_accepted(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.state();
        match state.phase {
            Phase::Open => Poll::Ready(Ok(())),
            Phase::Ended => Poll::Ready(Err(Error::Closed)),
            _ => state.wait(cx),
        }
    }

    pub(crate) fn refuse(&self, refuse: Refuse) -> Result<()> {
        let mut state = self.state();
        if state.phase != Phase::Undecided {
            return Err(Error::Closed);
        }
        // For a request it is the whole answer, and all is well.
        let close = if state.http { Close::NORMAL } else { Close::ABNORMAL };
        state.push(Outgoing::Refuse(refuse));
        state.end(close.into());
        Ok(())
    }

    /// Begins a response.
    pub(crate) fn respond(&self, head: Head) -> Result<()> {
        let mut state = self.state();
        match state.phase {
            Phase::Undecided if !state.http => Err(Error::other("a socket is accepted, not responded to")),
            Phase::Undecided => {
                state.phase = Phase::Accepting;
                state.push(Outgoing::Head(head));
                Ok(())
            }
            Phase::Accepting | Phase::Open => Err(Error::other("the response has begun already")),
            Phase::Ended => Err(Error::Closed),
        }
    }

    /// Queues a frame if there is room for it; `frame` is taken only then.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, frame: &mut Option<Frame>) -> Poll<Result<()>> {
        let mut state = self.state();
        state.may_send_frames()?;
        if !state.has_room() {
            state.wants_room = true;
            return state.wait(cx);
        }
        if let Some(frame) = frame.take() {
            state.push(Outgoing::Frame(frame));
        }
        Poll::Ready(Ok(()))
    }

    /// Ready while a frame could be sent, or after the end.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.phase == Phase::Ended || state.has_room() {
            return Poll::Ready(());
        }
        state.wants_room = true;
        state.wait(cx)
    }

    /// Ready while at most `bytes` wait to be sent, or after the end.
    pub(crate) fn poll_drained(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        let mut state = self.state();
        if state.phase == Phase::Ended || (state.outputs.bytes() <= bytes && state.has_room()) {
            return Poll::Ready(());
        }
        state.wants_room = true;
        state.wait(cx)
    }

    /// As [`poll_send`](Self::poll_send), from another task; any number of them may wait.
    pub(crate) fn poll_send_beside(
        &self,
        cx: &mut Context<'_>,
        frame: &mut Option<Frame>,
    ) -> Poll<Result<()>> {
        let mut state = self.state();
        state.may_send_frames()?;
        if !state.has_room() {
            if !state.beside.iter().any(|known| known.will_wake(cx.waker())) {
                state.beside.push(cx.waker().clone());
            }
            return Poll::Pending;
        }
        if let Some(frame) = frame.take() {
            state.push(Outgoing::Frame(frame));
        }
        Poll::Ready(Ok(()))
    }

    /// Queues a part of a response's body; the last one ends it.
    pub(crate) fn poll_body(&self, cx: &mut Context<'_>, chunk: &Bytes, more: bool) -> Poll<Result<()>> {
        let mut state = self.state();
        state.may_send()?;
        if !state.has_room() {
            state.wants_room = true;
            return state.wait(cx);
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
        state.may_send_frames()?;
        state.push_encoded(message);
        Ok(())
    }

    /// Ends the connection from this side, after what was sent before.
    pub(crate) fn hang_up(&self, close: Close) -> Result<()> {
        let mut state = self.state();
        if state.phase == Phase::Ended {
            return Err(Error::Closed);
        }
        state.hang_up(close);
        Ok(())
    }

    /// As [`hang_up`](Self::hang_up), from another task.
    pub(crate) fn hang_up_beside(&self, close: Close) {
        if self.hang_up(close).is_ok() {
            self.wake_application();
        }
    }

    pub(super) fn wake_application(&self) {
        let waker = self.state().application.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What the outcome of the application means for the client; its groups are left.
    pub(crate) fn conclude(&self, outcome: &Result<()>) {
        let mut state = self.state();
        state.conclude(outcome);
        let mailbox = state.mailbox.take();
        drop(state);
        drop(mailbox); // that takes other locks
    }

    /// Tells the application what became of the layer's backend.
    pub(crate) fn push_layer_event(&self, event: LayerEvent) {
        self.push_news(Input::Layer(event));
    }

    /// Tells the application that its client has come back.
    pub(crate) fn push_resumed(&self, resumed: Resumed) {
        if !self.state().merge_resumed(&resumed) {
            self.push_news(Input::Resumed(resumed));
        }
    }

    fn push_news(&self, news: Input) {
        let mut state = self.state();
        if state.phase != Phase::Open {
            return;
        }
        state.push_event(news);
        let wakers = [state.task.clone(), state.application.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// The next thing to handle, or `None` once the connection has ended and all that came before is handled.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Input>> {
        let mut state = self.state();
        state.handled = None;
        match state.inputs.pop_front() {
            Some(input) => Poll::Ready(Some(state.popped(input))),
            None if state.close.is_some() => Poll::Ready(None),
            None if state.say_last_word() => Poll::Ready(None),
            None => {
                state.handles = false;
                state.wait(cx)
            }
        }
    }

    /// Takes the first input that `is_it` makes something of out of the order, and leaves the others. `seen` of the
    /// client's have been looked at before.
    pub(crate) fn poll_seek<T>(
        &self,
        cx: &mut Context<'_>,
        seen: &mut usize,
        is_it: impl Fn(&Input) -> Option<T>,
    ) -> Poll<Result<T>> {
        let mut state = self.state();
        let clients = state.inputs.iter().enumerate().filter(|(_, input)| !input.is_the_layers());
        let found = clients.skip(*seen).find_map(|(at, input)| Some((at, is_it(input)?)));
        if let Some((at, found)) = found {
            state.inputs.remove(at);
            return Poll::Ready(Ok(found));
        }
        *seen = state.inputs.len() - state.events;
        if state.close.is_some() { Poll::Ready(Err(Error::Closed)) } else { state.wait(cx) }
    }

    /// Is somebody looking for an answer among the inputs?
    pub(crate) fn set_sought(&self, sought: bool) {
        self.state().sought = sought;
    }

    /// Ready once the connection has ended; true if that was not the application's doing.
    pub(crate) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.state();
        if state.close.is_some() { Poll::Ready(state.lost) } else { state.wait(cx) }
    }

    /// Returns whether nothing has left after the answer that let the client in.
    pub(crate) fn is_unsaid(&self) -> bool {
        !self.state().said
    }

    /// Did it end without this side's doing?
    pub(crate) fn is_lost(&self) -> bool {
        self.state().lost
    }

    pub(crate) fn set_mailbox(&self, mailbox: Mailbox) {
        let mut state = self.state();
        if state.close.is_none() {
            state.mailbox = Some(mailbox);
            state.again = true;
            state.wake_task();
        }
    }

    pub(crate) fn channel(&self) -> Option<ChannelName> {
        self.state().mailbox.as_ref().map(|mailbox| mailbox.channel().clone())
    }

    pub(crate) fn set_limits(&self, limits: Arc<OutputLimits>) {
        self.state().limits = limits;
    }

    pub(crate) fn slow(&self) -> Slow {
        self.state().slow
    }

    /// The transport has given up on a client that takes nothing.
    pub(crate) fn count_slow(&self) {
        self.state().slow.closed = true;
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // User code never runs under the lock, so a poisoned one is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
