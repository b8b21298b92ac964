//! Closed connections leave no memory behind.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

mod support;

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use channel_layer::{ChannelLayer, MemoryLayer};
use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, runtime::Handle, task::JoinSet, time::sleep};
use tokio_tungstenite::{client_async, tungstenite::Message};
use ws_consumer::{Consumer, Frame, NoEvents, Protocols, Result, Router, Socket, listen, serve};

use self::support::timed;

const VISITS: usize = 5_000;
const AT_ONCE: usize = 50;
const ROOMS: usize = 20;

#[derive(Default)]
struct Room {
    group: String,
}

impl Consumer for Room {
    type Event = NoEvents;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.group = format!("room_{}", socket.scope().param("room")?);
        socket.group_add(&self.group).await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let text: String = frame.json()?;
        socket.group_send_json(&self.group, &text).await
    }
}

async fn visit(address: SocketAddr, number: usize) {
    let stream = TcpStream::connect(address).await.unwrap();
    let url = format!("ws://{address}/{}/", number % ROOMS);
    let (mut socket, _) = timed(client_async(url, stream)).await.unwrap();
    let text = format!("\"{number}\"");
    timed(socket.send(Message::text(&text))).await.unwrap();
    while timed(socket.next()).await.unwrap().unwrap() != Message::text(&text) {}
    // Every third one drops the connection without a close frame.
    if !number.is_multiple_of(3) {
        timed(socket.close(None)).await.unwrap();
        while let Some(Ok(_)) = timed(socket.next()).await {}
    }
}

async fn visits(address: SocketAddr) {
    let mut visitors = JoinSet::new();
    for number in 0..VISITS {
        if visitors.len() == AT_ONCE {
            visitors.join_next().await.unwrap().unwrap();
        }
        visitors.spawn(visit(address, number));
    }
    while let Some(visitor) = visitors.join_next().await {
        visitor.unwrap();
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[tokio::test]
async fn connections_leak_nothing() {
    let layer = Arc::new(MemoryLayer::default());
    let router = Router::new().consumer("/{room}/", Room::default);
    let service = Protocols::new().websocket(router).into_service(layer.clone() as Arc<dyn ChannelLayer>);
    let sockets = service.connections().clone();
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, service).into_future());
    visit(address, 1).await; // whatever is made once
    timed(settled(&sockets)).await;
    let before = (Handle::current().metrics().num_alive_tasks(), descriptors());

    visits(address).await;

    timed(settled(&sockets)).await;
    let stats = sockets.stats();
    assert_eq!((stats.open, stats.total, stats.closed_slow), (0, 1 + VISITS as u64, 0));
    let hub = layer.hub();
    assert_eq!((hub.mailbox_count(), hub.group_count()), (0, 0));
    assert!(hub.ledger().is_balanced(), "{:?}", hub.ledger());
    let left = async {
        while (Handle::current().metrics().num_alive_tasks(), descriptors()) != before {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timed(left).await;
}

/// Waits until the server has noticed a dropped connection.
async fn settled(sockets: &ws_consumer::Connections) {
    while !sockets.is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
}
