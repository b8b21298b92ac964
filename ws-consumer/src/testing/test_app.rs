//! An application and a layer, for any number of clients.

use std::sync::Arc;

use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer};

use super::{Broadcasts, HttpCommunicator, WebsocketCommunicator};
use crate::application::Application;

/// The application and the layer that the clients of one test share.
#[derive(Clone)]
pub struct TestApp {
    application: Arc<dyn Application>,
    layer: Arc<dyn ChannelLayer>,
}

impl TestApp {
    /// An application over a layer in memory.
    pub fn new(application: impl Application) -> Self {
        Self::with_layer(application, MemoryLayer::default())
    }

    /// An application over any layer: one that records, one that loses messages, a real one.
    pub fn with_layer(application: impl Application, layer: impl ChannelLayer) -> Self {
        Self { application: Arc::new(application), layer: layer.into_shared() }
    }

    /// The layer.
    pub fn layer(&self) -> &Arc<dyn ChannelLayer> {
        &self.layer
    }

    /// A client that will ask for a WebSocket.
    ///
    /// # Panics
    /// When the path is invalid.
    pub fn websocket(&self, path: &str) -> WebsocketCommunicator {
        WebsocketCommunicator::new(self.application.clone(), path).with_layer(self.layer.clone())
    }

    /// A client that will send a plain request.
    ///
    /// # Panics
    /// When the method or the path is invalid.
    pub fn http(&self, method: &str, path: &str) -> HttpCommunicator {
        HttpCommunicator::new(self.application.clone(), method, path).with_layer(self.layer.clone())
    }

    /// Joins a group, to record its messages.
    ///
    /// # Panics
    /// When the name is invalid, or the layer fails.
    pub async fn broadcasts(&self, group: &str) -> Broadcasts {
        Broadcasts::listen(&*self.layer, group).await
    }
}
