//! What the modes that Django understands have in common.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use channel_layer::{Error, Result};
use tokio::sync::oneshot;

use crate::{config::RedisConfig, supervisor::Probe};

/// Messages of this process to itself, on a channel that Django does not know.
#[derive(Debug)]
pub(crate) struct Probes {
    channel: String,
    /// Numbers them. Relaxed: they have to differ, and nothing else.
    numbers: AtomicU64,
    /// Held for a map access, by callers and by the connections' tasks.
    waiting: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

impl Probes {
    pub(crate) fn new(prefix: &str, node: &str) -> Self {
        // `:` stands in no name, so no channel or group of Django's is called this.
        let channel = format!("{prefix}:probe:{node}");
        Self { channel, numbers: AtomicU64::new(1), waiting: Mutex::default() }
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    pub(crate) fn probe(&self) -> Probe {
        let number = self.numbers.fetch_add(1, Relaxed);
        let (sender, back) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, sender| !sender.is_closed());
        waiting.insert(number, sender);
        Probe { channel: self.channel.clone(), envelope: number.to_be_bytes().to_vec(), back }
    }

    /// True if it was one of ours.
    pub(crate) fn received(&self, channel: &[u8], payload: &[u8]) -> bool {
        if channel != self.channel.as_bytes() {
            return false;
        }
        let number = payload.try_into().map(u64::from_be_bytes).unwrap_or(0);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let Some(waiting) = waiting {
            let _ = waiting.send(()); // who asked may have gone
        }
        true
    }
}

/// 32 hexadecimal digits, as Python's `uuid4().hex`.
pub(crate) fn hex_id() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Backend(error.to_string().into()))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

pub(crate) fn check_size(config: &RedisConfig, bytes: usize) -> Result<()> {
    let most = config.max_message;
    if bytes > most {
        let reason = format!("it takes {bytes} bytes on the wire, and {most} is the limit");
        return Err(Error::InvalidMessage(reason.into()));
    }
    Ok(())
}
