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
    conformance::{Harness, Timing},
};
use channel_layer_redis::{RedisConfig, RedisLayer};
use tokio::sync::OnceCell;

use super::proxy::{Manners, Proxy};

/// The servers of one test. Two layers on them, each with connections of its own, stand for two processes.
pub(crate) struct Redis<T> {
    start: fn() -> (T, String),
    running: OnceLock<(T, String)>,
    /// The proxy between the layers and their one host, for tests that cut the connection.
    proxy: Option<OnceCell<Proxy>>,
}

/// A corner of servers that other tests use too: a prefix of its own.
pub(crate) struct Corner {
    address: String,
    prefix: String,
}

impl<T> Redis<T> {
    pub(crate) fn new(start: fn() -> (T, String)) -> Self {
        Self { start, running: OnceLock::new(), proxy: None }
    }

    /// One host, whose address is `redis://127.0.0.1:PORT/...`, that can be taken away.
    pub(crate) fn that_can_be_lost(start: fn() -> (T, String)) -> Self {
        Self { proxy: Some(OnceCell::new()), ..Self::new(start) }
    }

    fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()?.get()
    }

    async fn open(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
        let (_, address) = self.running.get_or_init(self.start);
        if let Some(proxy) = &self.proxy {
            let (head, rest) = address.split_once("127.0.0.1:").expect("an address as promised");
            let (port, rest) = rest.split_once('/').expect("an address as promised");
            let port = port.parse().expect("a port");
            let proxy = proxy.get_or_init(|| Proxy::to(port)).await;
            let address = format!("{head}127.0.0.1:{}/{rest}", proxy.port);
            return open(address.parse().expect("a valid address"), config).await;
        }
        open(address.parse().expect("a valid address"), config).await
    }
}

impl Corner {
    pub(crate) fn of(address: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("corner-{}.", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { address: address.to_owned(), prefix }
    }

    fn proxy(&self) -> Option<&Proxy> {
        None
    }

    async fn open(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
        let address: RedisConfig = self.address.parse().expect("a valid address");
        open(address.with_prefix(&self.prefix), config).await
    }
}

async fn open(address: RedisConfig, config: LayerConfig) -> Arc<dyn ChannelLayer> {
    Arc::new(RedisLayer::open(address.with_layer_config(config)).await.expect("Redis is up"))
}

macro_rules! harness {
    (impl[$($t:ident)?] $name:ty) => {
        #[async_trait]
        impl<$($t: Send + Sync)?> Harness for $name {
            async fn layer(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
                self.open(config).await
            }

            async fn peer(&self, config: LayerConfig) -> Option<Arc<dyn ChannelLayer>> {
                Some(self.open(config).await)
            }

            async fn begin_outage(&self) -> bool {
                let proxy = self.proxy();
                proxy.inspect(|proxy| proxy.set(Manners::Refuse)).is_some()
            }

            async fn end_outage(&self) {
                if let Some(proxy) = self.proxy() {
                    proxy.set(Manners::Pass);
                }
            }

            async fn elapse(&self, time: Duration) {
                tokio::time::sleep(time).await;
            }

            fn timing(&self) -> Timing {
                // The server counts milliseconds, so a second is long.
                Timing::real().with_expiries(Duration::from_secs(1), Duration::from_secs(1))
            }
        }
    };
}
harness!(impl[T] Redis<T>);
harness!(impl[] Corner);
