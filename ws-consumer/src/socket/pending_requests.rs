//! Requests to a client that wait for their answers at the same time.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::calls::ClientReply;
use crate::wire::Input;

/// The requests of a connection whose hooks run at the same time.
#[derive(Default)]
pub(super) struct PendingRequests {
    /// The number of the last request.
    last: u32,
    /// A tree, which is small while it is empty.
    waiting: BTreeMap<u32, oneshot::Sender<ClientReply>>,
    /// The number of frames in the inbox that have been searched for an answer. They came before every later request.
    pub(super) seen: usize,
}

impl PendingRequests {
    /// Continues to count after a request with this number.
    pub(super) fn after(last: u32) -> Self {
        Self { last, ..Self::default() }
    }

    /// Adds a request. Returns its number, and the end that gets the answer.
    pub(super) fn add(&mut self) -> (u32, oneshot::Receiver<ClientReply>) {
        if self.is_empty() {
            self.seen = 0; // frames that were taken meanwhile are not counted
        }
        self.last += 1;
        let (answer, answered) = oneshot::channel();
        self.waiting.insert(self.last, answer);
        (self.last, answered)
    }

    /// Removes a request that does not wait any more. Returns whether no other waits.
    pub(super) fn remove(&mut self, number: u32) -> bool {
        self.waiting.remove(&number);
        self.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the answer in an input, if a request waits for it.
    pub(super) fn find(&self, input: &Input) -> Option<ClientReply> {
        ClientReply::from_input(input).filter(|reply| self.waiting.contains_key(&reply.number()))
    }

    /// Passes an answer on to its request.
    pub(super) fn answer(&mut self, reply: ClientReply) {
        if let Some(answer) = self.waiting.remove(&reply.number()) {
            _ = answer.send(reply); // the request may have missed its deadline
        }
    }

    /// Ends all requests without an answer.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}
