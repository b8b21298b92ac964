//! All connections of a user, in all processes, over any layer.

use std::{collections::HashSet, pin::pin, time::Duration};

use channel_layer::{Audience, ChannelLayer, GroupName, MailboxOptions, Message, Remote, SendReport, Value};
use serde::Serialize;
use tokio::time::sleep;

use super::{
    context::Context,
    unreached::{Purpose, note},
};
use crate::{
    error::Result,
    frame::Close,
    scope::UserId,
    wire::{CLOSE, PROBE},
};

/// The prefix of the names of users' groups.
const PREFIX: &str = "user.";
/// The number of users that `users_online` asks for at once.
const ASKED_AT_ONCE: usize = 64;
/// Every connection of a user answers, and one answer is enough.
const ANSWERS: usize = 4096;

/// Keeps connections out of their user's group: left in a scope's extensions, [`accept`](crate::Socket::accept) does not
/// [identify](Context::identify) by itself.
///
/// Also a [`Guard`](crate::middleware::Guard), which leaves itself there: for routes whose consumers ignore what is sent to a
/// user, and need no mailbox otherwise.
///
/// ```
/// use ws_consumer::{Router, middleware::{Guard, NoIdentify}};
///
/// let prices = NoIdentify.around(Router::new());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIdentify;

impl Context {
    /// Identifies the connection as this user's: messages to the user reach it until it ends. A second call has no effect.
    ///
    /// A connection whose user is known when it is accepted is identified automatically: from
    /// [`Auth`](crate::middleware::Auth), or from a [`UserId`](crate::middleware::UserId) that another guard
    /// or the HTTP stack in front has put into the scope. [`NoIdentify`](crate::middleware::NoIdentify) turns
    /// it off.
    ///
    /// # Errors
    /// The layer's errors.
    pub async fn identify(&mut self, user: &str) -> Result<()> {
        self.group_add(user_group(user)?).await
    }

    /// Identifies the connection as that of its scope's user, if there is one, unless the connection's profile or
    /// [`NoIdentify`] is against it.
    pub(crate) async fn identify_user(&mut self) -> Result<()> {
        let extensions = &self.scope.extensions;
        let Some(UserId(user)) = extensions.get() else { return Ok(()) };
        if !self.connection.profile().identifies_user || extensions.get::<NoIdentify>().is_some() {
            return Ok(());
        }
        let group = user_group(user)?;
        // Boxed: every connection's future would carry it otherwise, also those without a user.
        Box::pin(self.group_add(group)).await
    }

    /// Reverses [`identify`](Self::identify).
    #[cfg(feature = "auth")]
    pub(crate) async fn unidentify(&mut self, user: &str) -> Result<()> {
        self.group_discard(user_group(user)?).await
    }
}

/// Messages to users, over any layer: from a consumer, a handler of plain HTTP or anything else that has the layer.
///
/// A user is a group, of the connections that are [identified](Context::identify) as that user's:
/// automatically behind [`Auth`](crate::middleware::Auth) and other guards that authenticate clients. The
/// cost of a message depends on the number of that user's connections only. All of the user's consumers
/// receive it, including those that do not know the event.
///
/// A message that reaches no connection in any process is logged, once for each user: with WARN for a close,
/// with INFO for an event. A layer that cannot tell what other processes have received (in mode `core` of
/// `channel-layer-redis`) logs nothing.
///
/// ```
/// # async fn run(layer: channel_layer::MemoryLayer) -> ws_consumer::Result<()> {
/// use std::time::Duration;
/// use ws_consumer::UsersExt;
///
/// layer.send_to_user("42", &serde_json::json!({ "type": "mail.arrived" })).await?;
/// let online = layer.users_online(["42", "43"], Duration::from_millis(500)).await?;
/// layer.close_user("42", ws_consumer::Close::new(4001, "signed out")).await?;
/// # Ok(()) }
/// ```
pub trait UsersExt: ChannelLayer {
    /// Sends an event to all of a user's connections: their `event` hooks receive it.
    ///
    /// # Errors
    /// An event that is no map; the layer's errors. A user without a connection is no error.
    fn send_to_user<T: Serialize + Sync + ?Sized>(
        &self,
        user: &str,
        event: &T,
    ) -> impl Future<Output = Result<SendReport>> + Send {
        let message = Message::encode(event);
        async move { send(self, user, message?, Purpose::Event).await }
    }

