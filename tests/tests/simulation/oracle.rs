//! The messages that clients received, and those that they should have received.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use super::{CLIENTS, client, server::Said};

/// All observations of clients, in one order.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) connections: usize,
    /// Whether clients leave for good.
    pub(crate) stop: bool,
    messages: usize,
    heard: Vec<(Duration, usize, usize, Said)>,
    /// The connection that a client is on.
    current: BTreeMap<usize, usize>,
}

impl Log {
    pub(crate) fn connected(&mut self, id: usize) {
        self.connections += 1;
        self.current.insert(id, self.connections);
    }

    /// Returns a name that no other connection has.
    pub(crate) fn speaker(&self, id: usize) -> String {
        format!("{id}.{}", self.current[&id])
    }

    pub(crate) fn heard(&mut self, id: usize, said: Said) {
        self.messages += 1;
        let now = turmoil::sim_elapsed().expect("within a simulation");
        self.heard.push((now, id, self.current[&id], said));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.messages += other.messages;
    }

    /// A copy of all observations, to compare runs.
    pub(crate) fn story(&self) -> Vec<String> {
        self.heard.iter().map(|heard| format!("{heard:?}")).collect()
    }

    /// Asserts the guarantees: at most once, in the order of each sender, and only within the room; and after `talk` all
    /// clients receive all messages again.
    pub(crate) fn check(&self, talk: Duration) -> Result<(), String> {
        let mut last: BTreeMap<(usize, &str), u64> = BTreeMap::new();
        let mut once = BTreeSet::new();
        for (at, id, connection, said) in &self.heard {
            let what = || format!("client {id} heard {said:?} at {at:?} on connection {connection}");
            if said.room != client::room(*id) {
                return Err(format!("{}: of another room", what()));
            }
            if !once.insert((*id, said.by.as_str(), said.n)) {
                return Err(format!("{}: twice", what()));
            }
            let before = last.insert((*connection, said.by.as_str()), said.n);
            if before.is_some_and(|before| before >= said.n) {
                return Err(format!("{}: out of order, after {before:?}", what()));
            }
        }
        self.check_that_all_hear(talk)
    }

    fn check_that_all_hear(&self, talk: Duration) -> Result<(), String> {
        let speaker = |said: &Said| said.by.split('.').next().and_then(|id| id.parse().ok());
        let late = self.heard.iter().filter(|(at, ..)| *at >= talk);
        let hears: BTreeSet<(usize, usize)> =
            late.filter_map(|(_, id, _, said)| Some((*id, speaker(said)?))).collect();
        for id in 0..CLIENTS {
            for other in (0..CLIENTS).filter(|other| client::room(*other) == client::room(id)) {
                if !hears.contains(&(id, other)) {
                    return Err(format!(
                        "client {id} hears nothing of client {other} after all is well again"
                    ));
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections heard {} messages", self.connections, self.messages)
    }
}
