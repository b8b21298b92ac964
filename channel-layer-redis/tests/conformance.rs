//! The suite that every backend must pass, on real servers.

mod support;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use channel_layer::{
    ChannelLayer, LayerConfig,
    conformance::{Harness, Timing},
};
use channel_layer_redis::{RedisConfig, RedisLayer};
use support::server::Server;

/// The servers of one test. Two layers on them, each with connections of its own, stand for two processes.
struct Redis<T> {
    start: fn() -> (T, String),
    running: OnceLock<(T, String)>,
}

impl<T> Redis<T> {
    fn new(start: fn() -> (T, String)) -> Self {
        Self { start, running: OnceLock::new() }
    }

    async fn open(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
        let (_, address) = self.running.get_or_init(self.start);
        let config = address.parse::<RedisConfig>().expect("a valid address").with_layer_config(config);
        Arc::new(RedisLayer::open(config).await.expect("Redis is up"))
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

    fn timing(&self) -> Timing {
        // The server counts milliseconds, so a second is long.
        Timing::real().with_expiries(Duration::from_secs(1), Duration::from_secs(1))
    }
}

mod on_one_host {
    channel_layer::conformance_tests!(super::Redis::new(|| {
        let server = super::Server::start();
        let address = server.address();
        (server, address)
    }));
}

mod on_two_hosts {
    channel_layer::conformance_tests!(super::Redis::new(|| {
        let servers = [super::Server::start(), super::Server::start()];
        let [one, two] = &servers;
        let address = format!("redis://127.0.0.1:{},127.0.0.1:{}/0", one.port, two.port);
        (servers, address)
    }));
}
