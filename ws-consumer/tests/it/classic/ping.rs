//! A consumer that waits: the documentation's `PingConsumer`.

use std::time::Duration;

use tokio::time::sleep;
use ws_consumer::{
    Consumer, Frame, NoEvents, Result, Socket, consumer,
    testing::{TestApp, advance},
};

struct Ping;

impl Consumer for Ping {
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut Socket, _: Frame) -> Result<()> {
        sleep(Duration::from_secs(1)).await;
        socket.send_text("pong").await
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_takes_a_second() {
    let mut client = TestApp::new(consumer(|| Ping)).websocket("/");
    client.connect().await.unwrap();
    client.send_to("ping").await;
    client.refute_any_sent().await;
    advance(Duration::from_millis(999)).await;
    client.refute_any_sent().await;
    advance(Duration::from_millis(1)).await;
    client.assert_sent("pong").await;
}
