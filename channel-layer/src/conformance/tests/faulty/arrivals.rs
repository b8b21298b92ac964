//! Faults of messages that come in.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::{Fault, YEAR, content, wire::Wire};
use crate::{
    backbone::{
        Inbound,
        envelope::{self, Envelope, Target},
    },
    layer::Audience,
    message::Message,
    sync::{Mutex, lock},
};

/// The size of a large message.
const LARGE: usize = 256 << 10;

/// The messages of one link.
#[derive(Debug)]
pub(super) struct Arrivals {
    wire: Arc<Wire>,
    /// The message that is delivered after the next one.
    held: Mutex<Option<Inbound>>,
    /// The topics that messages have come in by.
    seen: Mutex<HashSet<String>>,
}

impl Arrivals {
    pub(super) fn new(wire: Arc<Wire>) -> Self {
        Self { wire, held: Mutex::default(), seen: Mutex::default() }
    }

    /// The messages that are delivered instead of one.
    pub(super) fn apply(&self, inbound: Inbound) -> Vec<Inbound> {
        let Some(fault) = self.wire.fault else { return vec![inbound] };
        let bytes = inbound.bytes.clone();
        let Ok(envelope) = Envelope::decode(&bytes) else { return vec![inbound] };
        let to_groups = match &envelope.target {
            Target::Audience(audience) => Some(audience),
            Target::Channel(_) => None,
            _ => return vec![inbound],
        };
        let is_foreign = envelope.header.publisher != self.wire.process.load(Relaxed);
        let is_union = to_groups.is_some_and(Audience::is_union);
        match fault {
            Fault::LosesOneInThirtyToPeers if is_foreign && self.wire.every(30) => Vec::new(),
            Fault::LosesTheFirstOfATopic if self.is_first(&inbound.topic) => Vec::new(),
            Fault::LosesGroupSendsToPeers if is_foreign && to_groups.is_some() => Vec::new(),
            Fault::LosesUnionsToPeers if is_foreign && is_union => Vec::new(),
            Fault::LosesGroupSendsAtHome if !is_foreign && to_groups.is_some() => Vec::new(),
            Fault::LosesLargeMessagesToPeers if is_foreign && bytes.len() > LARGE => Vec::new(),
            Fault::DeliversToPeersTwice if is_foreign => vec![inbound.clone(), unnumbered(inbound)],
            Fault::ReordersToPeers if is_foreign => self.reordered(unnumbered(inbound)),
            _ => vec![self.changed(fault, inbound, &envelope, is_foreign)],
        }
    }

    fn is_first(&self, topic: &str) -> bool {
        lock(&self.seen).insert(topic.to_owned())
    }

    /// Delivers one message in ten after the next one.
    fn reordered(&self, inbound: Inbound) -> Vec<Inbound> {
        let mut held = lock(&self.held);
        if self.wire.every(10) {
            return held.replace(inbound).into_iter().collect();
        }
        [inbound].into_iter().chain(held.take()).collect()
    }

    fn changed(&self, fault: Fault, inbound: Inbound, envelope: &Envelope<'_>, is_foreign: bool) -> Inbound {
        let (mut header, mut target) = (envelope.header, envelope.target.clone());
        let (sent, own) = (header.lifetime, self.wire.config.expiry);
        let mut message = None;
        match fault {
            Fault::IgnoresExceptionsAtPeers if is_foreign => without_exception(&mut target),
            Fault::IgnoresExceptionsAtHome if !is_foreign => without_exception(&mut target),
            Fault::IgnoresExpiryAtPeers if is_foreign => {
                header.lifetime = YEAR.min(Duration::from_millis(1 << 31))
            }
            Fault::HalvesExpiryAtPeers if is_foreign => header.lifetime /= 2,
            Fault::ExpiresByTheLongerSetting if is_foreign => header.lifetime = sent.max(own),
            Fault::ExpiresByTheShorterSetting if is_foreign => header.lifetime = sent.min(own),
            Fault::ListsBytesToPeers if is_foreign => {
                let sent = Message::from_bytes(envelope.body).expect("a message");
                message = content::changed(Fault::ListsBytes, &sent);
            }
            _ => return inbound,
        }
        let message = message.or_else(|| Message::from_bytes(envelope.body).ok());
        let bytes = envelope::encode(&header, &target, message.as_ref()).expect("an envelope");
        Inbound { bytes: bytes.into(), ..inbound }
    }
}

/// Copies a message so that the engine takes it for a new one.
fn unnumbered(inbound: Inbound) -> Inbound {
    let mut bytes = inbound.bytes.to_vec();
    envelope::set_sequence(&mut bytes, 0);
    Inbound { bytes: bytes.into(), ..inbound }
}

fn without_exception(target: &mut Target) {
    if let Target::Audience(audience) = target {
        let mut groups = audience.groups().cloned();
        let first = groups.next().expect("at least one group");
        *audience = groups.fold(Audience::from(first), Audience::and);
    }
}
