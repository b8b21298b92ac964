//! An application and a layer, for any number of clients.

use std::{sync::Arc, time::Duration};

use channel_layer::{
    ChannelLayer, ChannelLayerExt, MemoryLayer,
    wrap::{Outage, Wrapped},
};

use super::{Broadcasts, HttpCommunicator, WebsocketCommunicator, host::TestHost, idle};
use crate::{application::Application, resume::Resume};

/// The application and the layer that the clients of one test share.
#[derive(Clone)]
pub struct TestApp {
    host: TestHost,
    /// The outage of a layer that was made here.
    outage: Option<Outage>,
}

impl TestApp {
    /// An application over a layer in memory, whose backend can be [taken away](Self::layer_lost).
    pub fn new(application: impl Application) -> Self {
        let outage = Outage::default();
        let layer = Wrapped::new(MemoryLayer::default(), outage.clone());
        Self { outage: Some(outage), ..Self::with_layer(application, layer) }
    }

    /// An application over any layer: one that records, one that loses messages, a real one. Its events reach the clients' applications.
    pub fn with_layer(application: impl Application, layer: impl ChannelLayer) -> Self {
        Self { host: TestHost::new(Arc::new(application), layer.into_shared(), None), outage: None }
    }

    /// Makes every WebSocket carry a resumable session, as with [`Protocols::resume`](crate::Protocols::resume) and a client that
    /// speaks [its protocol](crate::docs::transports): see [`WebsocketCommunicator::cut`].
    ///
    /// ```
    /// # use serde_json::json;
    /// # use ws_consumer::{Consumer, Frame, NoEvents, Result, Resume, Socket, consumer};
    /// # use ws_consumer::testing::{Reconnection, TestApp};
    /// # #[derive(Default)] struct Echo;
    /// # impl Consumer for Echo {
    /// #     type Event = NoEvents;
    /// #     const GROUPS: &'static [&'static str] = &["news"];
    /// # }
    /// # async fn test() {
    /// use channel_layer::ChannelLayerExt;
    ///
    /// let app = TestApp::new(consumer(Echo::default)).with_resume(Resume::default());
    /// let mut ann = app.websocket("/");
    /// ann.connect().await.unwrap();
    /// ann.cut().await;
    /// app.layer().group_send_text("news", "sent meanwhile").await.unwrap();
    /// assert_eq!(ann.resume().await.unwrap(), Reconnection::Complete);
    /// ann.assert_sent("sent meanwhile").await;
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test());
    /// ```
    pub fn with_resume(mut self, resume: Resume) -> Self {
        self.host = self.host.with_resume(resume);
        self
    }

    /// The layer.
    pub fn layer(&self) -> &Arc<dyn ChannelLayer> {
        self.host.layer()
    }

    /// Takes the layer's backend away for this time, and brings it back: consumers see
    /// [`Disconnected`](channel_layer::LayerEvent::Disconnected), then [`Reconnected`](channel_layer::LayerEvent::Reconnected) with this
    /// gap, and what they send meanwhile is refused. The time passes on the clock, which may be paused.
    ///
    /// To act during the outage, use [`outage`](Self::outage).
    ///
    /// # Panics
    /// With a layer of the test's own: it has its own outages.
    pub async fn layer_lost(&self, gap: Duration) {
        self.outage().begin();
        settle().await;
        tokio::time::sleep(gap).await;
        self.outage().end();
        settle().await;
    }

    /// The outage of the layer, to be begun and ended.
    ///
    /// ```
    /// # use ws_consumer::{Socket, testing::TestApp};
    /// # use channel_layer::{ChannelLayerExt, Message};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let app = TestApp::new(|mut socket: Socket| async move { socket.accept().await });
    /// app.outage().begin();
    /// assert!(app.layer().group_send_message("room", Message::new("hello")).await.is_err());
    /// app.outage().end();
    /// # }
    /// ```
    ///
    /// # Panics
    /// With a layer of the test's own.
    pub fn outage(&self) -> &Outage {
        self.outage
            .as_ref()
            .expect("a layer of the test's own: put a `channel_layer::wrap::Outage` around it")
    }

    /// A client that will ask for a WebSocket.
    ///
    /// # Panics
    /// When the path is invalid.
    pub fn websocket(&self, path: &str) -> WebsocketCommunicator {
        WebsocketCommunicator::with_host(self.host.clone(), path)
    }

    /// A client that will send a plain request.
    ///
    /// # Panics
    /// When the method or the path is invalid.
    pub fn http(&self, method: &str, path: &str) -> HttpCommunicator {
        HttpCommunicator::with_host(self.host.clone(), method, path)
    }

    /// Joins a group, to record its messages.
    ///
    /// # Panics
    /// When the name is invalid, or the layer fails.
    pub async fn broadcasts(&self, group: &str) -> Broadcasts {
        Broadcasts::listen(&**self.layer(), group).await
    }
}

/// Lets the application handle what has happened.
async fn settle() {
    if idle::is_paused() {
        idle::settle().await;
    } else {
        tokio::task::yield_now().await;
    }
}
