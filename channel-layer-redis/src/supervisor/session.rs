//! A pair of connections to one server: one for commands, one for what comes in.

use std::sync::{Arc, OnceLock};

use futures_util::future::try_join;
use tokio::sync::Notify;

use super::{Mode, Restoration, Shared};
use crate::{
    config::Server,
    error::Fault,
    link::client::{Command, Connection, Push},
    link::topology,
};

/// Channels in one `SUBSCRIBE`: a hundred thousand groups are a hundred commands.
const CHUNK: usize = 1000;

/// A working pair of connections. When either fails, both are given up: a process that hears but cannot speak,
/// or the reverse, is worse off than one that knows it is cut off.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) server: Server,
    pub(super) commands: Connection,
    pub(super) subscriber: Connection,
    end: Arc<End>,
}

/// How a session ended; the first reason counts.
#[derive(Debug, Default)]
struct End {
    fault: OnceLock<Fault>,
    /// The supervisor alone waits.
    told: Notify,
}

impl End {
    fn fail(&self, fault: Fault) {
        let _ = self.fault.set(fault);
        self.told.notify_one();
    }
}

impl Session {
    /// Finds the server, connects twice, subscribes to all that is wanted, and sees a message come back.
    pub(super) async fn open(shared: &Shared) -> Result<Self, Fault> {
        let server = topology::resolve(&shared.place, &shared.config, &shared.counters).await?;
        let end = Arc::new(End::default());
        let (commands, subscriber) = try_join(
            connect(shared, &server, "commands", end.clone(), |_: &dyn Mode, _, _| {}),
            connect(shared, &server, "subscriber", end.clone(), |mode, channel, payload| {
                mode.received(channel, payload);
            }),
        )
        .await?;
        let session = Self { server, commands, subscriber, end };
        topology::check_role(&session.commands, &session.server, shared.config.timeout, &shared.counters)
            .await?;
        session.rehearse(shared).await?;
        session.resume(shared).await?;
        session.restore(shared, true).await?;
        session.probe(shared).await?;
        Ok(session)
    }

