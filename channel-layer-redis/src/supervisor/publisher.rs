//! The task that sends commands: it owns them from the moment they are queued, so that a caller's dropped
//! future never cancels one half-way, and it sends all that has queued up meanwhile in one write.

use std::{collections::HashMap, sync::Arc};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{oneshot, watch};

use super::{
    answers::{Counts, Promise},
    outbox::{Batch, Call, Entry, Outbox},
    panics::caught,
    session::Session,
};
use crate::{
    codec,
    config::RedisConfig,
    error::Fault,
    link::client::{Commands, Replies, Reply},
    stats::{Count, Counters},
};

/// Commands in one write: enough to make the price of a round trip vanish, few enough that Redis works on some while
/// we put the next together. With all that wait in one write, each side sleeps while the other works.
pub(super) const BATCH: usize = 256;

/// Writes under way.
const IN_FLIGHT: usize = 8;

/// Channels whose sequence is remembered. Beyond, all begin anew, in the next era.
const SEQUENCES: usize = 1 << 16;

/// Sends what is queued, for ever. What a panic takes with it is answered as if the layer had been closed, and all that
/// was under way ends with its session.
pub(super) async fn run(
    outbox: Arc<Outbox>,
    session: watch::Receiver<Option<Arc<Session>>>,
    config: Arc<RedisConfig>,
    counters: Arc<Counters>,
    mut sequences: Option<Sequences>,
) {
    let outbox = ClosedAtTheEnd(outbox);
    loop {
        let publishing = publish_all(&outbox.0, &session, &config, &counters, &mut sequences);
        if let Err(fault) = caught("publisher", publishing).await
            && let Some(session) = &*session.borrow()
        {
            session.fail(fault);
        }
    }
}

async fn publish_all(
    outbox: &Outbox,
    session: &watch::Receiver<Option<Arc<Session>>>,
    config: &RedisConfig,
    counters: &Counters,
    sequences: &mut Option<Sequences>,
) {
    let mut flying = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            // First, so that a batch is on its way before the next is put together: order depends on it.
            Some(()) = flying.next() => {}
            () = outbox.filled(), if flying.len() < IN_FLIGHT => {
                // Corking: whoever is about to publish too does so in the same write.
                tokio::task::yield_now().await;
                let Some(batch) = outbox.take() else { continue };
                let session = session.borrow().clone();
                match session {
                    Some(session) => {
                        let (commands, waiting) = prepare(batch, sequences);
                        flying.push(fly(session, commands, waiting, config, counters));
                    }
                    None => prepare(batch, sequences).1.refuse(&Fault::Down, counters),
                }
            }
        }
    }
}

/// However the task ends, nobody waits for it.
struct ClosedAtTheEnd(Arc<Outbox>);

impl Drop for ClosedAtTheEnd {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Who waits for the replies to one write.
struct Waiting {
    /// Calls, with their places among the commands, from the first to the last.
    calls: Vec<(usize, Answer)>,
    /// All others.
    publishes: Promise,
}

type Answer = oneshot::Sender<Result<Reply, Fault>>;

fn prepare(batch: Batch, sequences: &mut Option<Sequences>) -> (Commands, Waiting) {
    let Batch { entries, mut bytes, publishes } = batch;
    let mut commands = Commands::with_capacity(entries.len());
    let mut calls = Vec::new();
    let mut rest = bytes.as_mut_slice();
    for (place, entry) in entries.into_iter().enumerate() {
        match entry {
            Entry::Call(call) => {
                let Call { command, answer } = *call;
                commands.push(command);
                calls.push((place, answer));
            }
            Entry::Publish { channel, envelope } => {
                let (message, others) = std::mem::take(&mut rest).split_at_mut(channel + envelope);
                rest = others;
                let (channel, envelope) = message.split_at_mut(channel);
                if let Some(sequences) = sequences {
                    codec::set_sequence(envelope, sequences.next(channel));
                }
                commands.publish(channel, envelope);
            }
        }
    }
    (commands, Waiting { calls, publishes })
}

async fn fly(
    session: Arc<Session>,
    commands: Commands,
    waiting: Waiting,
    config: &RedisConfig,
    counters: &Counters,
) {
    match session.commands.call_all(commands, config.timeout).await {
        Ok(replies) => waiting.answer(replies, counters),
        Err(fault) => {
            waiting.refuse(&fault, counters);
            session.fail(fault);
        }
    }
}

impl Waiting {
    fn answer(self, replies: Replies, counters: &Counters) {
        let mut counts = Counts::with_capacity(self.publishes.len());
        let mut calls = self.calls.into_iter().peekable();
        for (place, reply) in replies.enumerate() {
            match calls.next_if(|(at, _)| *at == place) {
                Some((_, answer)) => drop(answer.send(reply)), // who waits no longer does not mind
                None => counts.push(reply.and_then(|reply| count(&reply, counters)).map_err(Box::new)),
            }
        }
        let accepted = counts.iter().filter(|count| count.is_ok()).count();
        counters.add(Count::Published, accepted as u64);
        counters.add(Count::PublishFailed, (counts.len() - accepted) as u64);
        self.publishes.keep(Ok(counts));
    }

    fn refuse(self, fault: &Fault, counters: &Counters) {
        counters.add(Count::PublishFailed, self.publishes.len() as u64);
        for (_, answer) in self.calls {
            let _ = answer.send(Err(fault.clone()));
        }
        self.publishes.keep(Err(fault.clone()));
    }
}

fn count(reply: &Reply, counters: &Counters) -> Result<u64, Fault> {
    let count = reply.read("PUBLISH", counters, Reply::integer)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// How many messages have been published on each channel, in this era.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    last: HashMap<Box<[u8]>, u64>,
    era: u64,
}

impl Sequences {
    /// 1 for the first. It grows whatever is forgotten, so that nothing seems to come late.
    fn next(&mut self, channel: &[u8]) -> u64 {
        if let Some(last) = self.last.get_mut(channel) {
            *last += 1;
            return *last;
        }
        if self.last.len() >= SEQUENCES {
            self.last.clear();
            self.era += 1;
        }
        let first = codec::first_sequence(self.era);
        self.last.insert(channel.into(), first);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_grows_though_its_channel_was_forgotten() {
        let mut sequences = Sequences::default();
        assert_eq!([sequences.next(b"a"), sequences.next(b"b"), sequences.next(b"a")], [1, 1, 2]);
        for n in 0..SEQUENCES {
            sequences.next(&n.to_be_bytes());
        }
        assert!(sequences.last.len() <= SEQUENCES);
        assert!(sequences.next(b"a") > 2);
    }
}
