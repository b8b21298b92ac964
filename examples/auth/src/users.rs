//! The users: in production a table, with passwords hashed by argon2.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ws_consumer::{
    Result,
    middleware::{Authenticator, Identity, Proof, Token},
};

pub(crate) const NAMES: [&str; 3] = ["ann", "bob", "eve"];

/// A user who has logged in.
pub(crate) struct User {
    pub(crate) name: String,
    epoch: u64,
}

impl Identity for User {
    fn id(&self) -> String {
        self.name.clone()
    }

    /// Sessions of an earlier epoch are invalid.
    fn fingerprint(&self) -> Option<Vec<u8>> {
        Some(self.epoch.to_be_bytes().to_vec())
    }
}

/// All users, shared by clones.
#[derive(Clone)]
pub(crate) struct Users {
    /// The number of times that each user was signed out everywhere.
    epochs: Arc<Mutex<HashMap<&'static str, u64>>>,
}

impl Default for Users {
    fn default() -> Self {
        Self { epochs: Arc::new(Mutex::new(NAMES.map(|name| (name, 0)).into())) }
    }
}

impl Users {
    /// The user with this name and password.
    pub(crate) fn check(&self, name: &str, password: &str) -> Option<User> {
        let right = Token::new(password).is(format!("{name}-secret"));
        self.find(name).filter(|_| right)
    }

    /// Ends all sessions of a user.
    pub(crate) fn sign_out_everywhere(&self, name: &str) {
        if let Some(epoch) = self.epochs().get_mut(name) {
            *epoch += 1;
        }
    }

    fn find(&self, name: &str) -> Option<User> {
        self.epochs().get(name).map(|epoch| User { name: name.to_owned(), epoch: *epoch })
    }

    fn epochs(&self) -> MutexGuard<'_, HashMap<&'static str, u64>> {
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Authenticator for Users {
    type User = User;

    async fn by_id(&self, id: &str) -> Result<Option<Proof<User>>> {
        Ok(self.find(id).map(Proof::new))
    }
}
