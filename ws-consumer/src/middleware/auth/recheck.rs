//! The end of a login while its connection is open: by its lifetime, or by repeated checks of the user.

use std::{
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use http::Extensions;
use tokio::time::{sleep, sleep_until};

use super::{
    lease::{ConnectionLogin, Lease, LoginSource},
    login::stored_user_id,
    user::{Authenticator, UNAUTHENTICATED},
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
    let checks = recheck.map(|interval| LoginChecks { interval, extensions: copied(extensions) });
    let connection = context.connection().clone();
    let watch = Box::pin(watch(lease, authenticator, checks));
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

/// The repeated checks of a connection's user.
struct LoginChecks {
    interval: Duration,
    extensions: Extensions,
}

/// Waits for the end of the login, whoever is logged in by then, and returns the close.
async fn watch<A: Authenticator>(lease: Lease, authenticator: Arc<A>, checks: Option<LoginChecks>) -> Close {
    loop {
        let login = lease.login();
        let expired = async {
            match login.as_ref().and_then(|login| login.until) {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let gone = async {
            match (&login, &checks) {
                (Some(login), Some(checks)) => checks.is_gone(&*authenticator, login).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            // First, so that no check of an earlier user counts.
            biased;
            () = lease.changed() => {}
            () = expired => return unauthenticated("authentication expired"),
            () = gone => return unauthenticated("not authenticated any more"),
        }
    }
}

impl LoginChecks {
    async fn is_gone<A: Authenticator>(&self, authenticator: &A, login: &ConnectionLogin) {
        loop {
            sleep(self.interval).await;
            match self.is_still(authenticator, login).await {
                Ok(true) => {}
                Ok(false) => return,
                // An outage of the store should not close every connection.
                Err(error) => {
                    tracing::warn!(error = %error.causes(), "a user could not be checked")
                }
            }
        }
    }

    async fn is_still<A: Authenticator>(&self, authenticator: &A, login: &ConnectionLogin) -> Result<bool> {
        // A session of another crate's middleware has no store here: its user is looked up only.
        if login.source == LoginSource::Session && self.extensions.get::<Store>().is_some() {
            let user = stored_user_id(authenticator, &self.extensions).await?;
            return Ok(user.as_deref() == Some(&*login.user));
        }
        Ok(authenticator.by_id(&login.user).await?.is_some())
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
