//! What a `Link` guards, and the rules by which it changes.

use std::{
    collections::VecDeque,
    mem::{self, Discriminant},
    ops::RangeInclusive,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use channel_layer::{LayerEvent, Mailbox, Message};
use http::StatusCode;

use super::{
    Head, Mail, Outgoing, Refuse,
    control::Control,
    hooks::{Hooks, Verdict},
    output::{Made, OutputLimits, Outputs},
    profile::Profile,
    shared,
};
use crate::{
    error::{Error, Fault, Reports, Result},
    frame::{Close, Frame},
    scope::Transport,
};

/// Events that wait for a busy hook; with more, they stay in the mailbox and count against its capacity.
const EVENTS: usize = 100;
/// The same in bytes.
const EVENT_BYTES: usize = 1 << 20;
/// With so many messages the mailbox is emptied at once: its capacity is not to be spent on waiting for more.
const CORK: usize = 48;

/// Everything behind one lock: both ends are polled in one task, so it is never contended unless the application
/// gave its socket to another task, which is allowed.
#[derive(Default)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// Is it answered by a response, not by a socket?
    pub(super) http: bool,
    pub(super) profile: Profile,
    /// The user that guards had found when it was accepted.
    pub(super) user: Option<Arc<str>>,
    pub(super) inputs: VecDeque<Input>,
    /// How many of them are events.
    pub(super) events: usize,
    /// Sum of their sizes.
    pub(super) event_bytes: usize,
    pub(super) outputs: Outputs,
    pub(super) limits: Arc<OutputLimits>,
    pub(super) slow: Slow,
    /// The application's own channel, once it has asked for one.
    pub(super) mailbox: Option<Mailbox>,
    pub(super) corked: bool,
    /// The number of messages that found the mailbox full and have been reported.
    pub(super) refused: u64,
    /// Is the application being polled by the wire, right now? Then nobody has to wake the wire.
    pub(super) polling: bool,
    /// The mailbox is new, or was left alone because of too many events: nobody's wake-up will tell.
    pub(super) again: bool,
    /// A hook waits until the outputs shrink.
    pub(super) wants_room: bool,
    /// Tasks beside the connection's own that wait for the same.
    pub(super) beside: Vec<Waker>,
    /// Does a hook look for the client's answer among the inputs?
    pub(super) sought: bool,
    /// How the connection ended, or is to end. Set once.
    pub(super) close: Option<Close>,
    /// The progress of a close by the server. Boxed: it is rare.
    pub(super) leaving: Option<Box<Leaving>>,
    /// Whether the application is handling a frame or a request of the client.
    pub(super) handles: bool,
    /// Set once anything was taken to be sent after the answer.
    pub(super) said: bool,
    /// Did it end without the application's doing?
    pub(super) lost: bool,
    /// Limits how often failures are logged; the service's, or created for the first failure.
    pub(super) reports: Option<Arc<Reports>>,
    /// The kind of error that was logged last and ends the connection.
    pub(super) reported: Option<Discriminant<Error>>,
    /// The status of the answer, if the client was not accepted.
    pub(super) status: Option<StatusCode>,
    /// Boxed, and gone when nobody asked for anything: most connections have none.
    pub(super) hooks: Option<Box<Hooks>>,
    /// The event that is being handled, where equal frames made of it are kept once.
    pub(super) handled: Option<Message>,
    /// Who waits in the socket's functions; the task's own waker unless the application polls by other means.
    pub(super) application: Option<Waker>,
    /// The transport's task.
    pub(super) task: Option<Waker>,
}

/// The steps in which the server ends a connection.
pub(super) enum Leaving {
    /// Reading has stopped. Input that has been read is handled.
    Muted,
    /// The client's next frame ends it, unhandled.
    Refusing(Close),
    /// The connection ends once all its input is handled.
    Last(Close),
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
    /// A part of an HTTP request's body; `more` is false with the last one.
    #[allow(missing_docs)]
    Body { chunk: Bytes, more: bool },
    /// A message from the channel layer.
    Event(Message),
    /// A frame from the client.
    Frame(Frame),
    /// The channel layer lost its backend, or has it back: after a gap, messages may have been missed.
    Layer(LayerEvent),
    /// The client has come back, over a new connection, and goes on.
    Resumed(Resumed),
}

/// How a client came back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// What carries it from now on.
    pub transport: Transport,
    /// The numbers of the frames that it missed for good, if there are any: they were too many to be kept.
    pub gap: Option<RangeInclusive<u64>>,
}

impl Input {
    /// Does it come from the channel layer, not from the client?
    pub(super) fn is_the_layers(&self) -> bool {
        matches!(self, Self::Event(_) | Self::Layer(_) | Self::Resumed(_))
    }

    fn event_size(&self) -> usize {
        if let Self::Event(message) = self { message.size() } else { 0 }
    }
}

