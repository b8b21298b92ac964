//! What the layer, its links and its readers share: the hub, the names, and what is under way.

use std::{
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use channel_layer::{
    Deliveries, Error, EventSource, GroupName, Message, Result,
    hub::{GroupObserver, Hub},
};

use super::{
    echo::{Own, Table},
    order::Unions,
};
use crate::{
    codec::{self, Header, Target},
    config::RedisConfig,
    keys::Keys,
    ring,
    stats::{self, Counters},
    supervisor::Link,
};

#[derive(Debug)]
pub(super) struct Bus {
    pub(super) config: Arc<RedisConfig>,
    pub(super) counters: Arc<Counters>,
    pub(super) hub: Hub,
    pub(super) keys: Keys,
    /// The name of this process: `node` in hexadecimal.
    pub(super) node_name: String,
    pub(super) node: u64,
    /// Group messages of our own that will come back.
    pub(super) echoes: Table<Own, Deliveries>,
    /// Probes, and requests to other processes.
    pub(super) asked: Table<(), ()>,
    /// Held for a set access, by the connections' tasks: several links, one memory.
    pub(super) unions: Mutex<Unions>,
    /// Numbers the envelopes. Relaxed: they have to differ, and nothing else.
    numbers: AtomicU64,
    /// The links own the bus, so it knows them weakly. Set once, before the first message can come in.
    links: OnceLock<Weak<[Link]>>,
    pub(super) events: EventSource,
}

impl Bus {
    pub(super) fn new(config: Arc<RedisConfig>) -> Arc<Self> {
        let node = fastrand::u64(..);
        let bus = Arc::new(Self {
            keys: Keys::new(&config.prefix),
            events: EventSource::new(config.places.len()),
            config,
            counters: stats::counters(),
            hub: Hub::new(),
            node_name: format!("{node:016x}"),
            node,
            echoes: Table::default(),
            asked: Table::default(),
            unions: Mutex::default(),
            numbers: AtomicU64::new(1),
            links: OnceLock::new(),
        });
        bus.hub.observe(Arc::new(Observer(Arc::downgrade(&bus))));
        bus
    }

    pub(super) fn set_links(&self, links: &Arc<[Link]>) {
        self.links.set(Arc::downgrade(links)).expect("a layer sets its links once");
    }

    /// The links, for as long as the layer lives.
    pub(super) fn links(&self) -> Option<Arc<[Link]>> {
        self.links.get()?.upgrade()
    }

    pub(super) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    /// An envelope of ours.
    pub(super) fn envelope(
        &self,
        number: u64,
        target: &Target,
        message: Option<&Message>,
    ) -> Result<Vec<u8>> {
        let lifetime = self.config.layer.expiry;
        let header = Header { publisher: self.node, number, sequence: 0, lifetime };
        let bytes = codec::encode(&header, target, message)?;
        self.check_size(bytes.len())?;
        Ok(bytes)
    }

    pub(super) fn check_size(&self, bytes: usize) -> Result<()> {
        let most = self.config.max_message;
        if bytes > most {
            let reason = format!("it takes {bytes} bytes on the wire, and {most} is the limit");
            return Err(Error::InvalidMessage(reason.into()));
        }
        Ok(())
    }

    /// How long a whole call may take: its turn in the queue, and its way.
    pub(super) fn patience(&self) -> Duration {
        self.config.timeout * 2
    }
}

/// The link that a name belongs to.
pub(super) fn link_of<'a>(links: &'a [Link], name: &str) -> &'a Link {
    &links[ring::host_of(name, links.len())]
}

/// Ends subscriptions with their groups. The hub owns it, so it owns nothing.
struct Observer(Weak<Bus>);

impl GroupObserver for Observer {
    fn group_emptied(&self, group: &GroupName) {
        let Some(bus) = self.0.upgrade() else { return };
        if let Some(links) = bus.links() {
            link_of(&links, group.as_str()).emptied(&bus.keys.group(group));
        }
    }
}
