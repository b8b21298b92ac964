//! The handler of one shard, which decodes inbound messages. Runs inside the link's task, so it never waits.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::time::Instant;

use super::{
    counters::Count,
    engine::{Engine, EnvelopeId, Names, SentMessage},
    envelope::{self, Envelope, Header, Target},
    format::{Decoded, Destination, Format},
    handler::{Probe, ShardHandler, Stamp},
    inbound_queue::{InboundItem, InboundQueue},
    requests,
    sequence::{GapDetector, Position},
};
use crate::{
    error::BoxError,
    events::LayerEvent,
    layer::Audience,
    mailbox::Delivery,
    message::Message,
    sync::{Mutex, MutexGuard, lock},
};

#[derive(Debug)]
pub(super) struct Handler {
    engine: Arc<Engine>,
    queue: Arc<InboundQueue>,
    /// Held for a map access, by the tasks of this shard alone.
    gaps: Mutex<GapDetector>,
}

impl Handler {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let queue = InboundQueue::new(engine.hub.clone(), engine.counters.clone());
        Self { engine, queue, gaps: Mutex::default() }
    }

    fn read(&self, topic: &str, payload: &[u8]) -> Result<(), BoxError> {
        if payload.len() > self.engine.options.max_message {
            return Err("over the size limit".into());
        }
        match &self.engine.names {
            Names::Native(_) => self.read_envelope(topic, payload),
            Names::Foreign(format) => self.read_foreign(&**format, topic, payload),
        }
    }

    fn read_envelope(&self, topic: &str, payload: &[u8]) -> Result<(), BoxError> {
        let envelope = Envelope::decode(payload)?;
        let Header { publisher, sequence, .. } = envelope.header;
        // Each message of a shared topic goes to one of several processes, so the numbers have gaps.
        let position = match self.is_shared(topic) {
            true => Position::Next { lost: 0 },
            false => self.gaps().note(topic, publisher, sequence),
        };
        match position {
            Position::Next { lost } => {
                self.engine.counters.add(Count::Lost, lost);
                if lost > 0 {
                    self.engine.events.raise(LayerEvent::Lost { count: lost });
                }
            }
            Position::Resumed { lost } => self.engine.counters.add(Count::Lost, lost),
            Position::Stale => {
                self.engine.counters.one(Count::Stale);
                return Ok(());
            }
        }
        self.handle(envelope)
    }

    /// Queues every change of mailboxes and groups, so that they happen in the order in which they were sent.
    fn handle(&self, envelope: Envelope<'_>) -> Result<(), BoxError> {
        let Envelope { header, target, body } = envelope;
        let engine = self.engine.clone();
        match target {
            Target::Audience(audience) => self.to_groups(&header, audience, body)?,
            Target::Channel(channel) => {
                self.queue.push(InboundItem::Channel(channel, delivery(&header, body)?));
            }
            Target::Add(channel, group) => {
                self.in_order(move || requests::add(&engine, &header, channel, group));
            }
            Target::Discard(channel, group) => {
                self.in_order(move || requests::discard(&engine, &header, &channel, Some(&group)));
            }
            Target::DiscardAll(channel) => {
                self.in_order(move || requests::discard(&engine, &header, &channel, None));
            }
            Target::Done => self.back(header.number),
            Target::Probe if self.is_ours(&header) => self.back(header.number),
            // This process has flushed before it published.
            Target::Flush if !self.is_ours(&header) => self.in_order(move || {
                engine.hub.leave_all();
                engine.hub.discard_messages();
            }),
            Target::Flush | Target::Probe => {}
        }
        Ok(())
    }

    fn in_order(&self, act: impl FnOnce() + Send + 'static) {
        self.queue.push(InboundItem::Action(Box::new(act)));
    }

    fn to_groups(&self, header: &Header, audience: Audience, body: &[u8]) -> Result<(), BoxError> {
        if audience.is_union() && !self.engine.is_first_copy(header.id()) {
            return Ok(());
        }
        let sent = self.is_ours(header).then(|| self.engine.echoes.take(header.number)).flatten();
        let (delivery, on_done) = match sent {
            _ if self.engine.forwards.load(Relaxed) => {
                // Decoded again: the id belongs to this envelope, and the sender may send its message again.
                let delivery = delivery(header, body)?;
                delivery.message.derived(|_| EnvelopeId(Some(header.id())));
                (delivery, sent.map(|(_, on_done)| on_done))
            }
            Some((SentMessage { message, expires }, on_done)) => {
                (Delivery { message, expires }, Some(on_done))
            }
            None => (delivery(header, body)?, None),
        };
        self.queue.push(InboundItem::new(audience, delivery, on_done));
        Ok(())
    }

    fn read_foreign(&self, format: &dyn Format, topic: &str, payload: &[u8]) -> Result<(), BoxError> {
        let expires = self.engine.expires();
        match format.destination(topic).ok_or("received on an unknown topic")? {
            Destination::Channel(channel) => {
                let Decoded { message, .. } = format.decode(None, payload)?;
                self.queue.push(InboundItem::Channel(channel, Delivery { message, expires }));
            }
            Destination::Group(group) => {
                if let Some((message, on_done)) = self.engine.foreign_echoes.take(topic.as_bytes(), payload) {
                    self.queue.push(InboundItem::new(
                        group.into(),
                        Delivery { message, expires },
                        Some(on_done),
                    ));
                    return Ok(());
                }
                let Decoded { message, audience, union } = format.decode(Some(group.clone()), payload)?;
                if union.is_none_or(|id| self.engine.is_first_copy(id)) {
                    let audience = audience.unwrap_or_else(|| group.into());
                    self.queue.push(InboundItem::new(audience, Delivery { message, expires }, None));
                }
            }
        }
        Ok(())
    }

    /// Handles a probe in a foreign format, which is a number on the probe topic. Returns whether it was one.
    fn is_foreign_probe(&self, topic: &str, payload: &[u8]) -> bool {
        let Names::Foreign(format) = &self.engine.names else { return false };
        if topic != format.probe_topic(&self.engine.process) {
            return false;
        }
        self.back(payload.try_into().map(u64::from_be_bytes).unwrap_or_default());
        true
    }

    fn back(&self, number: u64) {
        if let Some(((), done)) = self.engine.requests.take(number) {
            let _ = done.send(()); // the caller may have gone
        }
    }

    fn is_ours(&self, header: &Header) -> bool {
        header.publisher == self.engine.node
    }

    fn gaps(&self) -> MutexGuard<'_, GapDetector> {
        lock(&self.gaps)
    }
}

