#![doc = include_str!("docs/front.md")]

pub mod backbone;
pub mod blocking;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod docs;
pub mod hub;
pub mod mailbox;
pub mod registry;
pub mod value;
mod warnings;
pub mod wrap;

mod capability;
mod config;
mod derived;
mod error;
mod events;
mod ext;
mod layer;
mod memory;
mod message;
mod name;
mod selection;
mod sync;

#[doc(hidden)]
pub use self::layer::LayerCall;
pub use self::{
    capability::Capabilities,
    config::{CapacityRules, LayerConfig, MailboxOptions, OverflowPolicy},
    error::{BoxError, Causes, ConfigError, Error, FilterError, NameError, Result},
    events::{EventSource, Health, LayerEvent, LayerEvents, LayerState},
    ext::{ChannelLayerExt, REPLY_CHANNEL},
    layer::{Audience, ChannelLayer, Deliveries, GroupDirectory, Remote, SendReport},
    mailbox::{Dropped, Ledger, Mailbox},
    memory::MemoryLayer,
    message::{Message, RESERVED_KEY, TAGS_KEY, WEBSOCKET_SEND},
    name::{ChannelName, GroupName, MAX_NAME_LENGTH},
    registry::Registry,
    selection::{Condition, GROUP_ACTIVITY, GroupActivity, Selection, Tag, TagFilter},
    value::{Map, Value, ValueError},
};

/// The example in the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
