//! A Redis server as a message bus: Pub/Sub on a pair of connections, one for commands and one for subscriptions.
//!
//! When either fails, both are closed: a process that receives but cannot send, or the reverse, would not report an outage.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use channel_layer::{
    Result,
    backbone::{Backbone, BackboneLink, Batch, Inbound, InboundSink, Queues, Subscription},
};
use futures_util::future::{join_all, try_join};

use super::{
    client::{Command, Commands, Connection, OnPush, Reply, ServerPush},
    command_connection::CommandConnection,
    link_end::LinkEnd,
    topology,
};
use crate::{
    config::{HostConfig, RedisConfig, Server},
    error::CallError,
    stats::Counters,
    sync::lock,
};

/// The number of restoring commands in one write. Each write has a deadline.
const CHUNK: usize = 1000;

/// The part of a mode that links call.
pub(crate) trait LinkMode: fmt::Debug + Send + Sync + 'static {
    /// The commands that the mode requires in addition to Pub/Sub, by name. They answer at once and change nothing.
    fn needed(&self) -> Vec<(&'static str, Command)> {
        Vec::new()
    }

    /// The subject of the error for a missing command.
    fn subject(&self, config: &RedisConfig) -> String {
        format!("mode {}", config.mode)
    }

    /// The work queues of a link.
    fn queues(&self, commands: &Arc<CommandConnection>) -> Option<Box<dyn Queues>> {
        let _ = commands;
        None
    }

    /// The commands that restore what the server holds for this process: everything, or what was added since the last
    /// call.
    fn restore(&self, all: bool) -> Option<Restoration> {
        let _ = all;
        None
    }
}

/// Commands that restore the data that the server holds for this process.
pub(crate) struct Restoration {
    pub(crate) commands: Vec<Command>,
    /// The callback for the time when the server has accepted all commands. The mode retries refused ones.
    pub(crate) done: Box<dyn FnOnce() + Send>,
}

/// Opens links to one host.
pub(crate) struct RedisBackbone {
    host: HostConfig,
    config: Arc<RedisConfig>,
    counters: Arc<Counters>,
    /// The name of this process, by which the server lists its connections.
    process: String,
    mode: Arc<dyn LinkMode>,
    /// The command connection of the latest link. Locked for single accesses.
    latest: Mutex<Weak<CommandConnection>>,
}

/// A pair of working connections.
pub(crate) struct RedisLink {
    host: HostConfig,
    commands: Arc<CommandConnection>,
    subscriber: Connection,
    mode: Arc<dyn LinkMode>,
    queues: Option<Box<dyn Queues>>,
    end: Arc<LinkEnd>,
    sink: Arc<OnceLock<InboundSink>>,
    /// Set by the first restoration. Relaxed: the calls are sequential.
    is_restored: AtomicBool,
}

impl RedisBackbone {
    pub(crate) fn new(
        host: HostConfig,
        config: Arc<RedisConfig>,
        counters: Arc<Counters>,
        process: String,
        mode: Arc<dyn LinkMode>,
    ) -> Self {
        Self { host, config, counters, process, mode, latest: Mutex::default() }
    }

    /// The command connection of the latest link, while it exists.
    pub(crate) fn commands(&self) -> Option<Arc<CommandConnection>> {
        lock(&self.latest).upgrade()
    }

    async fn open(&self, server: &Server, role: &str, on_push: OnPush) -> Result<Connection, CallError> {
        let connection = Connection::open(server, &self.config, on_push).await?;
        let name = format!("channel-layer:{}:{role}", self.process);
        let name = Command::new("CLIENT").arg("SETNAME").arg(name);
        match connection.call(&name, Some(self.config.hub.timeout)).await {
            Ok(_) | Err(CallError::Refused { .. }) => Ok(connection), // the name is optional
            Err(error) => Err(error),
        }
    }

