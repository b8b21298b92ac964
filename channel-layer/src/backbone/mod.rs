//! The engine of distributed backends: makes a [`ChannelLayer`](crate::ChannelLayer) of a message bus.
//!
//! A backend implements two traits. A [`Backbone`] connects. A [`BackboneLink`] is one connection: it publishes,
//! subscribes, and returns inbound messages. A link that fails is dropped, so no backend implements a repair.
//! [`HubLayer`] does the rest, the same for every bus:
//!
//! * it reconnects with backoff, subscribes again, and reports the gap ([`LayerEvents`](crate::LayerEvents));
//! * it subscribes to a group with its first member and unsubscribes some time after its last, without races between
//!   them;
//! * it puts a deadline on every call, pings the server, and sends probes to itself;
//! * it publishes in batches, numbers messages per topic, counts losses and drops duplicates;
//! * it delivers to the members of this process, with `except`, unions, expiry, capacity and reports;
//! * it asks other processes to add their mailboxes to groups, and shares named channels among workers.
//!
//! ```
//! use std::sync::Arc;
//!
//! use channel_layer::{ChannelLayer, Result, backbone::{Backbone, HubLayer, HubOptions}};
//!
//! /// A layer on any bus.
//! async fn layer(bus: impl Backbone) -> Result<Arc<dyn ChannelLayer>> {
//!     Ok(Arc::new(HubLayer::connect(bus, HubOptions::default()).await?))
//! }
//! ```
//!
//! # Decisions of a backend
//!
//! * **Acknowledgement.** `subscribe` returns [`Confirmed`](Subscription::Confirmed) if the server has acknowledged it,
//!   otherwise [`Pending`](Subscription::Pending). Then the engine waits for a probe on that topic.
//! * **Queues.** A bus with work queues provides [`BackboneLink::queues`], which store named channels. On other buses
//!   named channels are topics that receivers subscribe to, shared among processes if the bus has shared subscriptions.
//! * **Topics.** The engine's topics are ASCII: the prefix, letters, digits, `-`, `_`, `.`, `!` and `:`. A link maps
//!   characters that have a meaning on its bus.
//! * **Payloads.** Each is an [`envelope`]. To share a bus with other software, implement [`Format`] instead.
//!
//! # Parts
//!
//! A backend that stores its memberships at the server, as Django's `channels_redis.core` does, is not a hub layer. It
//! builds on the parts: [`Shard`] maintains the link to one server, [`QueueReader`] takes from queues, [`Counters`]
//! count.

mod answers;
mod backoff;
#[cfg(feature = "conformance")]
pub mod bus;
mod counters;
mod echoes;
mod engine;
pub mod envelope;
mod error;
mod format;
mod forwarders;
mod handler;
mod hub_layer;
mod inbound;
mod inbound_queue;
mod link;
mod named;
mod options;
mod outbox;
mod panics;
mod publisher;
mod queue_reader;
mod queues;
mod receivers;
mod requests;
mod sending;
mod sequence;
mod session;
mod shard;
mod shared_receiver;
mod sink;
mod subscriptions;

pub use self::{
    backoff::Backoff,
    counters::{BackboneStats, Count, Counters, Recorder},
    echoes::{PendingEcho, PendingEchoes},
    error::LinkError,
    format::{Decoded, Destination, Format, ShardOf},
    handler::{Probe, ShardHandler, Stamp},
    hub_layer::{HubLayer, HubLayerBuilder},
    link::{Backbone, BackboneLink, Batch, Inbound, Subscription},
    options::HubOptions,
    queue_reader::{Links, QueueReader},
    queues::{Changed, Push, Pushed, Queues, Taken, Taker, Wanted},
    shard::Shard,
    sink::InboundSink,
};