fn delivery(header: &Header, body: &[u8]) -> Result<Delivery, BoxError> {
    Ok(Delivery { message: Message::from_bytes(body)?, expires: Instant::now() + header.lifetime })
}

impl ShardHandler for Handler {
    fn process_topics(&self) -> Vec<String> {
        match &self.engine.names {
            Names::Native(topics) => vec![topics.process(&self.engine.process), topics.everyone()],
            Names::Foreign(format) => vec![format.probe_topic(&self.engine.process)],
        }
    }

    fn is_unused(&self, topic: &str) -> bool {
        match self.engine.destination(topic) {
            Some(Destination::Channel(channel)) => !self.engine.hub.contains(&channel),
            Some(Destination::Group(group)) => self.engine.hub.member_count(&group) == 0,
            None => true,
        }
    }

    /// Returns true for named channels, which are shared by their receivers.
    fn is_shared(&self, topic: &str) -> bool {
        self.engine.options.shared_subscriptions
            && matches!(self.engine.destination(topic), Some(Destination::Channel(_)))
    }

    fn begins(&self, topic: &str) {
        self.gaps().forget(topic);
    }

    fn resumes(&self) {
        self.gaps().interrupt();
    }

    fn stamp(&self) -> Option<Stamp> {
        matches!(self.engine.names, Names::Native(_)).then_some(envelope::set_sequence as Stamp)
    }

    fn probe(&self, topic: Option<&str>) -> Option<Probe> {
        let number = self.engine.next_number();
        let (default_topic, payload) = match &self.engine.names {
            Names::Native(topics) => {
                let envelope = self.engine.envelope(number, &Target::Probe, None).ok()?;
                (topics.process(&self.engine.process), envelope)
            }
            // Only application messages may go to a topic that other software reads.
            Names::Foreign(_) if topic.is_some() => return None,
            Names::Foreign(format) => {
                (format.probe_topic(&self.engine.process), number.to_be_bytes().to_vec())
            }
        };
        let topic = topic.map_or(default_topic, str::to_owned);
        Some(Probe { topic, payload, back: self.engine.requests.add_detached(number, ()) })
    }

    fn received(&self, topic: &str, payload: &[u8]) {
        if self.is_foreign_probe(topic, payload) {
            return;
        }
        self.engine.counters.one(Count::Received);
        if let Err(error) = self.read(topic, payload) {
            self.engine.counters.note_unreadable("a message", error);
        }
    }
}
