//! A record of a test's consumers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::sleep;

use super::timed;

/// A shared record: clones write to the same.
#[derive(Clone, Default)]
pub struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub fn note(&self, what: impl Into<String>) {
        self.0.lock().expect("no test panics while it writes").push(what.into());
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().expect("no test panics while it writes").clone()
    }

    /// Waits for this number of entries, and returns all.
    pub async fn grows_to(&self, entries: usize) -> Vec<String> {
        timed(async {
            while self.all().len() < entries {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        self.all()
    }
}
