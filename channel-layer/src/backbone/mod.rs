//! One engine for every distributed backend.

mod answers;
mod backoff;
mod counters;
mod error;
mod handler;
mod link;
mod options;
mod outbox;
mod pace;
mod panics;
mod publisher;
mod queue_reader;
mod queues;
mod receivers;
mod sequence;
mod session;
mod shard;
mod shared_receiver;
mod sink;
mod subscriptions;
mod warnings;

pub use self::{
    backoff::Backoff,
    counters::{BackboneStats, Count, Counters, Recorder},
    error::LinkError,
    handler::{Probe, ShardHandler, Stamp},
    link::{Backbone, BackboneLink, Batch, Inbound, Subscription},
    options::HubOptions,
    queue_reader::{Links, QueueReader},
    queues::{Changed, Push, Pushed, Queues, Role, Taken, Taker, Wanted},
    shard::Shard,
    sink::InboundSink,
};