    /// Closes all of a user's connections.
    ///
    /// # Errors
    /// The layer's errors. A user without a connection is no error.
    fn close_user(
        &self,
        user: &str,
        close: impl Into<Close>,
    ) -> impl Future<Output = Result<SendReport>> + Send {
        let Close { code, reason } = close.into();
        let message = Message::new(CLOSE).with("code", i64::from(code)).with("reason", reason);
        async move { send(self, user, message, Purpose::Close).await }
    }

    /// Returns the users of these that have a connection, in any process.
    ///
    /// Their connections are asked, and one answer of each user is waited for: at a cost that grows with the number of
    /// their connections, not with that of all. Takes as long as `patience` where a user may be in another process and
    /// does not answer; within one process it is known at once.
    ///
    /// # Errors
    /// The layer's errors.
    fn users_online<'a>(
        &self,
        users: impl IntoIterator<Item = &'a str>,
        patience: Duration,
    ) -> impl Future<Output = Result<HashSet<String>>> + Send {
        let users: HashSet<String> = users.into_iter().map(str::to_owned).collect();
        let users: Vec<String> = users.into_iter().collect();
        async move {
            let mut online = HashSet::new();
            for some in users.chunks(ASKED_AT_ONCE) {
                online.extend(ask(self, some, patience).await?);
            }
            Ok(online)
        }
    }
}

impl<L: ChannelLayer + ?Sized> UsersExt for L {}

async fn send<L: ChannelLayer + ?Sized>(
    layer: &L,
    user: &str,
    message: Message,
    purpose: Purpose,
) -> Result<SendReport> {
    let report = layer.group_send(&Audience::from(user_group(user)?), message).await?;
    if report.local.matched == 0 && matches!(report.remote, Remote::None | Remote::Processes(0)) {
        note(layer, user, purpose);
    }
    Ok(report)
}

async fn ask<L: ChannelLayer + ?Sized>(
    layer: &L,
    users: &[String],
    patience: Duration,
) -> Result<HashSet<String>> {
    let mut answers = layer.open(MailboxOptions::default().with_capacity(ANSWERS)).await?;
    let (mut online, mut unsure) = (HashSet::new(), 0);
    for user in users {
        let question =
            Message::new(PROBE).with("reply_to", answers.channel().as_str()).with("user", user.as_str());
        let report = layer.group_send(&Audience::from(user_group(user)?), question).await?;
        match report.remote {
            _ if report.local.matched > 0 => _ = online.insert(user.clone()),
            Remote::None | Remote::Processes(0) => {}
            _ => unsure += 1,
        }
    }
    let mut time_out = pin!(sleep(patience));
    while unsure > 0 {
        let answer = tokio::select! {
            answer = answers.recv() => answer,
            () = &mut time_out => break,
        };
        let user = answer.get("user").and_then(Value::as_str).unwrap_or_default();
        if users.iter().any(|asked| asked == user) && online.insert(user.to_owned()) {
            unsure -= 1;
        }
    }
    Ok(online)
}

/// Returns the group of a user. Any id has one.
pub(super) fn user_group(user: &str) -> Result<GroupName> {
    Ok(GroupName::encode(PREFIX, user)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_distinct_groups() {
        let (long, longer) = ("汉".repeat(200), "汉".repeat(201));
        let users = ["a", "A", "_61", "a b", "a_20b", "", "汉", &long, &longer];
        let names: HashSet<_> = users.iter().map(|user| user_group(user).unwrap()).collect();
        assert_eq!(names.len(), users.len());
    }
}
