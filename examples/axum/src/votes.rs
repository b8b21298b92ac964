//! A vote: every member sees the count, which axum's state keeps.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::{Deserialize, Serialize};
use ws_consumer::{Consumer, Error, Frame, Result, Socket};

/// The number of votes. All handlers share it, so a handler of axum's may show it as well.
#[derive(Default)]
pub(crate) struct Ballot(AtomicU64);

/// A voter; every frame is a vote.
#[derive(Default)]
pub(crate) struct Votes;

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum VoteEvent {
    #[serde(rename = "votes.counted")]
    Counted { votes: u64 },
}

impl Consumer for Votes {
    type Event = VoteEvent;
    const GROUPS: &'static [&'static str] = &["votes"];

    async fn receive(&mut self, socket: &mut Socket, _: Frame) -> Result<()> {
        let ballot = socket.scope().extensions.get::<Arc<Ballot>>();
        let ballot = ballot.ok_or_else(|| Error::other("the handler in front hands the ballot on"))?;
        let votes = ballot.0.fetch_add(1, Relaxed) + 1;
        socket.group_send("votes", &VoteEvent::Counted { votes }).await
    }

    async fn event(&mut self, socket: &mut Socket, event: &VoteEvent) -> Result<()> {
        let VoteEvent::Counted { votes } = event;
        socket.send_text(votes.to_string()).await
    }
}
