//! The conformance suite on a server.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use channel_layer::{
    ChannelLayer, LayerConfig,
    backbone::{HubLayer, HubOptions},
    conformance::{Harness, Residue, Timing},
};
use nats_layer::NatsBackbone;

use crate::server::{Clients, MAX_PAYLOAD, Server};

/// The server of one test, started by its first layer. Each layer has its connection, like a process.
#[derive(Default)]
pub(crate) struct Nats(OnceLock<Mutex<Server>>);

impl Nats {
    async fn open(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
        let address = self.with_server(|server| server.address());
        let backbone = NatsBackbone::new(&address).expect("a valid address");
        let options = HubOptions::new(config).with_shared_subscriptions(true);
        Arc::new(HubLayer::connect(backbone, options).await.expect("the server accepts clients"))
    }

    fn with_server<T>(&self, call: impl FnOnce(&mut Server) -> T) -> T {
        let server = self.0.get_or_init(|| Mutex::new(Server::start()));
        call(&mut server.lock().expect("no holder of this lock panics"))
    }
}

#[async_trait]
impl Harness for Nats {
    async fn layer(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
        self.open(config).await
    }

    async fn peer(&self, config: LayerConfig) -> Option<Arc<dyn ChannelLayer>> {
        Some(self.open(config).await)
    }

    async fn elapse(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    // Loses no message: the server stores none.
    async fn sever(&self) -> bool {
        self.with_server(|server| server.kill());
        true
    }

    async fn freeze(&self) -> bool {
        self.with_server(|server| server.freeze());
        true
    }

    async fn mend(&self) -> bool {
        self.with_server(|server| if server.is_running() { server.thaw() } else { server.restart() });
        true
    }

    async fn residue(&self) -> Option<Residue> {
        let Clients { connections, subscriptions } = self.with_server(|server| server.clients());
        Some(Residue { connections, subscriptions, keys: 0 })
    }

    fn size_limit(&self) -> Option<usize> {
        Some(MAX_PAYLOAD)
    }

    fn timing(&self) -> Timing {
        // Each process measures expiry by its clock.
        Timing::real().with_expiries(Duration::from_secs(1), Duration::from_secs(1))
    }
}
