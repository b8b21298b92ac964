//! The layer under test, with the calls and checks that the cases share.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    task::{JoinHandle, yield_now},
    time::timeout,
};

use super::{
    Skip,
    harness::{Harness, Residue, Timing},
};
use crate::{
    capability::Capabilities,
    config::LayerConfig,
    error::{Error, Result},
    events::{LayerEvent, LayerEvents},
    ext::ChannelLayerExt,
    layer::{Audience, ChannelLayer, SendReport},
    mailbox::Mailbox,
    message::Message,
    name::{ChannelName, GroupName},
};

/// The interval at which a state is polled.
const POLL: Duration = Duration::from_millis(5);

/// Whether the receivers of a case are in the process of the sender, or in another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Local,
    Peer,
}

/// A way to break the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Freeze,
    Sever,
}

/// A process: a layer, and the harness that made it.
#[derive(Clone)]
pub(super) struct Fixture<'a> {
    harness: &'a dyn Harness,
    pub(super) timing: Timing,
    pub(super) layer: Arc<dyn ChannelLayer>,
    config: LayerConfig,
}

impl<'a> Fixture<'a> {
    pub(super) async fn new(harness: &'a dyn Harness) -> Self {
        Self::with(harness, |config| config).await
    }

    /// A layer with mailboxes for the messages of a long run, or for some very large ones.
    pub(super) async fn roomy(harness: &'a dyn Harness) -> Self {
        Self::with(harness, |config| config.with_capacity(10_000).with_byte_capacity(256 << 20)).await
    }

    /// A layer with expiries that the harness can wait for.
    pub(super) async fn expiring(harness: &'a dyn Harness) -> Self {
        let timing = harness.timing();
        Self::with(harness, |config| config.with_expiry(timing.expiry).with_group_expiry(timing.group_expiry))
            .await
    }

    pub(super) async fn with(
        harness: &'a dyn Harness,
        configure: impl FnOnce(LayerConfig) -> LayerConfig,
    ) -> Self {
        let config = configure(LayerConfig::default());
        let layer = harness.layer(config.clone()).await;
        Self { harness, timing: harness.timing(), layer, config }
    }

    /// Skips the case unless the backend claims this capability.
    pub(super) fn requires(&self, claim: fn(&Capabilities) -> bool, name: &'static str) -> Result<(), Skip> {
        if claim(&self.layer.capabilities()) { Ok(()) } else { Err(Skip(name)) }
    }

    /// The process at the end of the route.
    pub(super) async fn at(&self, route: Route) -> Result<Self, Skip> {
        match route {
            Route::Local => Ok(self.clone()),
            Route::Peer => self.peer().await,
        }
    }

    /// Another process, with the same settings.
    pub(super) async fn peer(&self) -> Result<Self, Skip> {
        self.peer_with(|config| config).await
    }

    /// Another process.
    pub(super) async fn peer_with(
        &self,
        configure: impl FnOnce(LayerConfig) -> LayerConfig,
    ) -> Result<Self, Skip> {
        self.requires(|can| can.cross_process, "cross_process")?;
        let config = configure(self.config.clone());
        let Some(layer) = self.harness.peer(config.clone()).await else {
            return Err(self.untestable("cross_process"));
        };
        Ok(Self { layer, config, ..self.clone() })
    }

    /// The skip for an ability that the harness lacks.
    ///
    /// # Panics
    /// If the backend is cross_process, because then the harness must have the ability.
    fn untestable(&self, what: &'static str) -> Skip {
        let claims = self.layer.capabilities().cross_process;
        assert!(!claims, "the backend claims `cross_process`, and its harness has no `{what}`");
        Skip(what)
    }

    pub(super) fn size_limit(&self) -> Result<usize, Skip> {
        self.harness.size_limit().ok_or(Skip("size_limit"))
    }

    pub(super) async fn elapse(&self, time: Duration) {
        self.harness.elapse(time).await;
    }

    /// Waits until messages in flight have arrived.
    pub(super) async fn settle(&self) {
        self.elapse(self.timing.silence).await;
    }

