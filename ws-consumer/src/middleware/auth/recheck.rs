//! How long somebody is who they are.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{self, Poll},
    time::Duration,
};

use http::Extensions;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{Authenticator, Current, Identity, UNAUTHENTICATED, login};
use crate::{
    application::Application,
    error::Result,
    frame::Close,
    middleware::session::Session,
    socket::Context,
    wire::{Connection, Running},
};

/// When a login ends. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Lease(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Locked to read or to write a number.
    until: Mutex<Option<Instant>>,
    changed: Notify,
}

impl Lease {
    pub(super) fn set(&self, until: Option<Instant>) {
        *self.0.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        self.0.changed.notify_one();
    }

    fn until(&self) -> Option<Instant> {
        *self.0.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ended(&self) {
        loop {
            let until = self.until();
            let end = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = end => return,
                () = self.0.changed.notified() => {}
            }
        }
    }
}

/// Runs `inner` until its user's time is over.
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
        (Some(interval), Some(id)) => Some(Subject { id, interval, extensions: kept(extensions) }),
        _ => None,
    };
    let link = context.connection().clone();
    let watch = Box::pin(watch(lease, authenticator, subject));
    Box::pin(Held { inner: inner.call(context), watch: Some(watch), link })
}

/// Of all that a scope holds, what it takes to ask again.
fn kept(extensions: &Extensions) -> Extensions {
    let mut kept = Extensions::new();
    if let Some(session) = extensions.get::<Session>() {
        kept.insert(session.clone());
    }
    if let Some(store) = extensions.get::<super::Store>() {
        kept.insert(store.clone());
    }
    kept
}

/// Who is asked about again and again.
struct Subject {
    id: String,
    interval: Duration,
    extensions: Extensions,
}

/// Why a connection has to end.
async fn watch<A: Authenticator>(lease: Lease, authenticator: Arc<A>, subject: Option<Subject>) -> Close {
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

impl Subject {
    async fn is_gone<A: Authenticator>(&self, authenticator: &A) {
        loop {
            sleep(self.interval).await;
            match self.is_still(authenticator).await {
                Ok(true) => {}
                Ok(false) => return,
                // A store that is out of reach for a moment should not throw everybody out.
                Err(error) => {
                    tracing::warn!(error = %error.causes(), "nobody can tell whether a user is still there")
                }
            }
        }
    }

    async fn is_still<A: Authenticator>(&self, authenticator: &A) -> Result<bool> {
        if self.extensions.get::<Session>().is_some_and(|session| session.id().is_some()) {
            return Ok(login::still(authenticator, &self.extensions).await?.as_ref() == Some(&self.id));
        }
        Ok(authenticator.by_id(&self.id).await?.is_some())
    }
}

pub(super) fn unauthenticated(reason: &str) -> Close {
    Close::new(UNAUTHENTICATED, reason)
}

struct Held {
    inner: Running,
    /// Gone once it has told.
    watch: Option<Pin<Box<dyn Future<Output = Close> + Send>>>,
    link: Arc<Connection>,
}

impl Future for Held {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Result<()>> {
        if let Poll::Ready(outcome) = self.inner.as_mut().poll(cx) {
            return Poll::Ready(outcome);
        }
        let Some(watch) = &mut self.watch else { return Poll::Pending };
        let Poll::Ready(close) = watch.as_mut().poll(cx) else { return Poll::Pending };
        self.watch = None;
        tracing::info!(reason = close.reason, "closing a client");
        // Fails only if it has ended already.
        let _ended = self.link.close(close);
        // It sees the end now.
        self.inner.as_mut().poll(cx)
    }
}
