//! What middleware has asked to be told of a connection.

use http::HeaderMap;

use super::Outgoing;
use crate::frame::{Close, Frame};

/// Runs once, when the client is answered.
pub(crate) type AnswerHook = Box<dyn FnOnce(&mut HeaderMap) + Send>;

/// Looks at every frame of the client before it counts; may end the connection instead.
pub(crate) type Meter = Box<dyn FnMut(&Frame) -> Option<Close> + Send>;

/// They run under the connection's lock: short, and without a way back into the connection.
#[derive(Default)]
pub(super) struct Hooks {
    answer: Vec<AnswerHook>,
    meters: Vec<Meter>,
}

impl Hooks {
    pub(super) fn on_answer(&mut self, hook: AnswerHook) {
        self.answer.push(hook);
    }

    pub(super) fn meter(&mut self, meter: Meter) {
        self.meters.push(meter);
    }

    pub(super) fn measure(&mut self, frame: &Frame) -> Option<Close> {
        self.meters.iter_mut().find_map(|meter| meter(frame))
    }

    /// Adds to an answer what was asked for.
    pub(super) fn see(&mut self, output: &mut Outgoing) {
        let headers = match output {
            Outgoing::Accept(accept) => &mut accept.headers,
            Outgoing::Head(head) => &mut head.headers,
            Outgoing::Refuse(refuse) => &mut refuse.headers,
            _ => return,
        };
        std::mem::take(&mut self.answer).into_iter().for_each(|hook| hook(headers));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answer.is_empty() && self.meters.is_empty()
    }
}
