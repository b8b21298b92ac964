//! Forged members of the sorted sets, as if they were popped from Redis.

use channel_layer::{MailboxOptions, backbone::Wanted};

use super::state::CoreState;
use crate::config::RedisConfig;

/// Delivers forged messages to a process with a mailbox and a receiver of a general channel.
pub(crate) fn taken<'a>(config: RedisConfig, forged: impl Iterator<Item = (u8, &'a [u8])>) {
    let state = CoreState::new(config.into());
    let name = "specific.0!a".parse().expect("a name");
    let limits = state.config.hub.layer.limits_of(&name, &MailboxOptions::default());
    let mut mailbox = state.hub.open(name.clone(), limits).expect("the name is free");
    let wanted = [Wanted { channel: "jobs".parse().expect("a name"), count: 1 }];
    for (choice, member) in forged {
        let key = state.keys.messages(if choice & 1 == 0 { name.non_local() } else { "jobs" });
        let score = match choice >> 1 {
            0..100 => 9e9,
            _ => f64::from_bits(member.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte))),
        };
        if let Some(taken) = state.taken(&wanted, key.as_bytes(), member, score) {
            let _ = state.read(&taken.body); // errors are expected
        }
    }
    while mailbox.try_recv().is_some() {}
    assert!(mailbox.sender().ledger().is_balanced());
}