impl State {
    pub(super) fn pull(&mut self, cx: &mut Context<'_>) -> Mail {
        // A request is handled before it is answered: a long poll waits for its events undecided.
        let listens = self.phase == Phase::Open || (self.http && self.phase == Phase::Undecided);
        if !listens || self.is_full_of_events() || self.has_last_word() {
            return Mail::Taken;
        }
        let Some(mailbox) = &mut self.mailbox else { return Mail::Taken };
        if mailbox.poll_ready(cx).is_pending() {
            return Mail::Taken;
        }
        let may_wait = mailbox.sender().len() < CORK;
        if may_wait && !mem::replace(&mut self.corked, true) {
            return Mail::Corked;
        }
        self.corked = false;
        let mut messages = Vec::new();
        mailbox.drain_into(&mut messages);
        let overflowed = mailbox.is_overflowed();
        let refused = if self.profile.reports_gaps { mailbox.sender().ledger().dropped.full } else { 0 };
        messages.into_iter().for_each(|message| self.sort(message));
        if refused > mem::replace(&mut self.refused, refused) {
            self.push(Outgoing::Gap);
        }
        if overflowed {
            // By the mailbox's policy it takes nothing more: better a client that knows than one that hears nothing.
            self.too_slow();
        }
        Mail::Taken
    }

    pub(super) fn has_last_word(&self) -> bool {
        matches!(self.leaving.as_deref(), Some(Leaving::Last(_)))
    }

    /// All that is in the mailbox, without waiting for more.
    pub(super) fn take_mail(&mut self) {
        let Some(mailbox) = self.mailbox.as_mut().filter(|_| self.phase == Phase::Open) else { return };
        let mut messages = Vec::new();
        mailbox.drain_into(&mut messages);
        messages.into_iter().for_each(|message| self.sort(message));
    }

    /// The two lanes.
    pub(super) fn sort(&mut self, message: Message) {
        if message.is_websocket_send() {
            return self.push_encoded(message);
        }
        if let Some(close) = Control::of(&message).close() {
            if self.phase != Phase::Ended {
                self.hang_up(close.clone());
            }
            return;
        }
        self.push_event(Input::Event(message));
    }

    pub(super) fn push_event(&mut self, event: Input) {
        self.events += 1;
        self.event_bytes += event.event_size();
        self.inputs.push_back(event);
    }

    /// A client may come back more often than its hooks run: what they have not seen yet is one return. False if there is
    /// none to merge with.
    pub(super) fn merge_resumed(&mut self, resumed: &Resumed) -> bool {
        let Some(Input::Resumed(known)) = self.inputs.back_mut() else { return false };
        known.transport = resumed.transport;
        if let Some(gap) = resumed.gap.clone() {
            let before = known.gap.take().unwrap_or_else(|| gap.clone());
            known.gap = Some(*before.start().min(gap.start())..=*before.end().max(gap.end()));
        }
        true
    }

    pub(super) fn may_send(&self) -> Result<()> {
        match self.phase {
            Phase::Undecided => Err(Error::NotAccepted),
            Phase::Ended => Err(Error::Closed),
            Phase::Accepting | Phase::Open => Ok(()),
        }
    }

    /// Checks like [`may_send`](Self::may_send), for output that only a socket can carry.
    pub(super) fn may_send_frames(&self) -> Result<()> {
        if self.http {
            return Err(Error::other("a plain request is answered by a response, not by frames"));
        }
        self.may_send()
    }

    pub(super) fn popped(&mut self, input: Input) -> Input {
        if input.is_the_layers() {
            self.again |= self.is_full_of_events();
            self.events -= 1;
            self.event_bytes -= input.event_size();
        }
        if let Input::Event(message) = &input
            && self.profile.shares_frames
        {
            self.handled = Some(message.clone());
        }
        if self.inputs.is_empty() {
            self.inputs = VecDeque::new();
        }
        self.handles = !input.is_the_layers();
        input
    }

    fn is_full_of_events(&self) -> bool {
        self.events >= EVENTS || self.event_bytes >= EVENT_BYTES
    }

    /// Takes something of the client's, if middleware has nothing against it.
    pub(super) fn take_input(&mut self, input: Input) {
        if let (Input::Frame(frame), Some(hooks)) = (&input, &mut self.hooks) {
            match hooks.measure(frame) {
                Verdict::Answer(answer) => return self.answer_frame(answer),
                Verdict::Close(close) => return self.hang_up(close),
                Verdict::Pass => {}
                Verdict::Pause(time) => hooks.pause(time),
            }
        }
        self.inputs.push_back(input);
    }

    /// A client that sends and takes no answers must not fill the memory with them.
    fn answer_frame(&mut self, answer: Frame) {
        match self.may_send() {
            Ok(()) if self.has_room() => self.push(Outgoing::Frame(answer)),
            Ok(()) => self.too_slow(),
            Err(_) => {}
        }
    }

