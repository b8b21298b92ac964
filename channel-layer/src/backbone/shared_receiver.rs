//! Receivers of named channels on a bus without queues.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    hub::Hub,
    mailbox::{
        Bounds, Delivery,
        shared_receiver::{SharedMailbox, SharedReceiver},
    },
    name::ChannelName,
    sync::{Mutex, MutexGuard, lock},
};

/// The shortest time for which a mailbox is kept after its last receiver, which may have been cancelled and return, as
/// in a `select!` inside a loop. Also the interval at which messages without a receiver go back to the bus.
const GRACE: Duration = Duration::from_millis(100);

/// The named channels that this process receives from. Each is a mailbox, kept for the linger after its last receiver.
#[derive(Debug, Default)]
pub(super) struct SharedReceivers(Mutex<HashMap<ChannelName, Arc<SharedMailbox>>>);

impl SharedReceivers {
    /// Makes a receiver, and returns whether its mailbox was made for it. Returns `None` if the channel is the mailbox
    /// of a connection.
    pub(super) fn enter(
        &self,
        hub: &Hub,
        channel: &ChannelName,
        bounds: Bounds,
    ) -> Option<(SharedReceiver, bool)> {
        let mut mailboxes = self.lock();
        if let Some(mailbox) = mailboxes.get(channel) {
            return Some((mailbox.receiver(), false));
        }
        let mailbox = SharedMailbox::new(hub.open(channel.clone(), bounds)?);
        let receiver = mailbox.receiver();
        mailboxes.insert(channel.clone(), mailbox);
        Some((receiver, true))
    }

    /// Whether the channel has receivers, or had them within the linger.
    pub(super) fn contains(&self, channel: &ChannelName) -> bool {
        self.lock().contains_key(channel)
    }

    /// Waits until there was no receiver for the linger, and ends the mailbox of the channel. One call for each new
    /// mailbox.
    pub(super) async fn retire(&self, channel: &ChannelName, linger: Duration) {
        let mut was_idle = false;
        loop {
            sleep(linger.max(GRACE)).await;
            let mut mailboxes = self.lock();
            let Some(mailbox) = mailboxes.get(channel) else { return };
            let is_idle = !mailbox.has_receivers();
            if is_idle && was_idle {
                // Dropped under the lock, so that the next receiver finds the name free.
                mailboxes.remove(channel);
                return;
            }
            was_idle = is_idle;
        }
    }

    /// Waits until messages of a channel have no receiver for the grace, and takes them. Returns `None` once the
    /// mailbox has ended.
    pub(super) async fn unclaimed(&self, channel: &ChannelName) -> Option<Vec<Delivery>> {
        let mut was_idle = false;
        loop {
            sleep(GRACE).await;
            // Only the map keeps the mailbox: once it is removed, its name is free.
            match self.lock().get(channel)? {
                mailbox if mailbox.has_receivers() => was_idle = false,
                mailbox if was_idle => return Some(mailbox.sender().take_back()),
                _ => was_idle = true,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelName, Arc<SharedMailbox>>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::message::Message;

    const LINGER: Duration = Duration::from_secs(2);
    const BOUNDS: Bounds = Bounds { messages: 10, bytes: 1 << 20 };

    fn jobs() -> ChannelName {
        "jobs".parse().unwrap()
    }

    fn deliver(hub: &Hub, n: i64) {
        let expires = Instant::now() + LINGER * 10;
        hub.send(&jobs(), Delivery { message: Message::new("job").with("n", n), expires }).unwrap().unwrap();
    }

    fn number(message: &Message) -> i64 {
        message.get("n").and_then(|n| n.as_i64()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn each_message_has_one_receiver() {
        let (hub, receivers) = (Hub::new(), SharedReceivers::default());
        let (one, is_new) = receivers.enter(&hub, &jobs(), BOUNDS).unwrap();
        let (two, is_known) = receivers.enter(&hub, &jobs(), BOUNDS).unwrap();
        assert!(is_new && !is_known);
        let (one, two) =
            (tokio::spawn(async move { one.recv().await }), tokio::spawn(async move { two.recv().await }));
        tokio::task::yield_now().await;
        deliver(&hub, 1);
        deliver(&hub, 2);
        let mut got = [number(&one.await.unwrap()), number(&two.await.unwrap())];
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_mailbox_lingers() {
        let (hub, receivers) = (Hub::new(), SharedReceivers::default());
        let (receiver, _) = receivers.enter(&hub, &jobs(), BOUNDS).unwrap();
        assert!(timeout(LINGER / 4, receiver.recv()).await.is_err());
        let channel = jobs();
        let mut retire = std::pin::pin!(receivers.retire(&channel, LINGER));
        assert!(timeout(LINGER * 10, &mut retire).await.is_err(), "a receiver waits");
        drop(receiver);
        deliver(&hub, 1);
        assert!(timeout(LINGER / 2, &mut retire).await.is_err());
        let (again, is_new) = receivers.enter(&hub, &jobs(), BOUNDS).unwrap();
        assert_eq!((number(&again.recv().await), is_new), (1, false));
        drop(again);
        retire.await;
        assert!(!receivers.contains(&jobs()) && !hub.contains(&jobs()));
    }

    #[tokio::test(start_paused = true)]
    async fn unclaimed_messages_are_returned() {
        let (hub, receivers) = (Hub::new(), SharedReceivers::default());
        let (receiver, _) = receivers.enter(&hub, &jobs(), BOUNDS).unwrap();
        deliver(&hub, 1);
        assert!(timeout(GRACE * 10, receivers.unclaimed(&jobs())).await.is_err(), "a receiver waits");
        assert_eq!(number(&receiver.recv().await), 1);
        drop(receiver);
        deliver(&hub, 2);
        let taken = receivers.unclaimed(&jobs()).await.unwrap();
        assert_eq!(taken.iter().map(|delivery| number(&delivery.message)).collect::<Vec<_>>(), [2]);
        assert!(taken[0].expires > Instant::now() + LINGER, "with its remaining lifetime");
        receivers.retire(&jobs(), LINGER).await;
        assert!(receivers.unclaimed(&jobs()).await.is_none());
    }

    #[test]
    fn rejects_owned_mailboxes() {
        let (hub, receivers) = (Hub::new(), SharedReceivers::default());
        let _mailbox = hub.open(jobs(), BOUNDS).unwrap();
        assert!(receivers.enter(&hub, &jobs(), BOUNDS).is_none());
    }
}
