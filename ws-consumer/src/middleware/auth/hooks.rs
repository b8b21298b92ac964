//! The application's hooks of logins and logouts: Django's signals `user_logged_in` and `user_logged_out`.

use std::{pin::Pin, sync::Arc};

use http::Extensions;

use super::user::{Current, Identity};
use crate::error::Result;

type HookFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
type LoginHook<U> = Arc<dyn Fn(Arc<U>, Extensions) -> HookFuture + Send + Sync>;

/// The rules of an [`Auth`](super::Auth) for logins, which scopes and requests share if there are any.
pub(super) struct LoginRules<U> {
    logged_in: Vec<LoginHook<U>>,
    logged_out: Vec<LoginHook<U>>,
    /// Whether an accepted socket may log in.
    pub(super) on_open_sockets: bool,
}

impl<U: Identity> LoginRules<U> {
    pub(super) fn add_login<F>(&mut self, hook: impl Fn(Arc<U>, Extensions) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.logged_in.push(Arc::new(move |user, extensions| Box::pin(hook(user, extensions))));
    }

    pub(super) fn add_logout<F>(&mut self, hook: impl Fn(Arc<U>, Extensions) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.logged_out.push(Arc::new(move |user, extensions| Box::pin(hook(user, extensions))));
    }

    /// Calls the hooks in turn, until one fails.
    async fn call_login(&self, user: &Arc<U>, extensions: &Extensions) -> Result<()> {
        for hook in &self.logged_in {
            hook(user.clone(), extensions.clone()).await?;
        }
        Ok(())
    }

    /// Calls all hooks in turn, and returns the first error.
    async fn call_logout(&self, user: &Arc<U>, extensions: &Extensions) -> Result<()> {
        let mut outcome = Ok(());
        for hook in &self.logged_out {
            outcome = outcome.and(hook(user.clone(), extensions.clone()).await);
        }
        outcome
    }
}

impl<U> Default for LoginRules<U> {
    fn default() -> Self {
        Self { logged_in: Vec::new(), logged_out: Vec::new(), on_open_sockets: false }
    }
}

impl<U> Clone for LoginRules<U> {
    fn clone(&self) -> Self {
        let (logged_in, logged_out) = (self.logged_in.clone(), self.logged_out.clone());
        Self { logged_in, logged_out, on_open_sockets: self.on_open_sockets }
    }
}

/// The rules of the guards with this type of user, in the extensions of a scope or request. The innermost guard's are first.
struct SharedRules<U>(Vec<Arc<LoginRules<U>>>);

impl<U> Clone for SharedRules<U> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The hooks of logouts of all guards, the innermost guard's first. Without the types of the users, which a logout over HTTP
/// does not name.
#[derive(Clone)]
struct LogoutRules(Vec<Arc<dyn LogoutHooks>>);

trait LogoutHooks: Send + Sync {
    /// Calls the hooks with the user of these extensions, if there is one.
    fn call<'a>(
        &'a self,
        extensions: &'a Extensions,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;
}

impl<U: Identity> LogoutHooks for LoginRules<U> {
    fn call<'a>(
        &'a self,
        extensions: &'a Extensions,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        Box::pin(async move {
            match extensions.get::<Current<U>>() {
                Some(Current(user)) => self.call_logout(user, extensions).await,
                None => Ok(()),
            }
        })
    }
}

/// Shares the rules of a guard with the calls of the application. A guard that stands twice counts once.
pub(super) fn share<U: Identity>(rules: &Arc<LoginRules<U>>, extensions: &mut Extensions) {
    let SharedRules(outer) = extensions.get_or_insert_with(|| SharedRules::<U>(Vec::new()));
    if outer.iter().any(|known| Arc::ptr_eq(known, rules)) {
        return;
    }
    outer.insert(0, rules.clone());
    if !rules.logged_out.is_empty() {
        let LogoutRules(outer) = extensions.get_or_insert_with(|| LogoutRules(Vec::new()));
        outer.insert(0, rules.clone());
    }
}

/// Whether an accepted socket may log in, as the innermost guard has it.
pub(super) fn allows_open_sockets<U: Identity>(extensions: &Extensions) -> bool {
    shared_rules::<U>(extensions).first().is_some_and(|rules| rules.on_open_sockets)
}

/// Calls the hooks in turn, until one fails.
pub(super) async fn logged_in<U: Identity>(user: &Arc<U>, extensions: &Extensions) -> Result<()> {
    for rules in shared_rules::<U>(extensions) {
        rules.call_login(user, extensions).await?;
    }
    Ok(())
}

/// For a user that the extensions do not name any more.
pub(super) async fn logged_out<U: Identity>(user: &Arc<U>, extensions: &Extensions) -> Result<()> {
    let mut outcome = Ok(());
    for rules in shared_rules::<U>(extensions) {
        outcome = outcome.and(rules.call_logout(user, extensions).await);
    }
    outcome
}

/// For the users that the extensions name.
pub(super) async fn request_logged_out(extensions: &Extensions) -> Result<()> {
    let mut outcome = Ok(());
    for hooks in extensions.get::<LogoutRules>().iter().flat_map(|LogoutRules(hooks)| hooks) {
        outcome = outcome.and(hooks.call(extensions).await);
    }
    outcome
}

fn shared_rules<U: Identity>(extensions: &Extensions) -> &[Arc<LoginRules<U>>] {
    extensions.get::<SharedRules<U>>().map_or(&[], |SharedRules(rules)| rules)
}
