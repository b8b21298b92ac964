//! A member of a group that records its messages.

use std::time::Duration;

use channel_layer::{ChannelLayer, ChannelLayerExt, Mailbox, Message};
use serde::Serialize;
use tokio::time::timeout;

use super::PATIENCE;

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
    /// When it does not come.
    pub async fn assert_broadcast<T: Serialize + ?Sized>(&mut self, event: &T) {
        let expected = Message::encode(event).expect("an event");
        assert!(self.find(&expected).await, "{:?} was not broadcast", expected.map());
    }

    /// Waits the whole time for this event not to come. Others are kept for later.
    ///
    /// # Panics
    /// When it comes.
    pub async fn refute_broadcast<T: Serialize + ?Sized>(&mut self, event: &T) {
        let unexpected = Message::encode(event).expect("an event");
        assert!(!self.find(&unexpected).await, "{:?} was broadcast", unexpected.map());
    }

    async fn find(&mut self, sought: &Message) -> bool {
        if let Some(at) = self.kept.iter().position(|kept| kept == sought) {
            self.kept.remove(at);
            return true;
        }
        let found = timeout(self.patience, async {
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
