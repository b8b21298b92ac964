//! Messages of one socket that are under way at the same time.

use std::{sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use channel_layer::{ChannelLayer, ChannelLayerExt};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use ws_consumer::{Consumer, Frame, Protocols, Result, Socket, consumer};

use crate::support::{
    Server,
    outage::{Failing, Trouble},
    timed,
};

const ROUND_TRIP: Duration = Duration::from_millis(200);

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename = "said")]
struct Said {
    text: String,
}

struct Speaker;

impl Consumer for Speaker {
    type Event = Said;

    const GROUPS: &'static [&'static str] = &["all"];

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let text = frame.text()?.to_owned();
        match text.strip_prefix("frame ") {
            Some(text) => socket.group_send_json_pipelined("all", text).await,
            None => socket.group_send_pipelined("all", &Said { text }).await,
        }
    }
    async fn event(&mut self, socket: &mut Socket, event: &Said) -> Result<()> {
        socket.send_text(&*event.text).await
    }
}

fn far_away() -> (Arc<Failing>, Server) {
    let layer = Arc::new(Failing::default());
    layer.order_calls();
    *layer.delay.lock().expect("no panic") = ROUND_TRIP;
    let protocols = Protocols::new().websocket(consumer(|| Speaker));
    let service = protocols.into_service(layer.clone() as Arc<dyn ChannelLayer>);
    (layer.clone(), Server { layer: layer.memory.clone(), service })
}

#[tokio::test(start_paused = true)]
async fn pipelined_messages_keep_order() {
    let (_layer, server) = far_away();
    let mut client = server.connect("/").await;
    let begun = Instant::now();
    for number in 0..20 {
        client.send(&format!("{number}")).await;
    }
    for number in 0..20 {
        assert_eq!(client.text().await, format!("{number}"));
    }
    assert_eq!(begun.elapsed().as_millis() / ROUND_TRIP.as_millis(), 1);
}

#[tokio::test(start_paused = true)]
async fn unordered_layers_are_awaited() {
    let layer = Arc::new(Failing::default());
    *layer.delay.lock().expect("no panic") = ROUND_TRIP;
    let protocols = Protocols::new().websocket(consumer(|| Speaker));
    let service = protocols.into_service(layer.clone() as Arc<dyn ChannelLayer>);
    let server = Server { layer: layer.memory.clone(), service };
    let mut client = server.connect("/").await;
    for number in 0..5 {
        client.send(&format!("{number}")).await;
    }
    sleep(ROUND_TRIP / 2).await;
    assert_eq!(layer.group_sends.load(Relaxed), 1);
    for number in 0..5 {
        assert_eq!(client.text().await, format!("{number}"));
    }
}

#[tokio::test(start_paused = true)]
async fn so_do_frames_past_the_consumers() {
    let (_layer, server) = far_away();
    let mut client = server.connect("/").await;
    for number in 0..5 {
        client.send(&format!("frame {number}")).await;
    }
    for number in 0..5 {
        assert_eq!(client.text().await, format!("\"{number}\""));
    }
}

#[tokio::test(start_paused = true)]
async fn pipelining_stops_at_32_messages() {
    let (layer, server) = far_away();
    let mut client = server.connect("/").await;
    for number in 0..100 {
        client.send(&format!("{number}")).await;
    }
    sleep(ROUND_TRIP / 2).await;
    assert_eq!(layer.group_sends.load(Relaxed), 32);
    for number in 0..100 {
        assert_eq!(client.text().await, format!("{number}"));
    }
}

#[tokio::test(start_paused = true)]
async fn pipelining_bounds_bytes() {
    let (layer, server) = far_away();
    let mut client = server.connect("/").await;
    let large = "x".repeat(100 << 10);
    for _ in 0..3 {
        client.send(&large).await;
    }
    sleep(ROUND_TRIP / 2).await;
    assert_eq!(layer.group_sends.load(Relaxed), 2);
    for _ in 0..3 {
        assert_eq!(client.text().await.len(), large.len());
    }
}

#[tokio::test(start_paused = true)]
async fn each_message_that_fails_is_told() {
    let (layer, server) = far_away();
    let mut client = server.connect("/").await;
    for _ in 0..10 {
        client.send("x").await;
    }
    sleep(ROUND_TRIP / 2).await;
    layer.set(Trouble::TimedOut);
    for _ in 0..10 {
        assert!(client.text().await.contains("uncertain"));
    }
    layer.set(None);
    client.send("still here").await;
    assert_eq!(client.text().await, "still here");
}

#[tokio::test(start_paused = true)]
async fn pipelined_messages_outlive_a_client() {
    let (layer, server) = far_away();
    let mut member = layer.new_channel().await.expect("in memory");
    layer.join("all", member.channel()).await.expect("in memory");
    let mut client = server.connect("/").await;
    client.send("goodbye").await;
    client.leave().await;
    assert_eq!(timed(member.recv()).await.decode::<Said>().expect("said").text, "goodbye");
}
