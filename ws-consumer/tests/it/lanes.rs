//! The lanes of messages from the channel layer to the client, and timely frames.

use std::{sync::Arc, time::Duration};

use channel_layer::{ChannelLayerExt, Message};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt, sync::Notify};
use tokio_tungstenite::{client_async, tungstenite};
use ws_consumer::{Consumer, Frame, Input, Limits, NoEvents, Result, Socket, consumer};

use crate::support::{Server, request, timed};

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Event {
    #[serde(rename = "say.text")]
    Say { text: String },
    #[serde(rename = "wait")]
    Wait,
}

struct Member {
    go_on: Arc<Notify>,
}

impl Consumer for Member {
    type Event = Event;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.group_add("room").await?;
        socket.accept().await
    }
    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        socket.group_send("room", &Event::Say { text: frame.text()?.to_owned() }).await
    }
    async fn event(&mut self, socket: &mut Socket, event: &Event) -> Result<()> {
        match event {
            Event::Say { text } => socket.send_text(text).await,
            Event::Wait => {
                socket.send_text("working...").await?;
                self.go_on.notified().await;
                socket.send_text("done").await
            }
        }
    }
}

fn room() -> (Server, Arc<Notify>) {
    let go_on = Arc::new(Notify::new());
    let make = {
        let go_on = go_on.clone();
        move || Member { go_on: go_on.clone() }
    };
    (Server::new(consumer(make)), go_on)
}

#[tokio::test]
async fn events_keep_order() {
    let (server, _) = room();
    let mut members = [server.connect("/").await, server.connect("/").await];
    for n in 0..50 {
        members[0].send(&n.to_string()).await;
    }
    for member in &mut members {
        for n in 0..50 {
            assert_eq!(member.text().await, n.to_string());
        }
    }
}

#[tokio::test]
async fn bursts_arrive_whole() {
    let (server, _) = room();
    let mut members = [server.connect("/").await, server.connect("/").await];
    for n in 0..400 {
        let frame = tungstenite::Message::text(n.to_string());
        futures_util::SinkExt::feed(&mut members[0].socket, frame).await.unwrap();
    }
    timed(futures_util::SinkExt::flush(&mut members[0].socket)).await.unwrap();
    for member in &mut members {
        for n in 0..400 {
            assert_eq!(member.text().await, n.to_string());
        }
    }
}

#[tokio::test]
async fn type_spellings_are_equal() {
    let (server, _) = room();
    let mut member = server.connect("/").await;
    for message in [
        Message::new("nobody.knows"),
        Message::new("say.text"), // without its field
        Message::new("say_text").with("text", "underscore"),
        Message::new("say.text").with("text", "dot"),
    ] {
        let report = server.layer.group_send_message("room", message).await.unwrap();
        assert_eq!(report.local.delivered, 1);
    }
    assert_eq!(member.text().await, "underscore");
    assert_eq!(member.text().await, "dot");
}

#[tokio::test]
async fn frames_overtake_waiting_hooks() {
    let (server, go_on) = room();
    let mut member = server.connect("/").await;
    let send = |message| server.layer.group_send_message("room", message);
    assert_eq!(send(Message::encode(&Event::Wait).unwrap()).await.unwrap().local.delivered, 1);
    assert_eq!(member.text().await, "working...");
    assert_eq!(send(Message::websocket_text("a frame")).await.unwrap().local.delivered, 1);
    assert_eq!(member.text().await, "a frame");
    go_on.notify_one();
    assert_eq!(member.text().await, "done");
}

#[tokio::test]
async fn ready_frames_bypass_the_consumer() {
    struct Deaf;
    impl Consumer for Deaf {
        type Event = NoEvents;
        async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
            socket.group_add("room").await?;
            socket.accept().await
        }
    }
    let server = Server::new(consumer(|| Deaf));
    let mut member = server.connect("/").await;
    let sent = [
        server.layer.group_send_text("room", "tëxt").await,
        server.layer.group_send_bytes("room", [1, 2]).await,
    ];
    assert!(sent.iter().all(|report| report.as_ref().unwrap().local.delivered == 1));
    assert_eq!(member.text().await, "tëxt");
    let binary = timed(member.socket.next()).await.unwrap().unwrap();
    assert_eq!(binary.into_data()[..], [1, 2]);
}