    pub(super) fn push(&mut self, mut output: Outgoing) {
        match &output {
            Outgoing::Head(head) => self.status = Some(head.status),
            Outgoing::Refuse(refuse) => self.status = Some(refuse.status),
            _ => {}
        }
        if let Some(hooks) = &mut self.hooks {
            if !hooks.hold(&mut output) {
                hooks.see(&mut output);
            }
            if hooks.is_empty() {
                self.hooks = None;
            }
        }
        let output = match (output, &self.handled) {
            (Outgoing::Frame(frame), Some(event)) => shared::frame_for(event, frame),
            (output, _) => output,
        };
        self.outputs.push(output);
        self.wake_task();
    }

    /// Returns whether the answer to a plain request waits for guards. Until they are done nothing is sent.
    pub(super) fn is_held(&self) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.is_holding())
    }

    /// The answer may leave, if the client is still there for it.
    pub(super) fn release(&mut self) {
        let Some(mut hooks) = self.hooks.take() else { return };
        if let Some(answer) = self.outputs.first_mut() {
            hooks.see(answer);
        }
    }

    pub(super) fn push_encoded(&mut self, message: Message) {
        if self.close.is_some() {
            return;
        }
        if self.phase == Phase::Undecided {
            self.phase = Phase::Accepting;
            self.push(Outgoing::Head(Head::default()));
        }
        match self.outputs.push_broadcast(message, &self.limits) {
            Made::Room(0) => {}
            Made::Room(dropped) => self.count_dropped(dropped),
            Made::None => self.count_dropped(1),
            Made::TooSlow => self.too_slow(),
        }
        self.wake_task();
    }

    fn too_slow(&mut self) {
        if self.phase == Phase::Ended {
            return;
        }
        let (channel, bytes) = (self.mailbox.as_ref().map(Mailbox::channel), self.outputs.bytes());
        let rule = if self.has_room() { "the mailbox's capacity" } else { "output.bytes, output.messages" };
        tracing::warn!(?channel, bytes, rule, "closing a client that is too slow");
        self.slow.closed = true;
        self.hang_up(Close::new(Close::TRY_AGAIN_LATER, "too slow"));
    }

    fn count_dropped(&mut self, frames: u64) {
        let channel = self.mailbox.as_ref().map(Mailbox::channel);
        tracing::debug!(?channel, frames, "frames dropped for a slow client");
        self.slow.dropped += frames;
    }

    pub(super) fn has_room(&self) -> bool {
        self.outputs.has_room(&self.limits)
    }

    /// What the client is told when the application ends, or fails.
    pub(super) fn conclude(&mut self, outcome: &Result<()>) {
        match (self.phase, outcome) {
            (Phase::Ended, _) => {}
            (Phase::Undecided, outcome) => self.refuse(outcome),
            (_, Ok(()) | Err(Error::Closed)) => self.hang_up(Close::NORMAL.into()),
            (_, Err(error)) => self.hang_up(match error.fault() {
                Fault::Client => Close::INVALID_PAYLOAD.into(),
                Fault::Layer => Close::TRY_AGAIN_LATER.into(),
                Fault::None | Fault::Server => Close::INTERNAL.into(),
            }),
        }
    }

    pub(super) fn refuse(&mut self, outcome: &Result<()>) {
        self.push(Outgoing::Refuse(self.refusal(outcome)));
        self.end(Close::ABNORMAL.into());
    }

    /// The answer to a client about which nothing was decided.
    pub(super) fn refusal(&self, outcome: &Result<()>) -> Refuse {
        match outcome {
            Err(error) => error.into(),
            Ok(()) if self.http => StatusCode::INTERNAL_SERVER_ERROR.into(), // it has no answer at all
            Ok(()) => Refuse::default(),
        }
    }

    pub(super) fn hang_up(&mut self, close: Close) {
        self.push(match self.phase {
            Phase::Undecided => Outgoing::Refuse(Refuse::default()),
            _ => Outgoing::Close(close.clone()),
        });
        self.end(close);
    }

    pub(super) fn end(&mut self, close: Close) {
        self.phase = Phase::Ended;
        self.close.get_or_insert(close);
        self.inputs = VecDeque::new();
        (self.events, self.event_bytes) = (0, 0);
    }

    pub(super) fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        if !self.application.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.application = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn wake_task(&self) {
        if !self.polling
            && let Some(waker) = &self.task
        {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_that_nobody_has_looked_at_are_one() {
        let mut state = State::default();
        let resumed = |transport, gap| Resumed { transport, gap };
        assert!(!state.merge_resumed(&resumed(Transport::Poll, None)));
        state.push_event(Input::Resumed(resumed(Transport::Poll, None)));
        for (gap, merged) in [(None, None), (Some(5..=9), Some(5..=9)), (Some(2..=6), Some(2..=9))] {
            assert!(state.merge_resumed(&resumed(Transport::EventStream, gap)));
            let Some(Input::Resumed(known)) = state.inputs.back() else { panic!("it is there") };
            assert_eq!(*known, resumed(Transport::EventStream, merged));
        }
        state.inputs.push_back(Input::Frame("x".into()));
        assert!(!state.merge_resumed(&resumed(Transport::Poll, None)), "what came between them parts them");
        assert_eq!(state.inputs.len(), 2);
    }
}
