//! What comes in: runs inside the connection's task, so nothing in here waits.

use std::sync::Arc;

use channel_layer::{EventSource, GroupName, Map, Message, Value, mailbox::Delivery};

use super::{bus::Bus, directions, names::Place};
use crate::{
    arrivals::{Arrival, Arrivals},
    codec::CodecError,
    link::client::Command,
    stats::Count,
    supervisor::{Mode, Probe, Restoration},
};

/// This mode on one link.
#[derive(Debug)]
pub(super) struct Inbound {
    bus: Arc<Bus>,
    arrivals: Arc<Arrivals>,
}

impl Inbound {
    pub(super) fn new(bus: Arc<Bus>) -> Self {
        let arrivals = Arrivals::new(bus.hub.clone(), bus.counters.clone());
        Self { bus, arrivals }
    }

    fn read(&self, channel: &[u8], payload: &[u8]) -> Result<(), CodecError> {
        let channel = std::str::from_utf8(channel).map_err(|_| CodecError::Broken)?;
        match self.bus.names.place(channel).ok_or(CodecError::Broken)? {
            Place::Channel(name) => {
                let (message, _) = self.decode(payload)?;
                self.arrivals.push(Arrival::Channel(name, self.delivery(message)));
                Ok(())
            }
            Place::Group(group) => self.to_group(group, channel, payload),
        }
    }

    fn to_group(&self, group: GroupName, channel: &str, payload: &[u8]) -> Result<(), CodecError> {
        if let Some((message, told)) = self.bus.own.take(channel.as_bytes(), payload) {
            self.arrivals.push(Arrival::to(group.into(), self.delivery(message), Some(told)));
            return Ok(());
        }
        let (message, entry) = self.decode(payload)?;
        let (audience, id) = directions::read(entry.as_ref(), group);
        if id.is_none_or(|id| self.bus.is_first(id)) {
            self.arrivals.push(Arrival::to(audience, self.delivery(message), None));
        }
        Ok(())
    }

    fn decode(&self, payload: &[u8]) -> Result<(Message, Option<Value>), CodecError> {
        if payload.len() > self.bus.config.max_message {
            return Err(CodecError::TooLong);
        }
        let mut map: Map = self.bus.payload.decode(payload)?;
        let entry = map.remove(directions::KEY);
        Ok((Message::try_from(map).map_err(|_| CodecError::Message)?, entry))
    }

    fn delivery(&self, message: Message) -> Delivery {
        Delivery { message, expires: self.bus.expires() }
    }
}

impl Mode for Inbound {
    fn node(&self) -> &str {
        &self.bus.node
    }

    fn own_channels(&self) -> Vec<String> {
        vec![self.bus.probes.channel().to_owned()]
    }

    fn is_empty(&self, channel: &str) -> bool {
        match self.bus.names.place(channel) {
            Some(Place::Channel(name)) => !self.bus.hub.contains(&name),
            Some(Place::Group(group)) => self.bus.hub.member_count(&group) == 0,
            None => true,
        }
    }

    fn begins(&self, _: &str) {}

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
        false
    }

    fn probe(&self) -> Probe {
        self.bus.probes.probe()
    }

    fn received(&self, channel: &[u8], payload: &[u8]) {
        if self.bus.probes.received(channel, payload) {
            return;
        }
        self.bus.counters.one(Count::Received);
        if let Err(error) = self.read(channel, payload) {
            self.bus.counters.note_unreadable("a message", error);
        }
    }
}
