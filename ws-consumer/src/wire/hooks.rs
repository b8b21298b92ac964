//! The hooks of middleware on a connection.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt;
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, Sleep, sleep};

use super::values::Outgoing;
use crate::frame::{Close, Frame};

/// Runs once, when the client is answered.
pub(crate) type AnswerHook = Box<dyn FnOnce(&mut HeaderMap) + Send>;

/// Checks every frame of the client before it counts.
pub(crate) type FrameMeter = Box<dyn FnMut(&Frame) -> Verdict + Send>;

/// The treatment of a frame.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// The application never sees it, and the client is sent this.
    Answer(Frame),
    /// The connection ends instead.
    Close(Close),
    /// The frame counts.
    Pass,
    /// The frame counts, and reading pauses for this time.
    Pause(Duration),
}

/// Runs before the answer to a plain request leaves, with its status.
pub(crate) type FinishHook = Box<dyn FnOnce(StatusCode) -> Finishing + Send>;

/// A future that the answer to a plain request waits for.
pub(crate) type Finishing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An answer that waits.
enum HeldAnswer {
    /// For this future.
    Waiting(Finishing),
    /// The future is being polled.
    Polled,
}

/// The hooks of a connection. Those for answers and frames run under its lock: they must be short, and must
/// not call back into the connection.
#[derive(Default)]
pub(super) struct ConnectionHooks {
    answer: Vec<AnswerHook>,
    finish: Vec<FinishHook>,
    held: Option<HeldAnswer>,
    meters: Vec<FrameMeter>,
    /// The pause during which no frames are read from the client.
    pause: Option<Pin<Box<Sleep>>>,
}

impl ConnectionHooks {
    pub(super) fn on_answer(&mut self, hook: AnswerHook) {
        self.answer.push(hook);
    }

    pub(super) fn meter(&mut self, meter: FrameMeter) {
        self.meters.push(meter);
    }

    /// Asks the meters in turn, until one of them does not let the frame pass.
    pub(super) fn check(&mut self, frame: &Frame) -> Verdict {
        let mut longest = Duration::ZERO;
        for meter in &mut self.meters {
            match meter(frame) {
                Verdict::Pass => {}
                Verdict::Pause(time) => longest = longest.max(time),
                instead => return instead,
            }
        }
        if longest.is_zero() { Verdict::Pass } else { Verdict::Pause(longest) }
    }

    pub(super) fn pause(&mut self, time: Duration) {
        self.pause = Some(Box::pin(sleep(time)));
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pause.as_ref().is_some_and(|pause| pause.deadline() > Instant::now())
    }

    /// Wakes the connection's task at the end of a pause.
    pub(super) fn watch_pause(&mut self, cx: &mut Context<'_>) {
        if let Some(pause) = &mut self.pause
            && let Poll::Ready(()) = pause.as_mut().poll(cx)
        {
            self.pause = None;
        }
    }

    pub(super) fn on_finish(&mut self, hook: FinishHook) {
        self.finish.push(hook);
    }

    /// Runs the answer hooks on an answer's headers.
    pub(super) fn amend(&mut self, output: &mut Outgoing) {
        if let Some((_, headers)) = answer(output) {
            std::mem::take(&mut self.answer).into_iter().for_each(|hook| hook(headers));
        }
    }

    /// Holds this answer back if there are finish hooks. The hook added last runs first.
    pub(super) fn hold(&mut self, output: &mut Outgoing) -> bool {
        let Some((status, _)) = answer(output).filter(|_| !self.finish.is_empty()) else { return false };
        let hooks = std::mem::take(&mut self.finish);
        let all = async move {
            for hook in hooks.into_iter().rev() {
                hook(status).await;
            }
        };
        self.hold_on(Box::pin(AssertUnwindSafe(all).catch_unwind().map(|finished| {
            if finished.is_err() {
                tracing::error!("a panic before an answer left");
            }
        })));
        true
    }

    pub(super) fn hold_on(&mut self, finishing: Finishing) {
        self.held = Some(HeldAnswer::Waiting(finishing));
    }

    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Takes the future that an answer waits for, to be polled outside of the lock.
    pub(super) fn take_held(&mut self) -> Option<Finishing> {
        match self.held.replace(HeldAnswer::Polled) {
            Some(HeldAnswer::Waiting(finishing)) => Some(finishing),
            held => {
                self.held = held;
                None
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answer.is_empty() && self.meters.is_empty() && self.finish.is_empty() && self.held.is_none()
    }
}

/// The status and headers of an answer to the client's request.
fn answer(output: &mut Outgoing) -> Option<(StatusCode, &mut HeaderMap)> {
    match output {
        Outgoing::Accept(accept) => Some((StatusCode::SWITCHING_PROTOCOLS, &mut accept.headers)),
        Outgoing::Head(head) => Some((head.status, &mut head.headers)),
        Outgoing::Refuse(refuse) => Some((refuse.status, &mut refuse.headers)),
        _ => None,
    }
}
