//! The echo of the documentation's `SyncConsumer`, whose hooks block: their code runs in a pool of threads.

use std::{thread, time::Duration};

use ws_consumer::{BlockingPool, Consumer, Frame, NoEvents, Result, Socket, consumer, testing::TestApp};

struct Echo(BlockingPool);

impl Consumer for Echo {
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let answer = self.0.run(|| blocking_answer(frame)).await?;
        socket.send(answer).await
    }
}

#[tokio::test(start_paused = true)]
async fn blocking_hooks_answer() {
    let pool = BlockingPool::new(2);
    let mut client = TestApp::new(consumer(move || Echo(pool.clone()))).websocket("/");
    client.connect().await.unwrap();
    client.send_to("hello").await;
    client.assert_sent("hello").await;
}

/// Blocks its thread, as a synchronous driver of a database does.
fn blocking_answer(frame: Frame) -> Frame {
    thread::sleep(Duration::from_millis(5));
    frame
}
