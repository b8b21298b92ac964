//! What the two ends of a connection share.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use channel_layer::{ChannelName, Mailbox, Message};

use super::{
    Accept, Mail, Outgoing, Refuse,
    hooks::{AnswerHook, Hooks, Meter},
    output::{Made, OutputLimits, Outputs},
};
use crate::{
    error::{Error, Result},
    frame::{Close, Frame},
};

/// Frames of the client that wait for a busy hook; with more, the transport stops reading.
const INPUTS: usize = 16;
/// Events that wait for a busy hook; with more, they stay in the mailbox and count against its capacity.
const EVENTS: usize = 100;
/// Shared by a [`Wire`](super::Wire) and its [`Socket`](crate::Socket).
#[derive(Default)]
pub(crate) struct Link(Mutex<State>);

/// Everything behind one lock: both ends are polled in one task, so it is never contended unless the application
/// gave its socket to another task, which is allowed.
#[derive(Default)]
struct State {
    phase: Phase,
    inputs: VecDeque<Input>,
    /// How many of them are events.
    events: usize,
    outputs: Outputs,
    limits: Arc<OutputLimits>,
    slow: Slow,
    /// The application's own channel, once it has asked for one.
    mailbox: Option<Mailbox>,
    corked: bool,
    /// Is the application being polled by the wire, right now? Then nobody has to wake the wire.
    polling: bool,
    /// The mailbox is new, or was left alone because of too many events: nobody's wake-up will tell.
    again: bool,
    /// A hook waits until the outputs shrink.
    wants_room: bool,
    /// How the connection ended, or is to end. Set once.
    close: Option<Close>,
    /// Did it end without the application's doing?
    lost: bool,
    /// Boxed, and gone when nobody asked for anything: most connections have none.
    hooks: Option<Box<Hooks>>,
    /// Who waits in the socket's functions; the task's own waker unless the application polls by other means.
    application: Option<Waker>,
    /// The transport's task.
    task: Option<Waker>,
}

/// What slowness has cost a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slow {
    /// Broadcast frames that were dropped.
    pub(crate) dropped: u64,
    pub(crate) closed: bool,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Neither accepted nor refused.
    #[default]
    Undecided,
    /// Accepted by the application; the answer has not left.
    Accepting,
    Open,
    /// Refused, closed or lost.
    Ended,
}

/// What an application receives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// A message from the channel layer.
    Event(Message),
    /// A frame from the client.
    Frame(Frame),
}

impl Link {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    // ---- the transport's side

    pub(super) fn push_frame(&self, frame: Frame) {
        let mut state = self.state();
        if state.close.is_some() {
            return;
        }
        match state.hooks.as_mut().and_then(|hooks| hooks.measure(&frame)) {
            Some(close) => state.hang_up(close),
            None => state.inputs.push_back(Input::Frame(frame)),
        }
    }

