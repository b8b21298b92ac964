//! Consumers that select a part of a group's messages.

use std::time::Duration;

use channel_layer::{ChannelLayerExt, GroupActivity, Message, Tag, TagFilter};
use serde::{Deserialize, Serialize};
use ws_consumer::{Consumer, Frame, Result, Socket, consumer, testing::TestApp};

use crate::support::{Client, Server};

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Event {
    #[serde(rename = "trade")]
    Trade { symbol: String },
    #[serde(rename = "group.activity")]
    Activity(GroupActivity),
}

/// A request of a client.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Where(TagFilter),
    Passive { seconds: u64 },
    All,
    Mistake,
}

struct Trades;

impl Consumer for Trades {
    type Event = Event;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.group_add_where("trades", Tag::new("symbol").is("BTC")).await?;
        socket.accept().await
    }
    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        match frame.json()? {
            Ask::Where(filter) => socket.group_add_where("trades", filter).await?,
            Ask::Passive { seconds } => {
                socket.group_add_passive("trades", Duration::from_secs(seconds)).await?;
            }
            Ask::All => socket.group_add("trades").await?,
            Ask::Mistake => socket.group_add_where("trades", "{}").await?,
        }
        socket.send_text("done").await
    }
    async fn event(&mut self, socket: &mut Socket, event: &Event) -> Result<()> {
        match event {
            Event::Trade { symbol } => socket.send_text(format!("event {symbol}")).await,
            Event::Activity(activity) => {
                socket.send_text(format!("{} in {}", activity.count, activity.group)).await
            }
        }
    }
}

/// Sends by both lanes.
async fn trade(server: &Server, symbol: &str) {
    let frame = Message::websocket_text(format!("frame {symbol}")).with_tag("symbol", symbol);
    let event = Message::encode(&Event::Trade { symbol: symbol.to_owned() })
        .expect("an encodable event")
        .with_tag("symbol", symbol);
    for message in [frame, event] {
        let _ = server.layer.group_send_message("trades", message).await.expect("the memory layer delivers");
    }
}

/// The next texts, sorted: the lanes have no common order.
async fn texts(client: &mut Client, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(client.text().await);
    }
    texts.sort_unstable();
    texts
}

#[tokio::test]
async fn both_lanes_are_selected() {
    let server = Server::new(consumer(|| Trades));
    let (mut bitcoin, mut all) = (server.connect("/").await, server.connect("/").await);
    all.send(r#""all""#).await;
    assert_eq!(all.text().await, "done");
    for symbol in ["ETH", "BTC"] {
        trade(&server, symbol).await;
    }
    assert_eq!(texts(&mut bitcoin, 2).await, ["event BTC", "frame BTC"]);
    assert_eq!(texts(&mut all, 4).await, ["event BTC", "event ETH", "frame BTC", "frame ETH"]);
    assert_eq!(server.layer.hub().ledger().filtered, 2);
}

#[tokio::test]
async fn clients_choose_their_filters() {
    let server = Server::new(consumer(|| Trades));
    let mut client = server.connect("/").await;
    client.send(r#"{"where": {"key": "symbol", "cmp": "sw", "val": "E"}}"#).await;
    assert_eq!(client.text().await, "done");
    for symbol in ["BTC", "ETH"] {
        trade(&server, symbol).await;
    }
    assert_eq!(texts(&mut client, 2).await, ["event ETH", "frame ETH"]);
    client.send(r#"{"where": {"key": "symbol", "cmp": "like", "val": "E"}}"#).await;
    let answer = client.text().await;
    assert!(answer.contains("unknown comparison of a filter"), "{answer}");
    // The filter before is kept.
    trade(&server, "BTC").await;
    trade(&server, "EUR").await;
    assert_eq!(texts(&mut client, 2).await, ["event EUR", "frame EUR"]);
}

#[tokio::test]
async fn a_consumers_invalid_filter_is_its_mistake() {
    let server = Server::new(consumer(|| Trades));
    let mut client = server.connect("/").await;
    client.send(r#""mistake""#).await;
    assert_eq!(client.close_code().await, 1011);
}

#[tokio::test(start_paused = true)]
async fn passive_consumers_get_summaries() {
    let app = TestApp::new(consumer(|| Trades));
    let mut client = app.websocket("/").with_patience(Duration::from_secs(20));
    client.connect().await.unwrap();
    client.send_to(r#"{"passive": {"seconds": 5}}"#).await;
    client.assert_sent("done").await;
    for round in 0..2 {
        for _ in 0..=round {
            _ = app.layer().group_send_text("trades", "tick").await.unwrap();
        }
        client.assert_sent(format!("{} in trades", round + 1).as_str()).await;
    }
}