    /// Checks, before the session is used, that the server has and allows the commands of the mode.
    async fn rehearse(&self, shared: &Shared) -> Result<(), Fault> {
        let (names, commands): (Vec<_>, Vec<_>) = shared.mode.needed().into_iter().unzip();
        if names.is_empty() {
            return Ok(());
        }
        let replies = self.commands.call_all(commands.into_iter().collect(), shared.config.timeout).await?;
        for (name, reply) in names.into_iter().zip(replies) {
            // Whatever else is wrong may be over before it matters.
            if let Err(fault @ Fault::Missing { .. }) = reply.map_err(|fault| missing(name, fault, shared)) {
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Without its own channels a session is none; a group that is forbidden is one group less.
    async fn resume(&self, shared: &Shared) -> Result<(), Fault> {
        let own = shared.mode.own_channels();
        self.subscribe(&own, shared).await.map_err(|fault| missing("SUBSCRIBE", fault, shared))?;
        let wanted = shared.subscriptions.to_resume(|channel| shared.mode.is_empty(channel));
        let mut outcome = Ok(());
        let note = |channels: &[String], answer| match answer {
            Ok(()) => shared.subscriptions.answered(channels, Ok(())),
            Err(fault) if is_forbidden(&fault) => {
                channels.iter().for_each(|channel| shared.refused(channel, fault.clone()));
            }
            // Such as a server that is busy: it says nothing about the group.
            Err(fault) => outcome = Err(fault),
        };
        self.subscribe_each(&wanted, shared, note).await?;
        outcome
    }

    /// Writes what Redis holds for this process. A refusal is no reason to be without a session.
    pub(super) async fn restore(&self, shared: &Shared, all: bool) -> Result<(), Fault> {
        let Some(Restoration { commands, done }) = shared.mode.restore(all) else { return Ok(()) };
        let (mut commands, mut refused) = (commands.into_iter().peekable(), None);
        while commands.peek().is_some() {
            let chunk = commands.by_ref().take(CHUNK).collect();
            for reply in self.commands.call_all(chunk, shared.config.timeout).await? {
                refused = refused.or(reply.err());
            }
        }
        match refused {
            None => done(),
            Some(fault) => {
                shared.counters.warn("Redis does not take what it holds for this process", &fault.into());
            }
        }
        Ok(())
    }

    /// A message to ourselves, on these connections.
    async fn probe(&self, shared: &Shared) -> Result<(), Fault> {
        let limit = shared.config.timeout;
        let probe = shared.mode.probe();
        let command = Command::publish(&probe.channel, &probe.envelope);
        let published = self.commands.call(&command, Some(limit)).await;
        published.map_err(|fault| missing("PUBLISH", fault, shared))?;
        match tokio::time::timeout(limit, probe.back).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Fault::Deadline(limit)),
        }
    }

    /// Ends the session, unless it has ended already.
    pub(crate) fn fail(&self, fault: Fault) {
        self.end.fail(fault);
    }

    /// Waits for the end.
    pub(super) async fn failed(&self) -> Fault {
        loop {
            if let Some(fault) = self.end.fault.get() {
                return fault.clone();
            }
            self.end.told.notified().await;
        }
    }

    /// Subscribes, in commands of a bearable size. Tells of each channel whether it was confirmed or refused: Redis
    /// refuses a whole command for one of its channels.
    pub(super) async fn subscribe_each(
        &self,
        channels: &[String],
        shared: &Shared,
        mut answered: impl FnMut(&[String], Result<(), Fault>),
    ) -> Result<(), Fault> {
        let mut left: Vec<_> = channels.chunks(CHUNK).rev().collect();
        while let Some(chunk) = left.pop() {
            match self.subscriber.subscribe(chunk, shared.config.timeout).await {
                Err(Fault::Refused { .. }) if chunk.len() > 1 => {
                    let (first, second) = chunk.split_at(chunk.len() / 2);
                    left.extend([second, first]);
                }
                answer @ (Ok(()) | Err(Fault::Refused { .. })) => answered(chunk, answer),
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Subscribes to all of them, or fails.
    async fn subscribe(&self, channels: &[String], shared: &Shared) -> Result<(), Fault> {
        self.subscriber.subscribe(channels, shared.config.timeout).await
    }

    /// Unsubscribes likewise.
    pub(super) async fn unsubscribe(&self, channels: &[String], shared: &Shared) -> Result<(), Fault> {
        for chunk in channels.chunks(CHUNK) {
            self.subscriber.unsubscribe(chunk, shared.config.timeout).await?;
        }
        Ok(())
    }
}

/// A refusal that will last, with the command and the mode that needs it; any other fault as it is.
fn missing(command: &str, fault: Fault, shared: &Shared) -> Fault {
    let Fault::Refused { code, detail } = &fault else { return fault };
    let text = detail.to_ascii_lowercase();
    let signs = ["unknown command", "unsupported command", "can't run this command"];
    match code == "NOPERM" || signs.iter().any(|sign| text.contains(sign)) {
        true => Fault::Missing {
            command: command.to_owned(),
            mode: shared.config.mode.to_string(),
            reason: format!("{code} {detail}"),
        },
        false => fault,
    }
}

fn is_forbidden(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused { code, .. } if code == "NOPERM")
}

async fn connect(
    shared: &Shared,
    server: &Server,
    role: &str,
    end: Arc<End>,
    on_message: impl Fn(&dyn Mode, &[u8], &[u8]) + Send + Sync + 'static,
) -> Result<Connection, Fault> {
    let (mode, counters) = (shared.mode.clone(), shared.counters.clone());
    let on_push = move |push| match push {
        Push::Gone => end.fail(Fault::Broken("closed by the other side".to_owned())),
        // What an ended session still holds is not delivered: its successor has begun.
        Push::Message { .. } if end.fault.get().is_some() => {}
        Push::Message { channel, payload } => on_message(&*mode, &channel, &payload),
        Push::Unreadable(reason) => counters.note_unreadable("a push", reason),
    };
    let connection = Connection::open(server, &shared.config, Arc::new(on_push)).await?;
    let name =
        Command::new("CLIENT").arg("SETNAME").arg(format!("channel-layer:{}:{role}", shared.mode.node()));
    match connection.call(&name, Some(shared.config.timeout)).await {
        Ok(_) | Err(Fault::Refused { .. }) => Ok(connection), // a name is a courtesy
        Err(fault) => Err(fault),
    }
}