#[tokio::test]
async fn nothing_leaves_before_accept() {
    let go_on = Arc::new(Notify::new());
    let wait = go_on.clone();
    let server = Server::new(move |mut socket: Socket| {
        let wait = wait.clone();
        async move {
            socket.group_add("room").await?;
            wait.notified().await;
            socket.accept().await?;
            while socket.next().await?.is_some() {}
            Ok(())
        }
    });
    let connecting = tokio::spawn(client_async(request("/"), server.pipe()));
    while server.layer.hub().group_count() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.layer.group_send_text("room", "early").await.unwrap().local.delivered, 1);
    go_on.notify_one();
    let (mut client, _) = timed(connecting).await.unwrap().unwrap();
    assert_eq!(timed(client.next()).await.unwrap().unwrap().into_text().unwrap().as_str(), "early");
}

#[tokio::test]
async fn sockets_work_from_another_task() {
    let server = Server::new(|mut socket: Socket| async move {
        let task = tokio::spawn(async move {
            socket.accept().await?;
            while let Some(input) = socket.next().await? {
                if let Input::Frame(frame) = input {
                    socket.send(frame).await?;
                }
            }
            ws_consumer::Result::Ok(())
        });
        task.await?
    });
    let mut client = server.connect("/").await;
    for text in ["one", "two"] {
        client.send(text).await;
        assert_eq!(client.text().await, text);
    }
}

