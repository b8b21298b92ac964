//! One engine for every distributed backend.

mod answers;
mod backoff;
mod builder;
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
mod pace;
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
mod warnings;

pub use self::{
    backoff::Backoff,
    builder::HubLayerBuilder,
    counters::{BackboneStats, Count, Counters, Recorder},
    echoes::{PendingEcho, PendingEchoes},
    error::LinkError,
    format::{Decoded, Destination, Format, ShardOf},
    handler::{Probe, ShardHandler, Stamp},
    hub_layer::HubLayer,
    link::{Backbone, BackboneLink, Batch, Inbound, Subscription},
    options::HubOptions,
    queue_reader::{Links, QueueReader},
    queues::{Changed, Push, Pushed, Queues, Role, Taken, Taker, Wanted},
    shard::Shard,
    sink::InboundSink,
};
