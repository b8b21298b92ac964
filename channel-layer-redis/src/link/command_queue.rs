//! The queue of commands other than `PUBLISH`. Concurrent callers share writes, and commands are sent in the order in which
//! they were queued.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{
    Notify,
    mpsc::{
        self,
        error::{SendTimeoutError, TrySendError},
    },
    oneshot,
};

use super::{
    client::{Command, Commands, Reply},
    link_end::LinkEnd,
};
use crate::error::CallError;

/// The capacity of the queue. Callers wait while it is full.
const QUEUE: usize = 4096;

/// The most commands in one write: enough to amortise a round trip, and few enough that Redis executes them while the
/// next write is assembled.
const BATCH: usize = 256;

/// The most writes in flight.
const IN_FLIGHT: usize = 8;

/// The commands of one link.
#[derive(Debug)]
pub(super) struct CommandQueue {
    calls: mpsc::Sender<QueuedCommand>,
    /// The longest time for which a command waits for capacity.
    timeout: Duration,
    /// Notified when the link ends. Only the task waits.
    stopped: Arc<Notify>,
}

#[derive(Debug)]
struct QueuedCommand {
    command: Command,
    answer: oneshot::Sender<Result<Reply, CallError>>,
}

/// The reply to a queued command. The command is sent even if this is dropped.
#[derive(Debug)]
pub(crate) struct PendingReply(oneshot::Receiver<Result<Reply, CallError>>);

impl PendingReply {
    /// Waits for the reply.
    pub(crate) async fn reply(self) -> Result<Reply, CallError> {
        self.0.await.unwrap_or_else(|_| Err(ended()))
    }
}

impl CommandQueue {
    /// Starts a task that calls `send`, which returns one reply per command. An error of `send` ends the link.
    pub(super) fn start<R, F>(
        timeout: Duration,
        end: Arc<LinkEnd>,
        send: impl Fn(Commands) -> F + Send + Sync + 'static,
    ) -> Self
    where
        R: IntoIterator<Item = Result<Reply, CallError>> + Send + 'static,
        F: Future<Output = Result<R, CallError>> + Send + 'static,
    {
        let (calls, queued) = mpsc::channel(QUEUE);
        let stopped = Arc::new(Notify::new());
        tokio::spawn(run(queued, stopped.clone(), EndOnDrop(end), send));
        Self { calls, timeout, stopped }
    }

    /// Queues a command that replies at once. Later commands are sent after it.
    pub(super) async fn queue(&self, command: Command) -> Result<PendingReply, CallError> {
        let (answer, reply) = oneshot::channel();
        // First without waiting: `send_timeout` consumes the task's budget, and a call without any left would not be queued in its
        // first poll.
        let sent = match self.calls.try_send(QueuedCommand { command, answer }) {
            Err(TrySendError::Full(call)) => self.calls.send_timeout(call, self.timeout).await,
            Err(TrySendError::Closed(call)) => Err(SendTimeoutError::Closed(call)),
            Ok(()) => Ok(()),
        };
        match sent {
            Ok(()) => Ok(PendingReply(reply)),
            Err(SendTimeoutError::Timeout(_)) => Err(CallError::QueueFull),
            Err(SendTimeoutError::Closed(_)) => Err(CallError::NotConnected),
        }
    }

    /// Refuses further commands. Queued ones are still sent, so that closing a layer loses none; on a broken link they fail.
    pub(super) fn stop(&self) {
        self.stopped.notify_one();
    }
}

/// Sends queued commands until the queue is stopped and empty.
async fn run<R, F>(
    mut calls: mpsc::Receiver<QueuedCommand>,
    stopped: Arc<Notify>,
    end: EndOnDrop,
    send: impl Fn(Commands) -> F,
) where
    R: IntoIterator<Item = Result<Reply, CallError>>,
    F: Future<Output = Result<R, CallError>>,
{
    let (mut in_flight, mut batch) = (FuturesUnordered::new(), Vec::new());
    loop {
        tokio::select! {
            biased;
            // First, because order depends on it: a write starts before the next one is assembled.
            Some(()) = in_flight.next() => {}
            () = stopped.notified() => calls.close(),
            count = calls.recv_many(&mut batch, BATCH), if in_flight.len() < IN_FLIGHT => {
                if count == 0 {
                    break;
                }
                let calls = std::mem::take(&mut batch);
                let (commands, answers): (Vec<_>, Vec<_>) =
                    calls.into_iter().map(|call| (call.command, call.answer)).unzip();
                let sending = send(commands.into_iter().collect());
                in_flight.push(answer(sending, answers, &end.0));
            }
        }
    }
    while in_flight.next().await.is_some() {}
}