#[tokio::test(start_paused = true)]
async fn silent_client_leaves_its_groups() {
    let (server, _) = room();
    let (mut client, _) = client_async(request("/"), server.pipe()).await.unwrap();
    // Reads the bare pipe, so that nothing answers the ping.
    let mut bytes = Vec::new();
    timed(client.get_mut().read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, [0x89, 0]);
    server.service.connections().close().await;
    assert_eq!(server.layer.hub().group_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn pongs_keep_a_client() {
    let (server, _) = room();
    let mut client = server.connect("/").await;
    let deadline = tokio::time::sleep(Duration::from_secs(600));
    tokio::select! {
        other = client.text() => panic!("nobody said {other}"),
        () = deadline => {}
    }
    client.send("still here").await;
    assert_eq!(client.text().await, "still here");
}

#[tokio::test(start_paused = true)]
async fn unread_client_blocks_only_itself() {
    let server = Server::new(|mut socket: Socket| async move {
        socket.accept().await?;
        loop {
            socket.send_bytes(vec![0; 100_000]).await?;
        }
    });
    let (client, _) = client_async(request("/"), server.pipe()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(server.service.connections().is_empty(), "dropped for taking nothing");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn unread_broadcast_closes_with_1013() {
    let (server, _) = room();
    let (client, _) = client_async(request("/"), server.pipe()).await.unwrap();
    for _ in 0..30 {
        let frame = "x".repeat(100_000);
        let _: channel_layer::SendReport = server.layer.group_send_text("room", frame).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(server.layer.hub().group_count(), 0, "left at the limit, not at the timeout");
    let codes = client.filter_map(async |message| match message {
        Ok(tungstenite::Message::Close(Some(frame))) => Some(u16::from(frame.code)),
        _ => None,
    });
    assert_eq!(timed(codes.collect::<Vec<_>>()).await, [1013]);
}

#[tokio::test]
async fn large_messages_cross_small_pipes() {
    let mut limits = Limits::default();
    limits.max_message_size = 4 << 20;
    let echo = |mut socket: Socket| async move {
        socket.accept().await?;
        while let Some(Input::Frame(frame)) = socket.next().await? {
            socket.send(frame).await?;
        }
        Ok(())
    };
    let server = Server::limited(echo, limits);
    let (mut client, _) = client_async(request("/"), server.pipe_of(1000)).await.unwrap();
    let (mut write, mut read) = (&mut client).split();
    let text = "é".repeat(1 << 20);
    let sending = async {
        for _ in 0..3 {
            futures_util::SinkExt::send(&mut write, tungstenite::Message::text(text.clone())).await.unwrap();
        }
    };
    let reading = async {
        for _ in 0..3 {
            assert!(read.next().await.unwrap().unwrap().into_text().unwrap().as_str() == text);
        }
    };
    timed(async { tokio::join!(sending, reading) }).await;
}

/// A memory layer whose backend can be said to be lost.
#[derive(Debug)]
struct Shaky {
    inner: channel_layer::MemoryLayer,
    events: tokio::sync::broadcast::Sender<channel_layer::LayerEvent>,
}

#[async_trait::async_trait]
impl channel_layer::ChannelLayer for Shaky {
    fn capabilities(&self) -> channel_layer::Capabilities {
        self.inner.capabilities()
    }
    async fn open(
        &self,
        options: channel_layer::MailboxOptions,
    ) -> channel_layer::Result<channel_layer::Mailbox> {
        self.inner.open(options).await
    }
    async fn send(
        &self,
        channel: &channel_layer::ChannelName,
        message: Message,
    ) -> channel_layer::Result<()> {
        self.inner.send(channel, message).await
    }
    async fn receive(&self, channel: &channel_layer::ChannelName) -> channel_layer::Result<Message> {
        self.inner.receive(channel).await
    }
    async fn group_add(
        &self,
        group: &channel_layer::GroupName,
        channel: &channel_layer::ChannelName,
    ) -> channel_layer::Result<()> {
        self.inner.group_add(group, channel).await
    }
    async fn group_select(
        &self,
        group: &channel_layer::GroupName,
        channel: &channel_layer::ChannelName,
        selection: channel_layer::Selection,
    ) -> channel_layer::Result<()> {
        self.inner.group_select(group, channel, selection).await
    }
    async fn group_discard(
        &self,
        group: &channel_layer::GroupName,
        channel: &channel_layer::ChannelName,
    ) -> channel_layer::Result<()> {
        self.inner.group_discard(group, channel).await
    }
    async fn group_discard_all(&self, channel: &channel_layer::ChannelName) -> channel_layer::Result<()> {
        self.inner.group_discard_all(channel).await
    }
    async fn group_send(
        &self,
        to: &channel_layer::Audience,
        message: Message,
    ) -> channel_layer::Result<channel_layer::SendReport> {
        self.inner.group_send(to, message).await
    }
    fn directory(&self) -> Option<&dyn channel_layer::GroupDirectory> {
        self.inner.directory()
    }
    fn events(&self) -> channel_layer::LayerEvents {
        self.events.subscribe().into()
    }
    async fn health(&self) -> channel_layer::Result<channel_layer::Health> {
        self.inner.health().await
    }
    async fn flush(&self) -> channel_layer::Result<()> {
        self.inner.flush().await
    }
    async fn close(&self) -> channel_layer::Result<()> {
        self.inner.close().await
    }
}

#[tokio::test]
async fn consumers_learn_of_gap_and_loss() {
    struct Worried;
    impl Consumer for Worried {
        type Event = NoEvents;
        async fn layer_event(&mut self, socket: &mut Socket, event: channel_layer::LayerEvent) -> Result<()> {
            socket.send_text(format!("{event:?}")).await
        }
    }
    let (events, _) = tokio::sync::broadcast::channel(8);
    let layer = Arc::new(Shaky { inner: channel_layer::MemoryLayer::default(), events: events.clone() });
    let service = ws_consumer::Protocols::new().websocket(consumer(|| Worried)).into_service(layer);
    let server = Server { layer: Arc::default(), service };
    let mut clients = [server.connect("/").await, server.connect("/").await];
    events.send(channel_layer::LayerEvent::Disconnected).unwrap();
    events.send(channel_layer::LayerEvent::Reconnected { gap: Duration::from_secs(2) }).unwrap();
    events.send(channel_layer::LayerEvent::Lost { count: 3 }).unwrap();
    for client in &mut clients {
        assert_eq!(client.text().await, "Disconnected");
        assert_eq!(client.text().await, "Reconnected { gap: 2s }");
        assert_eq!(client.text().await, "Lost { count: 3 }");
    }
    drop(server);
    assert_eq!(events.receiver_count(), 1, "a client's connection still holds the service");
    drop(clients);
}
