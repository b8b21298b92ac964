//! Forged frames, as if they came in from Redis.

use channel_layer::{GroupName, MailboxOptions};
use tokio::task::yield_now;

use super::{bus::Bus, inbound::Inbound};
use crate::{config::RedisConfig, supervisor::Mode};

/// Has a process with a member receive frames.
pub(crate) async fn received<'a>(config: RedisConfig, forged: impl Iterator<Item = (u8, &'a [u8])>) {
    let bus = Bus::new(config.into());
    let inbound = Inbound::new(bus.clone());
    let name = bus.names.draw("specific").expect("there is randomness");
    let terms = bus.config.layer.terms_of(&name, &MailboxOptions::default());
    let mut mailbox = bus.hub.open(name.clone(), terms).expect("it is the first");
    let group: GroupName = "room".parse().expect("a name");
    bus.hub.join(&group, &name);
    for (place, payload) in forged {
        let place = match place % 3 {
            0 => bus.names.group(&group).into_bytes(),
            1 => name.as_str().as_bytes().to_vec(),
            _ => payload.iter().take(20).copied().collect(),
        };
        inbound.received(&place, payload);
        yield_now().await; // what it has spawned
    }
    while mailbox.try_recv().is_some() {}
    assert!(mailbox.sender().ledger().is_balanced());
}
