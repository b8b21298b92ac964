//! What the cases share: a layer on a stage, with numbered messages.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::time::timeout;

use super::{
    Skip,
    harness::{Harness, Timing},
};
use crate::{
    capability::Capabilities,
    config::LayerConfig,
    error::Result,
    ext::ChannelLayerExt,
    layer::{Audience, ChannelLayer, SendReport},
    mailbox::Mailbox,
    message::Message,
    name::{ChannelName, GroupName},
};

/// The interval at which the layer's state is polled.
const LOOK: Duration = Duration::from_millis(5);

pub(super) struct Stage<'a> {
    harness: &'a dyn Harness,
    pub(super) timing: Timing,
    pub(super) layer: Arc<dyn ChannelLayer>,
    config: LayerConfig,
}

impl<'a> Stage<'a> {
    pub(super) async fn new(harness: &'a dyn Harness) -> Self {
        Self::with(harness, |config| config).await
    }

    /// With expiries that the harness can wait for.
    pub(super) async fn expiring(harness: &'a dyn Harness) -> Self {
        let timing = harness.timing();
        Self::with(harness, |config| {
            config.with_expiry(timing.expiry).with_group_expiry(timing.group_expiry).with_capacity(3)
        })
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

    /// Goes on only if the backend claims to be able to.
    pub(super) fn requires(&self, claim: fn(&Capabilities) -> bool, what: &'static str) -> Result<(), Skip> {
        if claim(&self.layer.capabilities()) { Ok(()) } else { Err(Skip(what)) }
    }

    /// The other process.
    pub(super) async fn peer(&self) -> Result<Stage<'a>, Skip> {
        self.requires(|can| can.cross_process, "the backend is not cross_process")?;
        let layer = self.harness.peer(self.config.clone()).await.ok_or(Skip("the harness has no peer"))?;
        Ok(Stage { layer, config: self.config.clone(), ..*self })
    }

    pub(super) async fn elapse(&self, time: Duration) {
        self.harness.elapse(time).await;
    }

    /// Takes the backend away, and waits until the layer has noticed.
    pub(super) async fn begin_outage(&self) -> Result<(), Skip> {
        if !self.harness.begin_outage().await {
            return Err(Skip("the harness cannot take the backend away"));
        }
        self.until_away(true).await;
        Ok(())
    }

    /// Brings the backend back, and waits until the layer is connected.
    pub(super) async fn end_outage(&self) {
        self.harness.end_outage().await;
        self.until_away(false).await;
    }

    async fn until_away(&self, away: bool) {
        let state = self.layer.events().state();
        self.soon(async {
            while state.is_away() != away {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }

    /// Waits until what is under way has arrived.
    pub(super) async fn settle(&self) {
        self.harness.elapse(self.timing.silence).await;
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

    pub(super) async fn send(&self, channel: &ChannelName, number: i64) {
        self.try_send(channel, number).await.expect("the message is taken");
    }

    pub(super) async fn try_send(&self, channel: &ChannelName, number: i64) -> Result<()> {
        self.soon(self.layer.send(channel, numbered(number))).await
    }

    pub(super) async fn group_send(&self, to: impl Into<Audience>, number: i64) -> SendReport {
        let to = to.into();
        self.soon(self.layer.group_send(&to, numbered(number))).await.expect("a group never refuses")
    }

    /// Sends to groups, and has the report add up.
    pub(super) async fn say(&self, to: impl Into<Audience>, number: i64) {
        let local = self.group_send(to, number).await.local;
        assert_eq!(local.matched, local.delivered + local.full + local.closed, "{local:?} adds up");
    }

    /// Messages that are under way at the same time: begun in order, and then polled in the opposite one.
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

    /// The number of the next message in a mailbox.
    pub(super) async fn take(&self, mailbox: &mut Mailbox) -> i64 {
        number_of(&self.soon(mailbox.recv()).await)
    }

    /// Asserts that these messages, and no others, arrive in this order.
    pub(super) async fn hears(&self, mailbox: &mut Mailbox, numbers: &[i64]) {
        for number in numbers {
            assert_eq!(self.take(mailbox).await, *number, "the next message in {mailbox:?}");
        }
        self.hears_nothing(mailbox).await;
    }

    pub(super) async fn hears_nothing(&self, mailbox: &mut Mailbox) {
        if let Ok(message) = timeout(self.timing.silence, mailbox.recv()).await {
            panic!("{mailbox:?} was to hear nothing, and received number {}", number_of(&message));
        }
    }

    pub(super) async fn receives_nothing(&self, channel: &ChannelName) {
        if let Ok(message) = timeout(self.timing.silence, self.layer.receive(channel)).await {
            let number = message.map(|message| number_of(&message));
            panic!("nothing was to be received on `{channel}`, and {number:?} was");
        }
    }

    /// Whatever it is, it must not hang.
    pub(super) async fn soon<T>(&self, future: impl Future<Output = T>) -> T {
        timeout(self.timing.arrival, future).await.expect("an answer within the time for arrival")
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
