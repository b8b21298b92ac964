//! The client's side of a resumable session: numbers, acknowledgements, and the return after a cut.

use std::{collections::VecDeque, mem};

use http::HeaderValue;

use super::expected::frame;
use crate::{
    frame::{Frame, read},
    resume::{ControlObject, Gap, MARK, PROTOCOL, RESUME},
    wire::Outgoing,
};

/// The outcome of a client's return to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reconnection {
    /// The session goes on, and nothing is lost: the frames that were sent meanwhile follow.
    Complete,
    /// The session goes on. This number of frames is lost for good; the next ones follow.
    Gap(u64),
    /// The session has ended meanwhile, not long ago. Its last frames and its close follow. Seen with a paused clock only; otherwise
    /// the close comes after one of the other outcomes.
    Ended,
    /// The session is gone, with all that was sent meanwhile. The client has a new one.
    NewSession,
}

/// The state of a resumable session at its client.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientSession {
    token: Option<String>,
    /// The number of the last frame that was received.
    cursor: u64,
    /// The frames that the server has not acknowledged, and the number of those that it has.
    unacknowledged: VecDeque<Frame>,
    acknowledged: u64,
    /// The beginning of the present connection, until it is taken.
    opened: Option<Opened>,
}

/// The beginning of a connection.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) protocol: Option<String>,
    pub(super) reconnection: Reconnection,
}

impl ClientSession {
    /// The offer of subprotocols, after those of the application. The client claims to have lost the last `lost` frames.
    pub(super) fn offer(&self, offered: &str, lost: u64) -> HeaderValue {
        let mut offer = format!("{PROTOCOL}{}{offered}", if offered.is_empty() { "" } else { ", " });
        if let Some(token) = &self.token {
            offer += &format!(", {RESUME}{}.{token}", self.cursor.saturating_sub(lost));
        }
        offer.parse().expect("tokens and names are visible ASCII")
    }

    /// The number of the last frame that was received.
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Rewinds to before the last `lost` frames.
    pub(super) fn lose(&mut self, lost: u64) {
        self.cursor -= lost;
    }

    /// The acknowledgement of all frames that were received.
    pub(super) fn acknowledgement(&self) -> Frame {
        control(&ControlObject { cursor: Some(self.cursor), ..ControlObject::default() })
    }

    /// Keeps a frame until it is acknowledged, and returns it in the form of the protocol.
    pub(super) fn send(&mut self, frame: Frame) -> Frame {
        let escaped = escape(frame.clone());
        self.unacknowledged.push_back(frame);
        escaped
    }

    /// The frames that the server has not received, after the beginning of a connection.
    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = Frame> {
        self.unacknowledged.iter().cloned().map(escape)
    }

    pub(super) fn take_opened(&mut self) -> Option<Opened> {
        self.opened.take()
    }

    /// Returns the output as an application would have sent it, or `None` for a part of the protocol.
    pub(super) fn receive(&mut self, output: Outgoing) -> Option<Outgoing> {
        let Some(received) = frame(&output) else { return Some(output) };
        let text = match &received {
            Frame::Text(text) => text.strip_prefix(MARK),
            Frame::Binary(_) => None,
        };
        match text {
            Some(rest) if rest.starts_with(MARK) => {
                self.cursor += 1;
                Some(Outgoing::Frame(rest.into()))
            }
            Some(control) => {
                self.read_control(control);
                None
            }
            None => {
                self.cursor += 1;
                Some(output)
            }
        }
    }

    fn read_control(&mut self, text: &str) {
        let control: ControlObject = read(text).expect("the server sends control objects");
        let gap = control.gap.map(|gap| self.pass(gap));
        if let Some(open) = control.open {
            let reconnection = match (open.resumed, gap) {
                (true, Some(frames)) if frames > 0 => Reconnection::Gap(frames),
                (true, _) => Reconnection::Complete,
                (false, _) => Reconnection::NewSession,
            };
            if !open.resumed {
                self.acknowledged = 0;
            }
            self.cursor = open.cursor;
            self.acknowledge(open.ack);
            self.token = Some(open.token);
            self.opened = Some(Opened { protocol: open.protocol, reconnection });
        }
        if let Some(ack) = control.ack {
            self.acknowledge(ack);
        }
    }

    /// Goes on after a gap, and returns the number of lost frames.
    fn pass(&mut self, gap: Gap) -> u64 {
        let to = gap.to.unwrap_or(self.cursor);
        mem::replace(&mut self.cursor, to).abs_diff(to)
    }

    fn acknowledge(&mut self, number: u64) {
        while self.acknowledged < number && self.unacknowledged.pop_front().is_some() {
            self.acknowledged += 1;
        }
    }
}

fn control(control: &ControlObject) -> Frame {
    Frame::Text(format!("{MARK}{}", control.json()))
}

fn escape(frame: Frame) -> Frame {
    match frame {
        Frame::Text(text) if text.starts_with(MARK) => Frame::Text(format!("{MARK}{text}")),
        frame => frame,
    }
}
