//! A process that ends while others take over its work.

mod support;

use std::time::Duration;

use channel_layer::{ChannelLayer, ChannelLayerExt, ChannelName};
use support::{layer, number, numbered, server::Server};
use tokio::time::timeout;

/// The forwarding process ends while messages are sent to the group, as in a deployment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_hands_over_named_channels() {
    const MESSAGES: i64 = 300;
    let server = Server::start();
    let address = server.address() + "?capacity=5000";
    let jobs: ChannelName = "jobs".parse().unwrap();
    let sender = layer(&address).await;
    let mut forwarders = Vec::new();
    for _ in 0..3 {
        let forwarder = layer(&address).await;
        forwarder.join("g", &jobs).await.unwrap();
        forwarders.push(forwarder);
    }
    let (last, closing) = forwarders.split_last().unwrap();
    for (round, forwarder) in closing.iter().enumerate() {
        let send = async {
            for n in 0..MESSAGES {
                let n = round as i64 * MESSAGES + n;
                let _ = sender.group_send_message("g", numbered(n)).await.unwrap();
            }
        };
        let close = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            forwarder.close().await.unwrap();
        };
        tokio::join!(send, close);
    }
    let mut all = Vec::new();
    while let Ok(received) = timeout(Duration::from_secs(1), last.receive(&jobs)).await {
        all.push(number(&received.unwrap()));
    }
    all.sort_unstable();
    assert_eq!(all, (0..2 * MESSAGES).collect::<Vec<_>>());
}