    async fn link(&self) -> Result<RedisLink, CallError> {
        let (config, counters) = (&self.config, &self.counters);
        let server = topology::resolve(&self.host, config, counters).await?;
        let (end, sink) = (Arc::new(LinkEnd::default()), Arc::new(OnceLock::new()));
        let on_push = || on_push(sink.clone(), end.clone(), counters.clone());
        let (commands, subscriber) =
            try_join(self.open(&server, "commands", on_push()), self.open(&server, "subscriber", on_push()))
                .await?;
        topology::check_role(&commands, &server, config.hub.timeout, counters).await?;
        let commands =
            Arc::new(CommandConnection::new(server, commands, end.clone(), config.clone(), counters.clone()));
        let link = RedisLink {
            host: self.host.clone(),
            queues: self.mode.queues(&commands),
            commands,
            subscriber,
            mode: self.mode.clone(),
            end,
            sink,
            is_restored: AtomicBool::new(false),
        };
        link.check_commands().await?;
        *lock(&self.latest) = Arc::downgrade(&link.commands);
        Ok(link)
    }
}

#[async_trait]
impl Backbone for RedisBackbone {
    async fn connect(&self) -> Result<Arc<dyn BackboneLink>> {
        Ok(Arc::new(self.link().await?))
    }
}

impl RedisLink {
    /// Checks that the server has and allows the commands of the mode.
    async fn check_commands(&self) -> Result<(), CallError> {
        let (names, commands): (Vec<_>, Vec<_>) = self.mode.needed().into_iter().unzip();
        if names.is_empty() {
            return Ok(());
        }
        let replies = self.commands.call_all(commands.into_iter().collect()).await?;
        for (name, reply) in names.into_iter().zip(replies) {
            if let Err(error) = reply
                && (error.is_forbidden() || error.is_missing_command())
            {
                return Err(self.needs(name, &error));
            } // other errors may have passed by the first use
        }
        Ok(())
    }

    /// The error for a refused command of Pub/Sub. It names the mode if the server lacks the command.
    fn refused(&self, command: &str, error: CallError) -> channel_layer::Error {
        if error.is_missing_command() { self.needs(command, &error).into() } else { error.into() }
    }

    fn needs(&self, command: &str, error: &CallError) -> CallError {
        let reason = match error {
            CallError::Refused { code, detail } => format!("{code} {detail}"),
            other => other.to_string(),
        };
        let subject = self.mode.subject(&self.commands.config);
        CallError::MissingCommand { command: command.to_owned(), subject, reason }
    }

    /// The number of connections that took a message.
    fn count(&self, reply: Result<Reply, CallError>) -> Result<Option<usize>> {
        let count = reply.and_then(|reply| reply.read("PUBLISH", &self.commands.counters, Reply::integer));
        Ok(Some(count.map_err(|error| self.refused("PUBLISH", error))?.try_into().unwrap_or(0)))
    }
}

#[async_trait]
impl BackboneLink for RedisLink {
    async fn publish(&self, topic: &str, bytes: Bytes) -> Result<Option<usize>> {
        let command = Command::publish(topic, &bytes);
        self.count(self.commands.connection.call(&command, Some(self.commands.limit())).await)
    }

    async fn publish_all(&self, batch: &Batch) -> Result<Vec<Result<Option<usize>>>> {
        let mut commands = Commands::with_capacity(batch.len());
        batch.iter().for_each(|(topic, payload)| commands.publish(topic.as_bytes(), payload));
        Ok(self.commands.call_all(commands).await?.map(|reply| self.count(reply)).collect())
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        let subscribed = self.subscriber.subscribe(&[topic.to_owned()], self.commands.limit()).await;
        subscribed.map(|()| Subscription::Confirmed).map_err(|error| self.refused("SUBSCRIBE", error))
    }

