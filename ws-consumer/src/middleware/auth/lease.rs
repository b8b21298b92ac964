//! The login of a connection, and the time for which it holds.

use std::sync::{Arc, Mutex};

use tokio::{sync::Notify, time::Instant};

use crate::sync::lock;

/// The login of a connection, while its user changes. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Lease(Arc<LeaseState>);

#[derive(Default)]
struct LeaseState {
    /// Locked to read or to write it.
    login: Mutex<Option<ConnectionLogin>>,
    /// Only one task waits.
    changed: Notify,
}

/// The user that a connection has at a time.
#[derive(Clone)]
pub(super) struct ConnectionLogin {
    pub(super) user: Arc<str>,
    pub(super) source: LoginSource,
    /// The end. `None` for a login that lasts as long as the connection.
    pub(super) until: Option<Instant>,
}

/// The evidence of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginSource {
    Session,
    Token,
}

impl Lease {
    pub(super) fn set(&self, login: Option<ConnectionLogin>) {
        *lock(&self.0.login) = login;
        self.0.changed.notify_one();
    }

    pub(super) fn login(&self) -> Option<ConnectionLogin> {
        lock(&self.0.login).clone()
    }

    /// Waits for a change since the last call.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