    /// The connection is lost, or closed by the peer. The first word counts.
    pub(crate) fn disconnect(&self, close: Close) {
        let mut state = self.state();
        state.lost |= state.close.is_none();
        // What the client said before it left still counts; what others said to it does not.
        let inputs = mem::take(&mut state.inputs);
        state.end(close);
        state.inputs.extend(inputs.into_iter().filter(|input| matches!(input, Input::Frame(_))));
        state.outputs.keep_refusal();
        let wakers = [state.task.clone(), state.application.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    pub(super) fn wants_input(&self) -> bool {
        let state = self.state();
        state.inputs.len() - state.events < INPUTS
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
        let mail = state.pull(cx);
        let other = state.application.take_if(|waker| !waker.will_wake(cx.waker()));
        drop(state);
        if let Some(waker) = other {
            waker.wake();
        }
        mail
    }

    /// True if the application made it worth while to look into the mailbox again.
    pub(super) fn end_poll(&self) -> bool {
        let mut state = self.state();
        state.polling = false;
        mem::take(&mut state.again)
    }

    pub(super) fn take_outputs(&self, take: impl FnMut(&mut VecDeque<Outgoing>)) -> bool {
        let mut state = self.state();
        if state.outputs.is_empty() {
            return false;
        }
        state.outputs.take(take);
        let has_room = state.has_room();
        has_room && mem::take(&mut state.wants_room)
    }

    // ---- the middleware's side

    /// `hook` adds to the answer's headers, whatever it will be.
    pub(crate) fn on_answer(&self, hook: AnswerHook) {
        self.state().hooks.get_or_insert_default().on_answer(hook);
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
        state.push(Outgoing::Refuse(refuse));
        state.end(Close::ABNORMAL.into());
        Ok(())
    }

    /// Queues a frame if there is room for it; `frame` is taken only then.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, frame: &mut Option<Frame>) -> Poll<Result<()>> {
        let mut state = self.state();
        match state.phase {
            Phase::Undecided => return Poll::Ready(Err(Error::NotAccepted)),
            Phase::Ended => return Poll::Ready(Err(Error::Closed)),
            Phase::Accepting | Phase::Open => {}
        }
        if !state.has_room() {
            state.wants_room = true;
            return state.wait(cx);
        }
        if let Some(frame) = frame.take() {
            state.push(Outgoing::Frame(frame));
        }
        Poll::Ready(Ok(()))
    }

    /// Queues a message's ready bytes; never waits.
    pub(crate) fn send_encoded(&self, message: Message) -> Result<()> {
        let mut state = self.state();
        match state.phase {
            Phase::Undecided => Err(Error::NotAccepted),
            Phase::Ended => Err(Error::Closed),
            Phase::Accepting | Phase::Open => {
                state.push_encoded(message);
                Ok(())
            }
        }
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

    /// As [`hang_up`](Self::hang_up), from another task: the server's, that shuts down.
    pub(crate) fn shut_down(&self, close: Close) {
        if self.hang_up(close).is_ok()
            && let Some(waker) = self.state().application.take()
        {
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

    /// The next thing to handle, or `None` once the connection has ended and all that came before is handled.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Input>> {
        let mut state = self.state();
        match state.inputs.pop_front() {
            Some(input) => Poll::Ready(Some(state.popped(input))),
            None if state.close.is_some() => Poll::Ready(None),
            None => state.wait(cx),
        }
    }

    /// Ready once the connection has ended; true if that was not the application's doing.
    pub(crate) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.state();
        if state.close.is_some() { Poll::Ready(state.lost) } else { state.wait(cx) }
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

    fn state(&self) -> MutexGuard<'_, State> {
        // User code never runs under the lock, so a poisoned one is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pull(&mut self, cx: &mut Context<'_>) -> Mail {
        if self.phase != Phase::Open || self.events >= EVENTS {
            return Mail::Taken;
        }
        let Some(mailbox) = &mut self.mailbox else { return Mail::Taken };
        if mailbox.poll_ready(cx).is_pending() {
            return Mail::Taken;
        }
        if !mem::replace(&mut self.corked, true) {
            return Mail::Corked;
        }
        self.corked = false;
        let mut messages = Vec::new();
        mailbox.drain_into(&mut messages);
        messages.into_iter().for_each(|message| self.sort(message));
        Mail::Taken
    }

    /// The two lanes.
    fn sort(&mut self, message: Message) {
        if message.is_websocket_send() {
            self.push_encoded(message);
        } else {
            self.events += 1;
            self.inputs.push_back(Input::Event(message));
        }
    }

    fn popped(&mut self, input: Input) -> Input {
        if matches!(input, Input::Event(_)) {
            self.again |= self.events >= EVENTS;
            self.events -= 1;
        }
        if self.inputs.is_empty() {
            self.inputs = VecDeque::new();
        }
        input
    }

    fn push(&mut self, mut output: Outgoing) {
        if let Some(hooks) = &mut self.hooks {
            hooks.see(&mut output);
            if hooks.is_empty() {
                self.hooks = None;
            }
        }
        self.outputs.push(output);
        self.wake_task();
    }

    fn push_encoded(&mut self, message: Message) {
        if self.close.is_some() {
            return;
        }
        match self.outputs.push_broadcast(message, &self.limits) {
            Made::Room(0) => {}
            Made::Room(dropped) => self.count_dropped(dropped),
            Made::None => self.count_dropped(1),
            Made::TooSlow => {
                let (channel, bytes) = (self.mailbox.as_ref().map(Mailbox::channel), self.outputs.bytes());
                tracing::warn!(?channel, bytes, "closing a client that is too slow");
                self.slow.closed = true;
                self.hang_up(Close::new(Close::TRY_AGAIN_LATER, "too slow"));
            }
        }
        self.wake_task();
    }

    fn count_dropped(&mut self, frames: u64) {
        let channel = self.mailbox.as_ref().map(Mailbox::channel);
        tracing::debug!(?channel, frames, "frames dropped for a slow client");
        self.slow.dropped += frames;
    }

    fn has_room(&self) -> bool {
        self.outputs.has_room(&self.limits)
    }

    /// What the client is told when the application ends, or fails.
    fn conclude(&mut self, outcome: &Result<()>) {
        match (self.phase, outcome) {
            (Phase::Ended, _) => {}
            (Phase::Undecided, outcome) => self.refuse(outcome),
            (_, Ok(()) | Err(Error::Closed)) => self.hang_up(Close::NORMAL.into()),
            (_, Err(error)) if error.is_bad_input() => self.hang_up(Close::INVALID_PAYLOAD.into()),
            (_, Err(_)) => self.hang_up(Close::INTERNAL.into()),
        }
    }

    fn refuse(&mut self, outcome: &Result<()>) {
        let status = outcome.as_ref().err().map(Error::status);
        self.push(Outgoing::Refuse(status.map(Refuse::from).unwrap_or_default()));
        self.end(Close::ABNORMAL.into());
    }

    fn hang_up(&mut self, close: Close) {
        self.push(match self.phase {
            Phase::Undecided => Outgoing::Refuse(Refuse::default()),
            _ => Outgoing::Close(close.clone()),
        });
        self.end(close);
    }

    fn end(&mut self, close: Close) {
        self.phase = Phase::Ended;
        self.close.get_or_insert(close);
        self.inputs = VecDeque::new();
        self.events = 0;
    }

    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        if !self.application.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.application = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wake_task(&self) {
        if !self.polling
            && let Some(waker) = &self.task
        {
            waker.wake_by_ref();
        }
    }
}
