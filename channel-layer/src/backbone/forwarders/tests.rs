use super::*;

/// Named channels in groups, by layers on the bus for tests.
#[cfg(feature = "conformance")]
mod layers {
    use tokio::time::timeout;

    use super::*;
    use crate::{
        backbone::{
            HubLayer, HubOptions,
            bus::{Bus, BusBackbone},
        },
        ext::ChannelLayerExt,
        layer::{Audience, ChannelLayer},
    };

    type Layer = HubLayer<BusBackbone>;

    /// A layer over these buses, one for each shard.
    async fn layer(buses: &[Bus]) -> Arc<Layer> {
        let options = HubOptions::default().with_queues(true);
        let builder = HubLayer::builder(buses[0].backbone(), options);
        let builder = buses[1..].iter().fold(builder, |builder, bus| builder.shard(bus.backbone()));
        Arc::new(builder.connect().await.unwrap())
    }

    fn jobs() -> ChannelName {
        "jobs".parse().unwrap()
    }

    async fn send(layer: &Layer, group: &str, n: i64) {
        let _ = layer.group_send_message(group, Message::new("job").with("n", n)).await.unwrap();
    }

    /// The numbers of the messages stored on the channel.
    async fn received(layer: &Layer) -> Vec<i64> {
        let mut numbers = Vec::new();
        let jobs = jobs();
        while let Ok(message) = timeout(Duration::from_secs(1), layer.receive(&jobs)).await {
            numbers.push(message.unwrap().get("n").and_then(|n| n.as_i64()).unwrap());
        }
        numbers
    }

    #[tokio::test(start_paused = true)]
    async fn forwards_each_message_once() {
        for buses in [&[Bus::new()][..], &[Bus::new(), Bus::new(), Bus::new()]] {
            let (one, two) = (layer(buses).await, layer(buses).await);
            for layer in [&one, &two] {
                for group in ["a", "b"] {
                    layer.join(group, &jobs()).await.unwrap();
                }
            }
            for n in 0..20 {
                send(&one, if n % 2 == 0 { "a" } else { "b" }, n).await;
            }
            let mut numbers = received(&two).await;
            numbers.sort_unstable();
            assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn unions_are_forwarded_once() {
        let buses = [Bus::new(), Bus::new()];
        let (one, two) = (layer(&buses).await, layer(&buses).await);
        let groups = ["a", "b", "c", "d"].map(|group| group.parse::<GroupName>().unwrap());
        for group in &groups {
            one.join(group.as_str(), &jobs()).await.unwrap();
            two.join(group.as_str(), &jobs()).await.unwrap();
        }
        let [first, others @ ..] = groups;
        let union = others.into_iter().fold(Audience::from(first), Audience::and);
        let _ = two.group_send(&union, Message::new("job").with("n", 1)).await.unwrap();
        assert_eq!(received(&one).await, [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_loses_no_message() {
        for shards in [1, 2] {
            let buses: Vec<_> = (0..shards).map(|_| Bus::new()).collect();
            let (sender, one, two) = (layer(&buses).await, layer(&buses).await, layer(&buses).await);
            one.join("g", &jobs()).await.unwrap();
            for n in 0..50 {
                send(&sender, "g", n).await;
                if n == 0 {
                    two.join("g", &jobs()).await.unwrap();
                }
                if n == 20 {
                    let one = one.clone();
                    tokio::spawn(async move { one.close().await });
                }
                tokio::time::sleep(Duration::from_millis(n as u64 % 7 * 50)).await;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(received(&sender).await, (0..50).collect::<Vec<_>>(), "{shards} shards");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_processes_forward_all_groups() {
        let buses = [Bus::new()];
        let (one, two) = (layer(&buses).await, layer(&buses).await);
        one.join("a", &jobs()).await.unwrap();
        two.join("b", &jobs()).await.unwrap();
        for n in 0..10 {
            send(&one, if n % 2 == 0 { "a" } else { "b" }, n).await;
        }
        let [a, b] = ["a", "b"].map(|group| group.parse::<GroupName>().unwrap());
        let _ = two.group_send(&Audience::from(a).and(b), Message::new("job").with("n", 10)).await.unwrap();
        let mut numbers = received(&two).await;
        numbers.sort_unstable();
        assert_eq!(numbers, (0..=10).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn forwards_equal_messages() {
        let buses = [Bus::new()];
        let one = layer(&buses).await;
        one.join("g", &jobs()).await.unwrap();
        let (group, message) = ("g".parse::<GroupName>().unwrap(), Message::new("job").with("n", 1));
        for _ in 0..3 {
            let _ = one.group_send(&group.clone().into(), message.clone()).await.unwrap();
        }
        assert_eq!(received(&one).await, [1, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn survives_a_dead_forwarder() {
        let buses = [Bus::new()];
        let (one, two) = (layer(&buses).await, layer(&buses).await);
        one.join("g", &jobs()).await.unwrap();
        send(&two, "g", 0).await;
        two.join("g", &jobs()).await.unwrap();
        drop(one);
        tokio::time::sleep(Duration::from_secs(6)).await;
        send(&two, "g", 1).await;
        assert_eq!(received(&two).await, [0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn stops_after_leaving_the_group() {
        let buses = [Bus::new()];
        let (one, two) = (layer(&buses).await, layer(&buses).await);
        one.join("g", &jobs()).await.unwrap();
        two.leave("g", &jobs()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        send(&one, "g", 0).await;
        one.join("g", &jobs()).await.unwrap();
        send(&one, "g", 1).await;
        assert_eq!(received(&two).await, [1]);
    }
}