async fn answer<R: IntoIterator<Item = Result<Reply, CallError>>>(
    sending: impl Future<Output = Result<R, CallError>>,
    answers: Vec<oneshot::Sender<Result<Reply, CallError>>>,
    end: &LinkEnd,
) {
    match sending.await {
        // A dropped caller needs no reply.
        Ok(replies) => answers.into_iter().zip(replies).for_each(|(answer, reply)| drop(answer.send(reply))),
        Err(error) => {
            answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone()))));
            end.fail(error);
        }
    }
}

/// Ends the link when the task ends, also after a panic.
struct EndOnDrop(Arc<LinkEnd>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.fail(ended());
    }
}

fn ended() -> CallError {
    CallError::Broken("the connection was closed".to_owned())
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Mutex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn numbered(number: usize) -> Command {
        Command::new("ECHO").arg(number)
    }

    /// A queue whose replies are numbered, and the sizes of its writes.
    fn answering() -> (CommandQueue, Arc<Mutex<Vec<usize>>>) {
        let writes = Arc::new(Mutex::new(Vec::new()));
        let seen = writes.clone();
        let next = Arc::new(Mutex::new(0));
        let queue = CommandQueue::start(LIMIT, Arc::default(), move |commands: Commands| {
            let (seen, next) = (seen.clone(), next.clone());
            async move {
                seen.lock().unwrap().push(commands.len());
                let mut next = next.lock().unwrap();
                let replies: Vec<_> =
                    (0..commands.len() as i64).map(|n| Ok(Reply::Integer(*next + n))).collect();
                *next += commands.len() as i64;
                Ok(replies)
            }
        });
        (queue, writes)
    }

    #[tokio::test]
    async fn commands_share_writes_in_order() {
        let (queue, writes) = answering();
        let mut queued = Vec::new();
        for number in 0..300 {
            queued.push(queue.queue(numbered(number)).await.unwrap());
        }
        for (number, queued) in queued.into_iter().enumerate() {
            assert_eq!(queued.reply().await, Ok(Reply::Integer(number as i64)));
        }
        let writes = writes.lock().unwrap();
        assert_eq!(writes.iter().sum::<usize>(), 300);
        assert!(writes.len() < 10 && writes.iter().all(|count| *count <= BATCH), "{writes:?}");
    }

    #[tokio::test]
    async fn sends_without_the_caller() {
        let (queue, writes) = answering();
        drop(queue.queue(numbered(0)).await.unwrap());
        queue.queue(numbered(1)).await.unwrap().reply().await.unwrap();
        assert_eq!(writes.lock().unwrap().iter().sum::<usize>(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn full_queue_has_a_deadline() {
        let send = |_: Commands| pending::<Result<Vec<Result<Reply, CallError>>, CallError>>();
        let queue = CommandQueue::start(LIMIT, Arc::default(), send);
        let mut kept = Vec::new();
        let refused = loop {
            match queue.queue(numbered(0)).await {
                Ok(queued) => kept.push(queued),
                Err(error) => break error,
            }
        };
        assert_eq!(refused, CallError::QueueFull);
        assert!(kept.len() >= QUEUE && kept.len() <= QUEUE + IN_FLIGHT * BATCH, "{}", kept.len());
    }

    #[tokio::test]
    async fn a_failed_write_ends_the_link() {
        let end = Arc::new(LinkEnd::default());
        let queue = CommandQueue::start(LIMIT, end.clone(), |_: Commands| async {
            Err::<Vec<_>, _>(CallError::TimedOut(LIMIT))
        });
        let reply = queue.queue(numbered(0)).await.unwrap().reply().await;
        assert_eq!(reply, Err(CallError::TimedOut(LIMIT)));
        assert_eq!(end.wait().await, CallError::TimedOut(LIMIT));
    }

    #[tokio::test]
    async fn a_stopped_queue_is_flushed() {
        let (queue, writes) = answering();
        for number in 0..QUEUE {
            queue.queue(numbered(number)).await.unwrap();
        }
        let last = queue.queue(numbered(QUEUE)).await.unwrap();
        queue.stop();
        assert_eq!(last.reply().await, Ok(Reply::Integer(QUEUE as i64)));
        assert_eq!(writes.lock().unwrap().iter().sum::<usize>(), QUEUE + 1);
        assert_eq!(queue.queue(numbered(0)).await.unwrap_err(), CallError::NotConnected);
    }
}
