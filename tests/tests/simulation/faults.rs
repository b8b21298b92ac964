//! The faults and their times.

use std::collections::BTreeSet;

use fastrand::Rng;
use turmoil::Sim;

use super::{CLIENTS, client};

/// Chooses faults; each client has one at a time.
pub(crate) struct Faults {
    random: Rng,
    partitioned: BTreeSet<usize>,
    held: BTreeSet<usize>,
    crashed: BTreeSet<usize>,
}

impl Faults {
    pub(crate) fn new(random: Rng) -> Self {
        let none = BTreeSet::new;
        Self { random, partitioned: none(), held: none(), crashed: none() }
    }

    /// Begins or ends a fault, about twice in a second.
    pub(crate) fn maybe(&mut self, sim: &mut Sim<'_>) {
        if self.random.u8(..50) != 0 {
            return;
        }
        let id = self.random.usize(..CLIENTS);
        if self.end(sim, id) {
            return;
        }
        let (client, kind) = (client::name(id), self.random.u8(..4));
        match kind {
            0 => {
                sim.crash(client);
                self.crashed.insert(id);
            }
            1 => {
                sim.hold("server", client);
                self.held.insert(id);
            }
            _ => {
                sim.partition("server", client);
                self.partitioned.insert(id);
            }
        }
    }

    /// Ends all faults.
    pub(crate) fn heal(&mut self, sim: &mut Sim<'_>) {
        for id in 0..CLIENTS {
            self.end(sim, id);
        }
    }

    /// Ends a client's fault, and returns whether there was one.
    fn end(&mut self, sim: &mut Sim<'_>, id: usize) -> bool {
        let client = client::name(id);
        if self.crashed.remove(&id) {
            sim.bounce(client);
        } else if self.held.remove(&id) {
            sim.release("server", client);
        } else if self.partitioned.remove(&id) {
            sim.repair("server", client);
        } else {
            return false;
        }
        true
    }
}
