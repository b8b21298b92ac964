//! The documentation's `ServerSentEventsConsumer`: the time, every second.

use std::time::{Duration, SystemTime};

use http::header::CONTENT_TYPE;
use tokio::time::sleep;
use ws_consumer::{EventStreamOptions, Exchange, Result, exchange, testing::TestApp};

async fn clock(mut exchange: Exchange) -> Result<()> {
    exchange.event_stream(EventStreamOptions::default()).await?;
    loop {
        exchange.send_event(format!("{:?}", SystemTime::now())).await?;
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn events_come_every_second() {
    let mut stream = TestApp::new(exchange(clock)).http("GET", "/");
    assert_eq!(stream.get_headers().await.headers[CONTENT_TYPE], "text/event-stream");
    assert_eq!(stream.next_chunk().await.0, ":\n\n", "a comment, so that proxies pass the head on");
    for _ in 0..3 {
        let (event, more) = stream.next_chunk().await;
        assert!(event.starts_with(b"data: ") && event.ends_with(b"\n\n") && more);
        stream.refute_any_sent().await;
        sleep(Duration::from_secs(1)).await;
    }
    stream.disconnect().await;
}