    /// Redis refuses a whole command for one forbidden channel. A refused command is sent again in halves, concurrently, so
    /// that eleven round trips find all forbidden channels.
    async fn subscribe_all(&self, topics: &[String]) -> Result<Vec<Result<Subscription>>> {
        let mut answers: Vec<_> = topics.iter().map(|_| Ok(Subscription::Confirmed)).collect();
        let mut unconfirmed: Vec<_> = (!topics.is_empty()).then_some(0..topics.len()).into_iter().collect();
        while !unconfirmed.is_empty() {
            let subscribe = |range: &std::ops::Range<usize>| {
                self.subscriber.subscribe(&topics[range.clone()], self.commands.limit())
            };
            let outcomes = join_all(unconfirmed.iter().map(subscribe)).await;
            for (range, outcome) in std::mem::take(&mut unconfirmed).into_iter().zip(outcomes) {
                match outcome {
                    Ok(()) => {}
                    Err(error @ CallError::Refused { .. }) if range.len() == 1 => {
                        answers[range.start] = Err(self.refused("SUBSCRIBE", error));
                    }
                    Err(CallError::Refused { .. }) => {
                        let middle = range.start + range.len() / 2;
                        unconfirmed.extend([range.start..middle, middle..range.end]);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(answers)
    }

    async fn unsubscribe(&self, topic: &str) -> Result<()> {
        self.unsubscribe_all(&[topic.to_owned()]).await
    }

    async fn unsubscribe_all(&self, topics: &[String]) -> Result<()> {
        Ok(self.subscriber.unsubscribe(topics, self.commands.limit()).await?)
    }

    fn attach(&self, sink: InboundSink) -> bool {
        self.sink.set(sink).is_ok()
    }

    async fn next(&self) -> Result<Inbound> {
        let CommandConnection { config, server, counters, .. } = &*self.commands;
        let error = tokio::select! {
            error = self.end.wait() => error,
            error = topology::moved(&self.host, config, server, counters) => error,
        };
        Err(error.into())
    }

    async fn ping(&self) -> Result<()> {
        let CommandConnection { connection, server, counters, .. } = &*self.commands;
        let limit = self.commands.limit();
        try_join(topology::check_role(connection, server, limit, counters), self.subscriber.ping(limit))
            .await?;
        Ok(())
    }

    /// A refusal does not end the link.
    async fn restore(&self) -> Result<()> {
        let all = !self.is_restored.swap(true, Relaxed);
        let Some(Restoration { commands, done }) = self.mode.restore(all) else { return Ok(()) };
        let (mut commands, mut refused) = (commands.into_iter().peekable(), None);
        while commands.peek().is_some() {
            for reply in self.commands.call_all(commands.by_ref().take(CHUNK).collect()).await? {
                refused = refused.or(reply.err());
            }
        }
        match refused {
            None => done(),
            Some(error) => {
                let counters = &self.commands.counters;
                counters.warn("Redis refuses data that it holds for this process", &error.into());
            }
        }
        Ok(())
    }

    fn queues(&self) -> Option<&dyn Queues> {
        self.queues.as_deref()
    }
}

/// Delivers messages, and ends the link when its connection ends.
fn on_push(sink: Arc<OnceLock<InboundSink>>, end: Arc<LinkEnd>, counters: Arc<Counters>) -> OnPush {
    Arc::new(move |push| match push {
        ServerPush::Disconnected => end.fail(CallError::Broken("closed by the other side".to_owned())),
        ServerPush::Message { channel, payload } => match (std::str::from_utf8(&channel), sink.get()) {
            (Ok(topic), Some(sink)) => sink.deliver(topic, &payload),
            (Ok(_), None) => {} // before the first subscription
            (Err(error), _) => counters.note_unreadable("a message", error),
        },
        ServerPush::Unreadable(reason) => counters.note_unreadable("a push", reason),
    })
}

impl Drop for RedisLink {
    fn drop(&mut self) {
        self.commands.queue.stop();
    }
}

/// Shows the address, without a password.
impl fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.commands.fmt(f)
    }
}

/// Shows the host, without a password.
impl fmt::Debug for RedisBackbone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)
    }
}
