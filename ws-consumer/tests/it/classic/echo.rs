//! The echo of the documentation's page on consumers.

use ws_consumer::{Consumer, Frame, NoEvents, Result, Socket, consumer, testing::TestApp};

struct Echo;

impl Consumer for Echo {
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        socket.send(frame).await
    }
}

#[tokio::test(start_paused = true)]
async fn frames_come_back() {
    let mut client = TestApp::new(consumer(|| Echo)).websocket("/");
    client.connect().await.unwrap();
    client.send_to("hello").await;
    client.assert_sent("hello").await;
    client.send_to(b"\0\xff".to_vec()).await;
    client.assert_sent(&b"\0\xff"[..]).await;
    client.disconnect().await;
}
