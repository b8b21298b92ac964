//! Real servers, for the conformance suite.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use channel_layer::{
    ChannelLayer, LayerConfig,
    conformance::{Case, Harness, Residue, Timing, case},
};
use channel_layer_redis::{RedisConfig, RedisLayer};
use tokio::sync::OnceCell;

use super::{
    proxy::{Manners, Proxy},
    server::{Server, cli},
};

/// The size limit of the layers: above the largest message of the suite, and small enough to be fast.
const MAX_MESSAGE: usize = 2 << 20;

/// The cases that depend most on the topology: encoding, sharing, failures and residue.
const SMOKE: [&str; 7] = [
    "groups_span_processes",
    "remote_union_members_hear_once",
    "closing_leaves_no_residue",
    "values_arrive_at_a_peer",
    "values_arrive_on_a_remote_name",
    "members_survive_a_severance",
    "size_limit_of_groups",
];

/// A selection of the suite that takes seconds.
pub(crate) fn smoke() -> Vec<Case> {
    SMOKE.iter().map(|name| case(name).expect("a case of the suite")).collect()
}

/// Whether a case can run on a [`Corner`] of shared servers: it has no faults, and counts no connections.
pub(crate) fn without_faults(case: &Case) -> bool {
    !["outages", "residue"].contains(&case.area)
}

pub(crate) fn one_host(options: &str) -> (Server, String) {
    let server = Server::start();
    let address = server.address() + options;
    (server, address)
}

pub(crate) fn two_hosts(options: &str) -> ([Server; 2], String) {
    let servers = [Server::start(), Server::start()];
    let [one, two] = &servers;
    let address = format!("redis://127.0.0.1:{},127.0.0.1:{}/0{options}", one.port, two.port);
    (servers, address)
}

/// The servers of one test. Two layers on them, each with its connections, represent two processes.
pub(crate) struct Redis<T> {
    start: fn() -> (T, String),
    running: OnceLock<(T, String)>,
    /// The proxies between the layers and their hosts.
    proxies: OnceCell<Vec<Proxy>>,
    size_limit: usize,
}

/// A prefix on shared servers.
pub(crate) struct Corner {
    address: String,
    prefix: String,
}

impl<T> Redis<T> {
    /// Servers whose address has the form `redis://127.0.0.1:PORT,127.0.0.1:PORT/...`.
    pub(crate) fn new(start: fn() -> (T, String)) -> Self {
        Self { start, running: OnceLock::new(), proxies: OnceCell::new(), size_limit: MAX_MESSAGE }
    }

    /// The ports of the servers, with the text around them in the address.
    fn hosts(&self) -> (&str, Vec<u16>, &str) {
        let (_, address) = self.running.get_or_init(self.start);
        let (head, rest) = address.split_once("://").expect("an address as promised");
        let (hosts, rest) = rest.split_once('/').expect("an address as promised");
        let port = |host: &str| host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        (head, hosts.split(',').map(|host| port(host).expect("a port")).collect(), rest)
    }

    async fn open(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
        let (head, ports, rest) = self.hosts();
        let start = async || {
            let mut proxies = Vec::new();
            for port in &ports {
                proxies.push(Proxy::to(*port).await);
            }
            proxies
        };
        let proxies = self.proxies.get_or_init(start).await;
        let hosts: Vec<_> = proxies.iter().map(|proxy| format!("127.0.0.1:{}", proxy.port)).collect();
        let address: RedisConfig =
            format!("{head}://{}/{rest}", hosts.join(",")).parse().expect("a valid address");
        open(address, config).await
    }

    /// Whether there is a proxy to change its behaviour.
    fn set(&self, manners: Manners) -> bool {
        let proxies = self.proxies.get();
        proxies.into_iter().flatten().for_each(|proxy| proxy.set(manners));
        proxies.is_some()
    }
}

impl Redis<Server> {
    /// Mode core with encryption, which expands three bytes to four.
    pub(crate) fn encrypted() -> Self {
        let start = || one_host("?mode=core&symmetric_encryption_keys=secret&random_prefix_length=0");
        Self { size_limit: MAX_MESSAGE / 4 * 3, ..Self::new(start) }
    }
}

impl Corner {
    pub(crate) fn new(address: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("corner-{}.", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { address: address.to_owned(), prefix }
    }

    async fn open(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
        let address: RedisConfig = self.address.parse().expect("a valid address");
        open(address.with_prefix(&self.prefix), config).await
    }
}

async fn open(address: RedisConfig, config: LayerConfig) -> Arc<dyn ChannelLayer> {
    // A linger that is shorter than the deadlines of tests.
    let linger = Duration::from_millis(200);
    let address = address.with_layer_config(config).with_max_message(MAX_MESSAGE).with_linger(linger);
    Arc::new(RedisLayer::open(address).await.expect("Redis is up"))
}

/// Timings of a server that counts milliseconds.
fn timing() -> Timing {
    let second = Duration::from_secs(1);
    Timing::real().with_expiries(second, second).with_resolution(Duration::from_millis(300))
}

/// The state of one server, without the connection of the query.
fn held(port: u16) -> Residue {
    let lines = |args: &[&str]| cli(port, args).lines().filter(|line| !line.is_empty()).count();
    Residue {
        connections: lines(&["client", "list"]) - 1,
        subscriptions: lines(&["pubsub", "channels"]) + lines(&["pubsub", "shardchannels"]),
        keys: cli(port, &["dbsize"]).parse().expect("a number"),
    }
}

#[async_trait]
impl<T: Send + Sync> Harness for Redis<T> {
    async fn layer(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
        self.open(config).await
    }

    async fn peer(&self, config: LayerConfig) -> Option<Arc<dyn ChannelLayer>> {
        Some(self.open(config).await)
    }

    async fn elapse(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn sever(&self) -> bool {
        self.set(Manners::Refuse)
    }

    async fn freeze(&self) -> bool {
        self.set(Manners::Stall)
    }

    async fn lose(&self) -> bool {
        self.set(Manners::Mute)
    }

    async fn mend(&self) -> bool {
        self.set(Manners::Pass)
    }

    async fn residue(&self) -> Option<Residue> {
        let sum = |all: Residue, one: Residue| Residue {
            connections: all.connections + one.connections,
            subscriptions: all.subscriptions + one.subscriptions,
            keys: all.keys + one.keys,
        };
        Some(self.hosts().1.into_iter().map(held).fold(Residue::default(), sum))
    }

    fn size_limit(&self) -> Option<usize> {
        Some(self.size_limit)
    }

    fn timing(&self) -> Timing {
        timing()
    }
}

/// Without faults, because the servers are shared. Cases with faults run on [`Redis`].
#[async_trait]
impl Harness for Corner {
    async fn layer(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
        self.open(config).await
    }

    async fn peer(&self, config: LayerConfig) -> Option<Arc<dyn ChannelLayer>> {
        Some(self.open(config).await)
    }

    async fn elapse(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn size_limit(&self) -> Option<usize> {
        Some(MAX_MESSAGE)
    }

    fn timing(&self) -> Timing {
        timing()
    }
}
