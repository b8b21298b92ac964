//! An application with a guard in front.

use std::{
    pin::Pin,
    sync::Arc,
    task::{self, Poll, ready},
    time::Duration,
};

use tokio::time::timeout;

use super::guard::{Guard, GuardRequest};
use crate::{application::Application, error::Result, scope::Scope, socket::Context, wire::Running};

/// The time limit for a guard's work on an answer, the same as for an application's decision.
const FINISH: Duration = Duration::from_secs(10);

/// See [`Guard::around`].
pub(super) struct Guarded<G> {
    shared: Arc<Shared<G>>,
}

struct Shared<G> {
    guard: G,
    inner: Arc<dyn Application>,
}

impl<G: Guard> Guarded<G> {
    pub(super) fn new(guard: G, inner: impl Application) -> Self {
        Self { shared: Arc::new(Shared { guard, inner: Arc::new(inner) }) }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<G: Guard> Application for Guarded<G> {
    fn call(&self, context: Context) -> Running {
        Box::pin(Passage::Door(Box::pin(admit(self.shared.clone(), context))))
    }

    fn claims(&self, scope: &Scope) -> bool {
        self.shared.inner.claims(scope)
    }

    fn uses_ambient_credentials(&self) -> bool {
        let Shared { guard, inner } = &*self.shared;
        let acts = guard.uses_ambient_credentials() || inner.uses_ambient_credentials();
        acts && !guard.checks_origin()
    }

    fn uses_ambient_credentials_at(&self, scope: &Scope) -> bool {
        let Shared { guard, inner } = &*self.shared;
        let acts = guard.uses_ambient_credentials() || inner.uses_ambient_credentials_at(scope);
        acts && !guard.checks_origin()
    }
}

/// The application, once the client was let pass; nothing if it was refused.
async fn admit<G: Guard>(shared: Arc<Shared<G>>, mut context: Context) -> Result<Option<Running>> {
    let link = context.connection().clone();
    let admitted = shared.guard.admit(&mut GuardRequest::from_socket(&mut context, &link)).await;
    match admitted {
        Ok(()) => {
            if !context.is_websocket() {
                finish_later(shared.clone(), &context);
            }
            Ok(Some(shared.guard.accompany(context, &shared.inner)))
        }
        Err(refuse) => context.refuse(refuse).await.map(|()| None),
    }
}

/// The answer to a plain request waits for the guard, as it does behind a layer.
fn finish_later<G: Guard>(shared: Arc<Shared<G>>, context: &Context) {
    let extensions = context.scope().extensions.clone();
    context.connection().on_finish(Box::new(|status| {
        Box::pin(async move {
            if timeout(FINISH, shared.guard.finish(&extensions, status)).await.is_err() {
                tracing::warn!("a guard was not done with an answer in time");
            }
        })
    }));
}

/// By hand: what led through the door is freed there, and a connection's life costs no more than a pointer.
enum Passage {
    Door(Pin<Box<dyn Future<Output = Result<Option<Running>>> + Send>>),
    Inside(Running),
}

impl Future for Passage {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Result<()>> {
        loop {
            match &mut *self {
                Self::Inside(running) => return running.as_mut().poll(cx),
                Self::Door(door) => match ready!(door.as_mut().poll(cx))? {
                    Some(running) => *self = Self::Inside(running),
                    None => return Poll::Ready(Ok(())),
                },
            }
        }
    }
}
