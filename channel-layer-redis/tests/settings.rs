//! Settings that make no sense, or would not in a program.

mod dialects;
mod support;

use std::time::Duration;

use channel_layer::{ChannelLayer, ChannelLayerExt, ChannelName};
use channel_layer_redis::{RedisConfig, RedisLayer};
use support::{next, number, numbered, server::Server};
use tokio::time::timeout;

#[tokio::test]
async fn settings_beyond_all_measure_stop_nothing() {
    let server = Server::start();
    let extremes = [(Duration::MAX, usize::MAX), (Duration::ZERO, 0)];
    for (mode, (time, bytes)) in ["native", "core", "pubsub"].into_iter().zip(extremes.into_iter().cycle()) {
        let config: RedisConfig = format!("{}?mode={mode}", server.address()).parse().unwrap();
        let long = Duration::MAX;
        let config =
            config.with_expiry(long).with_group_expiry(long).with_timeout(long).with_connect_timeout(long);
        let config = config.with_heartbeat(time).with_probe(time).with_linger(time).with_max_message(bytes);
        let one = RedisLayer::open(config).await.unwrap();
        let mut mailbox = one.new_channel().await.unwrap();
        one.join("g", mailbox.channel()).await.unwrap();
        let _ = one.group_send_message("g", numbered(1)).await.unwrap();
        assert_eq!(number(&next(&mut mailbox).await), 1, "{mode}");
        if mode != "pubsub" {
            let jobs: ChannelName = "jobs".parse().unwrap();
            one.send(&jobs, numbered(2)).await.unwrap();
            let job = timeout(support::PATIENCE, one.receive(&jobs)).await.unwrap();
            assert_eq!(number(&job.unwrap()), 2, "{mode}");
        }
        one.leave("g", mailbox.channel()).await.unwrap();
        one.health().await.unwrap();
        one.close().await.unwrap();
    }
}
