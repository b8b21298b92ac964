//! What comes in: runs inside the connection's task, so nothing in here waits.

use std::sync::{Arc, Mutex, PoisonError};

use channel_layer::{Audience, ChannelName, Deliveries, LayerEvent, Message, mailbox::Delivery};
use tokio::time::Instant;

use super::{
    bus::Bus,
    echo::Own,
    order::{Place, Sequences},
    remote,
};
use crate::{
    codec::{CodecError, Envelope, Header, Target},
    supervisor::{Mode, Probe},
};

/// The native mode on one link.
#[derive(Debug)]
pub(super) struct Inbound {
    bus: Arc<Bus>,
    /// Held for a map access, by this link's own task alone.
    sequences: Mutex<Sequences>,
}

impl Inbound {
    pub(super) fn new(bus: Arc<Bus>) -> Self {
        Self { bus, sequences: Mutex::default() }
    }

    fn read(&self, channel: &[u8], payload: &[u8]) -> Result<(), CodecError> {
        if payload.len() > self.bus.config.max_message {
            return Err(CodecError::TooLong);
        }
        let envelope = Envelope::decode(payload)?;
        let place = self.sequences().note(channel, &envelope.header);
        match place {
            Place::Next { lost } => self.bus.counters.lost.add(lost),
            Place::Stale => {
                self.bus.counters.stale.one();
                return Ok(());
            }
        }
        self.handle(&envelope)
    }

    fn handle(&self, envelope: &Envelope<'_>) -> Result<(), CodecError> {
        let header = &envelope.header;
        match &envelope.target {
            Target::Audience(audience) => self.fan_out(audience, envelope)?,
            Target::Channel(channel) => self.deliver(channel, envelope)?,
            Target::Add(channel, group) => {
                remote::add(&self.bus, header, channel.clone(), group.clone());
            }
            Target::Discard(channel, group) => {
                remote::discard(&self.bus, header, channel, group);
            }
            Target::Done => self.back(header.number),
            Target::Probe if self.is_ours(header) => self.back(header.number),
            // Our own was carried out before it was sent.
            Target::Flush if !self.is_ours(header) => {
                self.bus.hub.leave_all();
                self.bus.hub.discard_messages();
            }
            Target::Flush | Target::Probe => {}
        }
        Ok(())
    }

    fn fan_out(&self, audience: &Audience, envelope: &Envelope<'_>) -> Result<(), CodecError> {
        let header = &envelope.header;
        if audience.is_union() && !self.is_first_copy(header) {
            return Ok(());
        }
        let own = self.is_ours(header).then(|| self.bus.echoes.take(header.number)).flatten();
        let Some((Own { message, expires }, done)) = own else {
            self.hand_out(audience, envelope.message()?, Instant::now() + header.lifetime);
            return Ok(());
        };
        let _ = done.send(self.hand_out(audience, message, expires)); // its sender may have gone
        Ok(())
    }

    fn hand_out(&self, audience: &Audience, message: Message, expires: Instant) -> Deliveries {
        let deliveries = self.bus.hub.fan_out(audience, message, expires).finish();
        self.bus.counters.full.add(deliveries.full as u64);
        deliveries
    }

    fn deliver(&self, channel: &ChannelName, envelope: &Envelope<'_>) -> Result<(), CodecError> {
        let expires = Instant::now() + envelope.header.lifetime;
        let outcome = self.bus.hub.send(channel, Delivery { message: envelope.message()?, expires });
        if let Some(Err(_)) = outcome {
            self.bus.counters.full.one();
        }
        Ok(())
    }

    fn back(&self, number: u64) {
        if let Some(((), done)) = self.bus.asked.take(number) {
            let _ = done.send(()); // who asked may have gone
        }
    }

    fn is_ours(&self, header: &Header) -> bool {
        header.publisher == self.bus.node
    }

    fn is_first_copy(&self, header: &Header) -> bool {
        self.bus.unions.lock().unwrap_or_else(PoisonError::into_inner).is_first(header)
    }

    fn sequences(&self) -> std::sync::MutexGuard<'_, Sequences> {
        self.sequences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mode for Inbound {
    fn node(&self) -> &str {
        &self.bus.node_name
    }

    fn own_channels(&self) -> Vec<String> {
        vec![self.bus.keys.node(&self.bus.node_name), self.bus.keys.control()]
    }

    fn is_empty(&self, channel: &str) -> bool {
        self.bus.keys.group_of(channel).is_none_or(|group| self.bus.hub.member_count(&group) == 0)
    }

    fn begins(&self, channel: &str) {
        self.sequences().forget(channel);
    }

    fn raise(&self, event: LayerEvent) {
        self.bus.raise(event);
    }

    fn probe(&self) -> Probe {
        let number = self.bus.next_number();
        let envelope = self.bus.envelope(number, &Target::Probe, None).unwrap_or_default();
        let channel = self.bus.keys.node(&self.bus.node_name);
        Probe { channel, envelope, back: self.bus.asked.expect_detached(number, ()) }
    }

    fn received(&self, channel: &[u8], payload: &[u8]) {
        self.bus.counters.received.one();
        if let Err(error) = self.read(channel, payload) {
            self.bus.counters.unreadable.one();
            tracing::debug!(%error, bytes = payload.len(), "dropped what came in");
        }
    }
}