    /// Breaks the backend for all processes, without waiting until the layers have noticed.
    pub(super) async fn disrupt(&self, fault: Fault) -> Result<(), Skip> {
        let (can, name) = match fault {
            Fault::Freeze => (self.harness.freeze().await, "freeze"),
            Fault::Sever => (self.harness.sever().await, "sever"),
        };
        if can { Ok(()) } else { Err(self.untestable(name)) }
    }

    /// Loses messages to all processes.
    pub(super) async fn lose(&self) -> Result<(), Skip> {
        if self.harness.lose().await { Ok(()) } else { Err(Skip("lose")) }
    }

    /// Mends the backend, without waiting until the layers have noticed.
    pub(super) async fn mend(&self) {
        assert!(self.harness.mend().await, "a harness that can break its backend can mend it");
    }

    pub(super) fn is_away(&self) -> bool {
        self.layer.events().state().is_away()
    }

    /// Waits until the layer has noticed that the backend is out of reach, or that it is back.
    pub(super) async fn until_away(&self, away: bool) {
        self.until("the state changes", async || self.is_away() == away).await;
    }

    /// Polls a condition until it holds.
    pub(super) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let polling = async {
            while !holds().await {
                self.elapse(POLL).await;
            }
        };
        timeout(self.timing.arrival, polling).await.unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    /// The state that the server holds at present.
    pub(super) async fn residue(&self) -> Result<Residue, Skip> {
        match self.soon(self.harness.residue()).await {
            Some(residue) => Ok(residue),
            None => Err(self.untestable("residue")),
        }
    }

    pub(super) async fn open(&self) -> Mailbox {
        self.soon(self.layer.new_channel()).await.expect("a mailbox can be opened")
    }

    pub(super) async fn member_of(&self, group: &GroupName) -> Mailbox {
        let mailbox = self.open().await;
        self.join(group, mailbox.channel()).await;
        mailbox
    }

    pub(super) async fn join(&self, group: &GroupName, channel: &ChannelName) {
        self.soon(self.layer.group_add(group, channel)).await.expect("a channel can join");
    }

    pub(super) async fn leave(&self, group: &GroupName, channel: &ChannelName) {
        self.soon(self.layer.group_discard(group, channel)).await.expect("a channel can leave");
    }

    pub(super) async fn leave_all(&self, channel: &ChannelName) {
        self.soon(self.layer.group_discard_all(channel)).await.expect("a channel can leave all groups");
    }

    pub(super) async fn close(&self) {
        self.soon(self.layer.close()).await.expect("a layer can be closed");
    }

    pub(super) async fn send(&self, channel: &ChannelName, number: i64) {
        self.try_send(channel, number).await.expect("the message is taken");
    }

    pub(super) async fn try_send(&self, channel: &ChannelName, number: i64) -> Result<()> {
        self.soon(self.layer.send(channel, numbered(number))).await
    }

    /// Checks that the channel refuses one more message, with its name in the error.
    pub(super) async fn assert_full(&self, channel: &ChannelName) {
        match self.try_send(channel, 99).await {
            Err(Error::ChannelFull { channel: named }) => assert_eq!(named, channel.as_str()),
            other => panic!("`{channel}` is full, and the answer is {other:?}"),
        }
    }

    pub(super) async fn group_send(&self, to: impl Into<Audience>, number: i64) -> SendReport {
        self.try_group_send(to, number).await.expect("a group never refuses")
    }

    pub(super) async fn try_group_send(&self, to: impl Into<Audience>, number: i64) -> Result<SendReport> {
        self.soon(self.layer.group_send(&to.into(), numbered(number))).await
    }

    /// Sends to groups, and checks that the report adds up.
    pub(super) async fn say(&self, to: impl Into<Audience>, number: i64) {
        let local = self.group_send(to, number).await.local;
        assert_eq!(
            local.matched,
            local.delivered + local.filtered + local.full + local.closed,
            "{local:?} adds up"
        );
    }

