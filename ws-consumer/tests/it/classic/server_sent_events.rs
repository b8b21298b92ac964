//! The documentation's `ServerSentEventsConsumer`: the time, every second.

use std::time::{Duration, SystemTime};

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use tokio::time::sleep;
use ws_consumer::{Exchange, Head, Result, exchange, testing::TestApp};

async fn clock(mut exchange: Exchange) -> Result<()> {
    let mut head = Head::default();
    head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    exchange.send_headers(head).await?;
    loop {
        exchange.send_body(format!("data: {:?}\n\n", SystemTime::now()), true).await?;
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn events_come_every_second() {
    let mut stream = TestApp::new(exchange(clock)).http("GET", "/");
    assert_eq!(stream.get_headers().await.headers[CONTENT_TYPE], "text/event-stream");
    for _ in 0..3 {
        let (event, more) = stream.next_chunk().await;
        assert!(event.starts_with(b"data: ") && event.ends_with(b"\n\n") && more);
        stream.refute_any_sent().await;
        sleep(Duration::from_secs(1)).await;
    }
    stream.disconnect().await;
}
