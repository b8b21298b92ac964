//! A member of a group that records its messages.

use std::time::Duration;

use channel_layer::{ChannelLayer, ChannelLayerExt, Mailbox, Message};
use serde::Serialize;
use tokio::time::timeout;

use super::{PATIENCE, idle};

/// A member of a group that records the application's broadcasts. Over any layer.
pub struct Broadcasts {
    mailbox: Mailbox,
    kept: Vec<Message>,
    patience: Duration,
}

impl Broadcasts {
    /// Joins the group.
    ///
    /// # Panics
    /// When the name is invalid, or the layer fails.
    pub async fn listen(layer: &dyn ChannelLayer, group: &str) -> Self {
        let mailbox = layer.new_channel().await.expect("a layer that opens channels");
        layer.join(group, mailbox.channel()).await.expect("a group to join");
        Self { mailbox, kept: Vec::new(), patience: PATIENCE }
    }

    /// Waits at most this time instead of a second.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The next message to the group, if one comes in time.
    pub async fn next(&mut self) -> Option<Message> {
        if !self.kept.is_empty() {
            return Some(self.kept.remove(0));
        }
        timeout(self.patience, self.mailbox.recv()).await.ok()
    }

    /// Waits for this event. Others that come before it are kept for later.
    ///
    /// # Panics
    /// When it does not come; the message shows what came instead.
    pub async fn assert_broadcast<T: Serialize + ?Sized>(&mut self, event: &T) {
        let expected = Message::encode(event).expect("an event");
        if !self.find_within(&expected, self.patience).await {
            let instead: Vec<_> = self.kept.iter().map(Message::map).collect();
            panic!("{:?} was not broadcast; instead: {instead:?}", expected.map());
        }
    }

    /// Checks that this event is not broadcast, like
    /// [`refute_sent`](super::WebsocketCommunicator::refute_sent): without a move of a paused clock. Others are kept for later.
    ///
    /// # Panics
    /// When it is broadcast, and when tasks never come to rest.
    pub async fn refute_broadcast<T: Serialize + ?Sized>(&mut self, event: &T) {
        let unexpected = Message::encode(event).expect("an event");
        let found = if idle::is_paused() {
            assert!(idle::settle().await, "tasks never come to rest: nothing can be refuted");
            self.find_within(&unexpected, Duration::ZERO).await
        } else {
            self.find_within(&unexpected, self.patience).await
        };
        assert!(!found, "{:?} was broadcast", unexpected.map());
    }

    async fn find_within(&mut self, sought: &Message, time: Duration) -> bool {
        if let Some(at) = self.kept.iter().position(|kept| kept == sought) {
            self.kept.remove(at);
            return true;
        }
        let found = timeout(time, async {
            loop {
                let message = self.mailbox.recv().await;
                if message == *sought {
                    return;
                }
                self.kept.push(message);
            }
        });
        found.await.is_ok()
    }
}