    /// Sends messages concurrently: begun in order, then polled in the opposite order.
    pub(super) async fn say_at_once(&self, to: &GroupName, numbers: &[i64]) {
        let say = |number: &i64| Some(Box::pin(self.say(to, *number)));
        let mut calls: Vec<_> = numbers.iter().map(say).collect();
        poll_fn(|cx| {
            calls.retain_mut(|call| call.as_mut().is_some_and(|call| call.as_mut().poll(cx).is_pending()));
            calls.reverse();
            if calls.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The number of the next message on a named channel.
    pub(super) async fn receive(&self, channel: &ChannelName) -> i64 {
        number_of(&self.soon(self.layer.receive(channel)).await.expect("the channel can be received from"))
    }

    /// A task that receives one message from a named channel.
    pub(super) fn spawn_receive(&self, channel: &ChannelName) -> JoinHandle<Result<i64>> {
        let (layer, channel) = (self.layer.clone(), channel.clone());
        tokio::spawn(async move { layer.receive(&channel).await.map(|message| number_of(&message)) })
    }

    /// The number of the next message in a mailbox.
    pub(super) async fn take(&self, mailbox: &mut Mailbox) -> i64 {
        number_of(&self.soon(mailbox.recv()).await)
    }

    /// Takes this number of messages, in any order: two messages may take different paths.
    pub(super) async fn take_sorted(&self, mailbox: &mut Mailbox, count: usize) -> Vec<i64> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(self.take(mailbox).await);
        }
        numbers.sort_unstable();
        numbers
    }

    /// Checks that these messages arrive in this order. Others may follow.
    pub(super) async fn hears_first(&self, mailbox: &mut Mailbox, numbers: impl IntoIterator<Item = i64>) {
        for number in numbers {
            assert_eq!(self.take(mailbox).await, number, "the next message in {mailbox:?}");
        }
    }

    /// Checks that these messages, and no others, arrive in this order.
    pub(super) async fn hears(&self, mailbox: &mut Mailbox, numbers: impl IntoIterator<Item = i64>) {
        self.hears_first(mailbox, numbers).await;
        self.silent([mailbox]).await;
    }

    /// Checks that no message arrives in any of these mailboxes.
    pub(super) async fn silent(&self, mailboxes: impl IntoIterator<Item = &mut Mailbox>) {
        self.settle().await;
        for mailbox in mailboxes {
            let number = mailbox.try_recv().map(|message| number_of(&message));
            assert_eq!(number, None, "no message was to arrive in {mailbox:?}");
        }
    }

    /// Checks that no message waits on a named channel.
    pub(super) async fn receives_nothing(&self, channel: &ChannelName) {
        if let Ok(message) = timeout(self.timing.silence, self.layer.receive(channel)).await {
            let number = message.map(|message| number_of(&message));
            panic!("no message was to be received from `{channel}`, and {number:?} was");
        }
    }

    /// Checks that no event is raised.
    pub(super) async fn no_event(&self, events: &mut LayerEvents) {
        if let Ok(Some(event)) = timeout(self.timing.silence, events.next()).await {
            panic!("no event was to be raised, and {event:?} was");
        }
    }

    pub(super) async fn event(&self, events: &mut LayerEvents) -> Option<LayerEvent> {
        self.soon(events.next()).await
    }

    /// Awaits a future, and fails when the deadline is over: no call may hang.
    pub(super) async fn soon<T>(&self, future: impl Future<Output = T>) -> T {
        timeout(self.timing.arrival, future).await.expect("an answer within the time for arrival")
    }
}

/// Polls a future up to this number of times, yields to other tasks in between, then drops it.
pub(super) async fn poll_some<T>(future: impl Future<Output = T>, polls: usize) {
    let mut future = pin!(future);
    for poll in 0..polls {
        if poll > 0 {
            yield_now().await;
        }
        let once = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx)));
        if once.await.is_ready() {
            return;
        }
    }
}

pub(super) fn numbered(number: i64) -> Message {
    Message::new("conformance.message").with("number", number)
}

pub(super) fn number_of(message: &Message) -> i64 {
    message.get("number").and_then(|number| number.as_i64()).expect("only numbered messages were sent")
}

pub(super) fn channel(name: &str) -> ChannelName {
    name.parse().expect("a valid name")
}

pub(super) fn group(name: &str) -> GroupName {
    name.parse().expect("a valid name")
}
