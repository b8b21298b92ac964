//! Messages to a user, in any process.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use channel_layer::{
    Audience, Capabilities, ChannelLayer, ChannelName, GroupDirectory, GroupName, Health, LayerEvents,
    Mailbox, MailboxOptions, MemoryLayer, Message, Remote, SendReport,
};
use serde::Deserialize;
use tokio::time::Instant;
use ws_consumer::{Close, Consumer, Result, Router, Socket, UsersExt, testing::TestApp};

#[derive(Default)]
struct Inbox;

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Mail {
    #[serde(rename = "mail.arrived")]
    Arrived { from: String },
}

impl Consumer for Inbox {
    type Event = Mail;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let user = socket.scope().param("user")?.to_owned();
        socket.identify(&user).await?;
        socket.accept().await
    }
    async fn event(&mut self, socket: &mut Socket, mail: &Mail) -> Result<()> {
        let Mail::Arrived { from } = mail;
        socket.send_text(from).await
    }
}

fn router() -> Router {
    Router::new().consumer("/inbox/{user}", Inbox::default)
}

#[tokio::test(start_paused = true)]
async fn user_events_reach_all_connections() {
    let app = TestApp::new(router());
    let (mut one, mut two, mut other) =
        (app.websocket("/inbox/42"), app.websocket("/inbox/42"), app.websocket("/inbox/4%2F2%E6%B1%89"));
    for client in [&mut one, &mut two, &mut other] {
        client.connect().await.unwrap();
    }
    let mail = serde_json::json!({ "type": "mail.arrived", "from": "ann" });
    assert_eq!(app.layer().send_to_user("42", &mail).await.unwrap().local.delivered, 2);
    assert_eq!(app.layer().send_to_user("43", &mail).await.unwrap().local.matched, 0);
    one.assert_sent("ann").await;
    two.assert_sent("ann").await;
    other.refute_sent("ann").await;

    let online = app.layer().users_online(["42", "4/2汉", "43"], Duration::from_secs(1)).await.unwrap();
    assert_eq!(online, HashSet::from(["42".to_owned(), "4/2汉".to_owned()]));

    assert_eq!(
        app.layer().close_user("42", Close::new(4001, "signed out")).await.unwrap().local.delivered,
        2
    );
    for mut client in [one, two] {
        assert_eq!(client.receive_close().await, Close::new(4001, "signed out"));
        client.wait().await.unwrap();
    }
    other.refute_sent("ann").await;
    let online = app.layer().users_online(["42", "4/2汉"], Duration::from_secs(1)).await.unwrap();
    assert_eq!(online.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn busy_consumers_are_closed() {
    let busy = |mut socket: Socket| async move {
        socket.identify("42").await?;
        socket.accept().await?;
        std::future::pending().await
    };
    let app = TestApp::new(busy);
    let mut client = app.websocket("/");
    client.connect().await.unwrap();
    assert_eq!(app.layer().close_user("42", 4001).await.unwrap().local.delivered, 1);
    assert_eq!(client.receive_close().await.code, 4001);
}

/// A layer that knows no member, as if all were in other processes.
#[derive(Debug)]
struct Elsewhere(Arc<MemoryLayer>);

#[async_trait]
impl ChannelLayer for Elsewhere {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    async fn open(&self, options: MailboxOptions) -> channel_layer::Result<Mailbox> {
        self.0.open(options).await
    }
    async fn send(&self, channel: &ChannelName, message: Message) -> channel_layer::Result<()> {
        self.0.send(channel, message).await
    }
    async fn receive(&self, channel: &ChannelName) -> channel_layer::Result<Message> {
        self.0.receive(channel).await
    }
    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> channel_layer::Result<()> {
        self.0.group_add(group, channel).await
    }
    async fn group_select(
        &self,
        group: &GroupName,
        channel: &ChannelName,
        selection: channel_layer::Selection,
    ) -> channel_layer::Result<()> {
        self.0.group_select(group, channel, selection).await
    }
    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> channel_layer::Result<()> {
        self.0.group_discard(group, channel).await
    }
    async fn group_discard_all(&self, channel: &ChannelName) -> channel_layer::Result<()> {
        self.0.group_discard_all(channel).await
    }
    async fn group_send(&self, to: &Audience, message: Message) -> channel_layer::Result<SendReport> {
        let _report = self.0.group_send(to, message).await?;
        Ok(SendReport::new(Default::default(), Remote::Unknown))
    }
    fn directory(&self) -> Option<&dyn GroupDirectory> {
        None
    }
    fn events(&self) -> LayerEvents {
        self.0.events()
    }
    async fn health(&self) -> channel_layer::Result<Health> {
        self.0.health().await
    }
    async fn flush(&self) -> channel_layer::Result<()> {
        self.0.flush().await
    }
    async fn close(&self) -> channel_layer::Result<()> {
        self.0.close().await
    }
}

#[tokio::test(start_paused = true)]
async fn remote_users_answer_in_time() {
    let app = TestApp::with_layer(router(), Arc::new(Elsewhere(Arc::new(MemoryLayer::default()))));
    let (mut ann, mut bob) = (app.websocket("/inbox/ann"), app.websocket("/inbox/bob"));
    ann.connect().await.unwrap();
    bob.connect().await.unwrap();
    let start = Instant::now();
    let both = app.layer().users_online(["ann", "bob"], Duration::from_secs(5)).await.unwrap();
    assert_eq!((both.len(), start.elapsed()), (2, Duration::ZERO));
    let one = app.layer().users_online(["ann", "eve"], Duration::from_secs(5)).await.unwrap();
    assert_eq!((one, start.elapsed()), (HashSet::from(["ann".to_owned()]), Duration::from_secs(5)));
}
