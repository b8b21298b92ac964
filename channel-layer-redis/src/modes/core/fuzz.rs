//! Forged members of the sorted sets, as if they were popped from Redis.

use std::sync::Arc;

use channel_layer::MailboxOptions;

use super::{
    bus::Bus,
    reader::{Reader, Wishes},
};
use crate::{config::RedisConfig, supervisor::Link};

/// Has a process with a mailbox, and one who waits for a general channel, take what somebody has put there.
pub(crate) fn taken<'a>(config: RedisConfig, forged: impl Iterator<Item = (u8, &'a [u8])>) {
    let bus = Bus::new(config.into());
    let links: Arc<[Link]> = Arc::from(Vec::new());
    let reader = Reader { bus: bus.clone(), links: Arc::downgrade(&links), at: 0 };
    let name = "specific.0!a".parse().expect("a name");
    let terms = bus.config.layer.terms_of(&name, &MailboxOptions::default());
    let mut mailbox = bus.hub.open(name.clone(), terms).expect("it is the first");
    let general = vec![("jobs".parse().expect("a name"), 1)];
    let wishes = Wishes { inboxes: vec![name.non_local().to_owned()], general };
    for (place, member) in forged {
        let key = bus.keys.messages(if place & 1 == 0 { name.non_local() } else { "jobs" });
        let score = match place >> 1 {
            0..100 => 9e9,
            _ => f64::from_bits(member.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte))),
        };
        reader.taken(&wishes, key.as_bytes(), member, score);
    }
    while mailbox.try_recv().is_some() {}
    assert!(mailbox.sender().ledger().is_balanced());
}
