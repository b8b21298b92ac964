//! What comes in: runs inside the connection's task, so nothing in here waits.

use std::sync::{Arc, Mutex, PoisonError};

use channel_layer::{Audience, EventSource, Message, mailbox::Delivery};
use tokio::time::Instant;

use super::{
    bus::Bus,
    echo::Own,
    order::{Place, Sequences},
    remote,
};
use crate::{
    arrivals::{Arrival, Arrivals},
    codec::{CodecError, Envelope, Header, Target},
    link::client::Command,
    stats::Count,
    supervisor::{Mode, Probe, Restoration},
};

/// The native mode on one link.
#[derive(Debug)]
pub(super) struct Inbound {
    bus: Arc<Bus>,
    arrivals: Arc<Arrivals>,
    /// Held for a map access, by this link's own task alone.
    sequences: Mutex<Sequences>,
}

impl Inbound {
    pub(super) fn new(bus: Arc<Bus>) -> Self {
        let arrivals = Arrivals::new(bus.hub.clone(), bus.counters.clone());
        Self { bus, arrivals, sequences: Mutex::default() }
    }

    fn read(&self, channel: &[u8], payload: &[u8]) -> Result<(), CodecError> {
        if payload.len() > self.bus.config.max_message {
            return Err(CodecError::TooLong);
        }
        let envelope = Envelope::decode(payload)?;
        let place = self.sequences().note(channel, &envelope.header);
        match place {
            Place::Next { lost } => self.bus.counters.add(Count::Lost, lost),
            Place::Stale => {
                self.bus.counters.one(Count::Stale);
                return Ok(());
            }
        }
        self.handle(envelope)
    }

    /// What changes mailboxes and groups waits for its turn, so that all of it happens in the order in which it was sent.
    fn handle(&self, envelope: Envelope<'_>) -> Result<(), CodecError> {
        let Envelope { header, target, body } = envelope;
        let bus = self.bus.clone();
        match target {
            Target::Audience(audience) => self.to_groups(&header, audience, body)?,
            Target::Channel(channel) => {
                self.arrivals.push(Arrival::Channel(channel, delivery(&header, body)?));
            }
            Target::Add(channel, group) => self.in_turn(move || remote::add(&bus, &header, channel, group)),
            Target::Discard(channel, group) => {
                self.in_turn(move || remote::discard(&bus, &header, &channel, &group));
            }
            Target::Done => self.back(header.number),
            Target::Probe if self.is_ours(&header) => self.back(header.number),
            // Our own was carried out before it was sent.
            Target::Flush if !self.is_ours(&header) => self.in_turn(move || {
                bus.hub.leave_all();
                bus.hub.discard_messages();
            }),
            Target::Flush | Target::Probe => {}
        }
        Ok(())
    }

    fn in_turn(&self, act: impl FnOnce() + Send + 'static) {
        self.arrivals.push(Arrival::Other(Box::new(act)));
    }

    fn to_groups(&self, header: &Header, audience: Audience, body: &[u8]) -> Result<(), CodecError> {
        if audience.is_union() && !self.is_first_copy(header) {
            return Ok(());
        }
        let own = self.is_ours(header).then(|| self.bus.echoes.take(header.number)).flatten();
        let (delivery, told) = match own {
            Some((Own { message, expires }, told)) => (Delivery { message, expires }, Some(told)),
            None => (delivery(header, body)?, None),
        };
        self.arrivals.push(Arrival::to(audience, delivery, told));
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

fn delivery(header: &Header, body: &[u8]) -> Result<Delivery, CodecError> {
    let message = Message::from_bytes(body).map_err(|_| CodecError::Message)?;
    Ok(Delivery { message, expires: Instant::now() + header.lifetime })
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

    fn events(&self) -> &EventSource {
        &self.bus.events
    }

    fn restore(&self, _: bool) -> Option<Restoration> {
        None
    }

    /// Groups need nothing more, and other calls say themselves what is missing.
    fn needed(&self) -> Vec<(&'static str, Command)> {
        Vec::new()
    }

    fn is_sequenced(&self) -> bool {
        true
    }

    fn probe(&self) -> Probe {
        let number = self.bus.next_number();
        let envelope = self.bus.envelope(number, &Target::Probe, None).unwrap_or_default();
        let channel = self.bus.keys.node(&self.bus.node_name);
        Probe { channel, envelope, back: self.bus.asked.expect_detached(number, ()) }
    }

    fn received(&self, channel: &[u8], payload: &[u8]) {
        self.bus.counters.one(Count::Received);
        if let Err(error) = self.read(channel, payload) {
            self.bus.counters.note_unreadable("a message", error);
        }
    }
}
