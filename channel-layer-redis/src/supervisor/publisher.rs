//! The task that sends commands: it owns them from the moment they are queued, so that a caller's dropped
//! future never cancels one half-way, and it sends all that has queued up meanwhile in one write.

use std::{collections::HashMap, sync::Arc};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};

use super::session::Session;
use crate::{
    client::{Command, Reply},
    codec,
    config::RedisConfig,
    error::Fault,
    stats::Counters,
};

/// Commands that wait to be sent. A caller waits when it is full; it is emptied at once while there is no
/// connection.
pub(super) const QUEUE: usize = 4096;

/// Commands in one write: enough to make the price of a round trip vanish, few enough that replies flow.
const BATCH: usize = 512;

/// Writes under way. A few, so that Redis works on some while we put the next together; with one or two, our side
/// sleeps half of the time.
const IN_FLIGHT: usize = 4;

/// Channels whose sequence is remembered. Beyond, all start anew, which a receiver takes for a restart.
const SEQUENCES: usize = 1 << 16;

/// A command and who waits for its reply.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) answer: oneshot::Sender<Result<Reply, Fault>>,
}

#[derive(Debug)]
pub(super) enum Work {
    Call(Command),
    /// An envelope; its sequence is filled in when it is its turn.
    Publish {
        channel: String,
        envelope: Vec<u8>,
    },
}

/// Sends what is queued, until nobody can queue any more.
pub(super) async fn run(
    mut jobs: mpsc::Receiver<Job>,
    session: watch::Receiver<Option<Arc<Session>>>,
    config: Arc<RedisConfig>,
    counters: Arc<Counters>,
) {
    let mut sequences = Sequences::default();
    let mut flying = FuturesUnordered::new();
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            // First, so that a batch is on its way before the next is put together: order depends on it.
            Some(()) = flying.next() => {}
            count = jobs.recv_many(&mut batch, BATCH), if flying.len() < IN_FLIGHT => {
                if count == 0 {
                    break;
                }
                // Corking: whoever is about to publish too does so in the same write.
                tokio::task::yield_now().await;
                while batch.len() < BATCH && let Ok(job) = jobs.try_recv() {
                    batch.push(job);
                }
                let session = session.borrow().clone();
                match session {
                    Some(session) => {
                        let (commands, waiting) = prepare(&mut batch, &mut sequences);
                        flying.push(fly(session, commands, waiting, &config, &counters));
                    }
                    None => refuse(batch.drain(..).map(|job| job.answer), &Fault::Down),
                }
            }
        }
    }
    while flying.next().await.is_some() {}
}

/// Who waits for a reply, and whether it is one to a publish.
type Waiting = Vec<(oneshot::Sender<Result<Reply, Fault>>, bool)>;

fn prepare(batch: &mut Vec<Job>, sequences: &mut Sequences) -> (Vec<Command>, Waiting) {
    let prepare = |Job { work, answer }| match work {
        Work::Call(command) => (command, (answer, false)),
        Work::Publish { channel, mut envelope } => {
            codec::set_sequence(&mut envelope, sequences.next(&channel));
            (Command::publish(&channel, &envelope), (answer, true))
        }
    };
    batch.drain(..).map(prepare).unzip()
}

async fn fly(
    session: Arc<Session>,
    commands: Vec<Command>,
    waiting: Waiting,
    config: &RedisConfig,
    counters: &Counters,
) {
    let replies = match session.commands.call_all(commands, config.timeout).await {
        Ok(replies) => replies,
        Err(fault) => {
            counters.publish_failed.add(waiting.iter().filter(|(_, publish)| *publish).count() as u64);
            refuse(waiting.into_iter().map(|(answer, _)| answer), &fault);
            session.fail(fault);
            return;
        }
    };
    let mut accepted = 0;
    for ((answer, publish), reply) in waiting.into_iter().zip(replies) {
        match (&reply, publish) {
            (Ok(_), true) => accepted += 1,
            (Err(_), true) => counters.publish_failed.one(),
            _ => {}
        }
        let _ = answer.send(reply); // who waits no longer does not mind
    }
    counters.published.add(accepted);
}

fn refuse(answers: impl Iterator<Item = oneshot::Sender<Result<Reply, Fault>>>, fault: &Fault) {
    for answer in answers {
        let _ = answer.send(Err(fault.clone()));
    }
}

/// How many messages have been published on each channel.
#[derive(Debug, Default)]
struct Sequences(HashMap<String, u64>);

impl Sequences {
    /// 1 for the first.
    fn next(&mut self, channel: &str) -> u64 {
        if let Some(last) = self.0.get_mut(channel) {
            *last += 1;
            return *last;
        }
        if self.0.len() >= SEQUENCES {
            self.0.clear();
        }
        self.0.insert(channel.to_owned(), 1);
        1
    }
}
