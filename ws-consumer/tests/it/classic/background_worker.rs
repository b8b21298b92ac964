//! A consumer of background tasks, in a worker process: the documentation's `PrintConsumer`, with its routing.

use std::sync::Arc;

use channel_layer::{ChannelLayer, MemoryLayer, Message};
use serde_json::{Value, json};
use ws_consumer::{
    Result,
    testing::advance,
    worker::{RetryPolicy, Workers, worker_fn},
};

async fn print(event: Value) -> Result<()> {
    println!("Test: {}", event["text"]);
    Ok(())
}

fn workers(layer: impl ChannelLayer) -> Result<Workers> {
    Workers::new(layer).channel("testing", worker_fn(print), RetryPolicy::default())
}

#[tokio::test(start_paused = true)]
async fn jobs_are_done_by_a_worker() {
    let layer = Arc::new(MemoryLayer::default());
    let event = json!({ "type": "test.print", "text": "hello" });
    layer.send(&"testing".parse().unwrap(), Message::encode(&event).unwrap()).await.unwrap();
    assert_eq!(layer.hub().ledger().queued, 1);
    let working = tokio::spawn(workers(layer.clone()).unwrap().run());
    advance(std::time::Duration::ZERO).await;
    assert_eq!(layer.hub().ledger().queued, 0);
    working.abort();
}
