//! The documentation's `EchoConsumer` on a channel layer of its own.

use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer, registry::Registry};
use ws_consumer::{
    Application, ConnectionOptions, Consumer, Frame, NoEvents, Result, Socket, consumer, testing::TestApp,
};

struct Echo;
impl Consumer for Echo {
    type Event = NoEvents;
    const GROUPS: &'static [&'static str] = &["echoes"];
    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        socket.send(frame).await
    }
}
fn application(layer: impl ChannelLayer) -> impl Application {
    ConnectionOptions::new().layer(layer).around(consumer(|| Echo))
}

#[tokio::test(start_paused = true)]
async fn a_consumer_has_its_own_layer() {
    let layers = Registry::default();
    layers.set("echo_alias", MemoryLayer::default());
    let layer = layers.layer("echo_alias").await.unwrap();
    let app = TestApp::new(application(layer.clone()));
    let mut client = app.websocket("/");
    client.connect().await.unwrap();
    client.send_to("hello").await;
    client.assert_sent("hello").await;
    let elsewhere = app.layer().group_send_text("echoes", "unheard").await.unwrap();
    let report = layer.group_send_text("echoes", "to all").await.unwrap();
    assert_eq!((elsewhere.local.matched, report.local.delivered), (0, 1));
    client.assert_sent("to all").await;
}
