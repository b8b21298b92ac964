//! What the consumers of one test have done.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::sleep;

use super::timed;

/// Clones are the same.
#[derive(Clone, Default)]
pub struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub fn note(&self, what: impl Into<String>) {
        self.0.lock().expect("no test panics while it writes").push(what.into());
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().expect("no test panics while it writes").clone()
    }

    /// All of it, once it has so many entries.
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
