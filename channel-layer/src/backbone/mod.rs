//! One engine for every distributed backend.

mod backoff;
mod counters;
mod error;
mod link;
mod options;
mod pace;
mod queues;
mod sink;
mod warnings;

pub use self::{
    counters::{BackboneStats, Count, Counters, Recorder},
    error::LinkError,
    link::{Backbone, BackboneLink, Batch, Inbound, Subscription},
    options::HubOptions,
    queues::{Changed, Push, Pushed, Queues, Role, Taken, Taker, Wanted},
    sink::InboundSink,
};
