//! Forged frames, as if they came in from Redis.

use channel_layer::{ChannelName, MailboxOptions};
use tokio::task::yield_now;

use super::{bus::Bus, inbound::Inbound};
use crate::{config::RedisConfig, supervisor::Mode};

/// Has a process with two members receive frames. A publisher of zeros stands for the process itself, as only its own
/// number makes it answer.
pub(crate) async fn received<'a>(config: RedisConfig, frames: impl Iterator<Item = (u8, &'a [u8])>) {
    let bus = Bus::new(config.into());
    let inbound = Inbound::new(bus.clone());
    let name: ChannelName = format!("specific.{}!a", bus.node_name).parse().expect("a name");
    let members = [name, "jobs".parse().expect("a name")];
    let terms = || bus.config.layer.terms_of(&members[0], &MailboxOptions::default());
    let mut mailboxes: Vec<_> =
        members.iter().filter_map(|name| bus.hub.open(name.clone(), terms())).collect();
    for member in &members {
        bus.hub.join(&"room".parse().expect("a name"), member);
    }
    let channels =
        [bus.keys.group(&"room".parse().expect("a name")), bus.keys.node(&bus.node_name), bus.keys.control()];
    for (channel, payload) in frames {
        let mut payload = payload.to_vec();
        if let Some(publisher) = payload.get_mut(2..10).filter(|publisher| *publisher == [0; 8]) {
            publisher.copy_from_slice(&bus.node.to_be_bytes());
        }
        inbound.received(channels[usize::from(channel) % 3].as_bytes(), &payload);
        yield_now().await; // what it has spawned
    }
    for mailbox in &mut mailboxes {
        while mailbox.try_recv().is_some() {}
        assert!(mailbox.sender().ledger().is_balanced());
    }
}
