//! What the client says, on its way to the application.

use std::{collections::VecDeque, task::Waker, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::state::Session;
use crate::{
    frame::Frame,
    wire::{Incoming, Wire},
};

/// Frames of the client that wait for the application, and their bytes; a client that sends more waits itself.
const INBOX: usize = 64;
const INBOX_BYTES: usize = 64 << 10;

/// The interval between checks of a frame that is kept waiting by a shutdown.
const LOOK: Duration = Duration::from_millis(200);

/// What became of the client's frames.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// All are in, up to this number.
    All(u64),
    /// Some have to wait.
    Full(u64),
    /// Others are missing before them.
    Missing(u64),
    /// The session was ended by its server, without those after this number.
    Refused(u64),
}

impl Session {
    /// Hands the client's frames to the application, as far as it keeps up. True if there were any.
    pub(super) fn feed(&self, wire: &mut Wire) -> bool {
        let mut fed = false;
        while wire.wants_input() {
            let Some(frame) = self.next_input() else { break };
            wire.feed(Incoming::Frame(frame));
            fed = true;
        }
        if fed {
            self.room.notify_waiters();
        }
        fed
    }

    /// Hands all of them over: what the client said before the end still counts.
    pub(super) fn feed_rest(&self, wire: &mut Wire) {
        while let Some(frame) = self.next_input() {
            wire.feed(Incoming::Frame(frame));
        }
    }

    fn next_input(&self) -> Option<Frame> {
        let mut inner = self.inner();
        let frame = inner.inbox.pop_front();
        inner.inbox_bytes -= frame.as_ref().map_or(0, Frame::len);
        if inner.inbox.is_empty() {
            inner.inbox = VecDeque::new();
        }
        self.tell(inner);
        frame
    }

    /// Takes the client's frames, of which the first has the number `first`, once each.
    pub(super) fn offer(&self, first: u64, frames: &mut VecDeque<Frame>) -> Offered {
        let refuses = self.link().refuses_input();
        let mut inner = self.inner();
        let mut number = first;
        if number > inner.received + 1 && !frames.is_empty() {
            return Offered::Missing(inner.received);
        }
        while let Some(frame) = frames.pop_front() {
            if number > inner.received {
                let over = inner.close.is_some() || inner.ending.is_some();
                if refuses {
                    frames.push_front(frame);
                    break;
                }
                let bytes = inner.inbox_bytes + frame.len();
                let is_full = inner.inbox.len() >= INBOX || bytes > INBOX_BYTES;
                // A client that takes nothing is not listened to either: what it says may ask for more.
                if !over && ((is_full && !inner.inbox.is_empty()) || inner.is_behind()) {
                    frames.push_front(frame);
                    break;
                }
                inner.received = number;
                if let Some(stay) = &mut inner.stay {
                    stay.spoke();
                }
                if !over {
                    inner.inbox_bytes = bytes;
                    inner.inbox.push_back(frame.shrunk());
                }
            }
            number += 1;
        }
        let (ack, ended) = (inner.received, inner.close.is_some());
        let task = inner.task.take();
        self.tell(inner);
        task.into_iter().for_each(Waker::wake);
        match frames.is_empty() {
            true => Offered::All(ack),
            false if refuses && ended => Offered::Refused(ack),
            false => Offered::Full(ack),
        }
    }

    /// As [`offer`](Self::offer), and waits for room, but not for ever. The number of the last frame that is in.
    pub(super) async fn push(&self, first: u64, frames: Vec<Frame>) -> Result<u64, u64> {
        let mut left = VecDeque::from(frames);
        let all = left.len();
        let until = Instant::now() + self.terms.limits.message_timeout;
        loop {
            // Before the look, so that room that comes in between is not missed.
            let room = self.room.notified();
            let number = first + (all - left.len()) as u64;
            match self.offer(number, &mut left) {
                Offered::All(ack) | Offered::Refused(ack) => return Ok(ack),
                Offered::Missing(ack) => return Err(ack),
                Offered::Full(ack) => {
                    // While the server shuts down, it may come to refuse what it has kept waiting.
                    let look = if self.link().refuses_input() { Instant::now() + LOOK } else { until };
                    if timeout_at(look.min(until), room).await.is_err() && Instant::now() >= until {
                        return Ok(ack);
                    }
                }
            }
        }
    }
}
