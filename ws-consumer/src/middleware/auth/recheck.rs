//! The end of a login while its connection is open: by its lifetime, or by repeated checks of the user.

use std::{
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use http::Extensions;
use tokio::time::sleep;

use super::{
    lease::Lease,
    login::stored_user_id,
    user::{Authenticator, Current, Identity, UNAUTHENTICATED},
};
use crate::{
    application::Application,
    error::Result,
    frame::Close,
    middleware::session::{Session, Store},
    socket::Context,
    wire::{Connection, Running},
};

/// Runs `inner` until the login ends.
pub(super) fn hold<A: Authenticator>(
    authenticator: Arc<A>,
    recheck: Option<Duration>,
    context: Context,
    inner: &Arc<dyn Application>,
) -> Running {
    let extensions = &context.scope().extensions;
    let lease = extensions.get::<Lease>().cloned().unwrap_or_default();
    let was = extensions.get::<Current<A::User>>().map(|Current(user)| user.id());
    let subject = match (recheck, was) {
        (Some(interval), Some(id)) => Some(CheckedUser { id, interval, extensions: copied(extensions) }),
        _ => None,
    };
    let connection = context.connection().clone();
    let watch = Box::pin(watch(lease, authenticator, subject));
    Box::pin(TimedLogin { inner: inner.call(context), watch: Some(watch), connection })
}

/// Copies the values that a check needs out of a scope.
fn copied(extensions: &Extensions) -> Extensions {
    let mut copy = Extensions::new();
    if let Some(session) = extensions.get::<Session>() {
        copy.insert(session.clone());
    }
    if let Some(store) = extensions.get::<Store>() {
        copy.insert(store.clone());
    }
    copy
}

/// The user of the repeated checks.
struct CheckedUser {
    id: String,
    interval: Duration,
    extensions: Extensions,
}

/// Waits for the end of the login, and returns the close.
async fn watch<A: Authenticator>(lease: Lease, authenticator: Arc<A>, subject: Option<CheckedUser>) -> Close {
    let gone = async {
        match subject {
            Some(subject) => subject.is_gone(&*authenticator).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = lease.ended() => unauthenticated("authentication expired"),
        () = gone => unauthenticated("not authenticated any more"),
    }
}

impl CheckedUser {
    async fn is_gone<A: Authenticator>(&self, authenticator: &A) {
        loop {
            sleep(self.interval).await;
            match self.is_still(authenticator).await {
                Ok(true) => {}
                Ok(false) => return,
                // An outage of the store should not close every connection.
                Err(error) => {
                    tracing::warn!(error = %error.causes(), "a user could not be checked")
                }
            }
        }
    }

    async fn is_still<A: Authenticator>(&self, authenticator: &A) -> Result<bool> {
        if self.extensions.get::<Session>().is_some_and(|session| session.id().is_some()) {
            return Ok(stored_user_id(authenticator, &self.extensions).await?.as_ref() == Some(&self.id));
        }
        Ok(authenticator.by_id(&self.id).await?.is_some())
    }
}

pub(super) fn unauthenticated(reason: &str) -> Close {
    Close::new(UNAUTHENTICATED, reason)
}

struct TimedLogin {
    inner: Running,
    /// `None` once the login has ended.
    watch: Option<Pin<Box<dyn Future<Output = Close> + Send>>>,
    connection: Arc<Connection>,
}

impl Future for TimedLogin {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Result<()>> {
        if let Poll::Ready(outcome) = self.inner.as_mut().poll(cx) {
            return Poll::Ready(outcome);
        }
        let Some(watch) = &mut self.watch else { return Poll::Pending };
        let Poll::Ready(close) = watch.as_mut().poll(cx) else { return Poll::Pending };
        self.watch = None;
        tracing::info!(reason = close.reason, "closing a client");
        // Fails only if the connection has ended already.
        let _ended = self.connection.close(close);
        // The application observes the close in this poll.
        self.inner.as_mut().poll(cx)
    }
}
