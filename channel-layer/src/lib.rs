//! Channels, groups and mailboxes for real-time applications, with pluggable backends.
//!
//! A *channel* is the address of one connection, or of workers; a *group* is a set of channels; a
//! [`ChannelLayer`] lets any process reach any of them. The design is Django Channels'.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> channel_layer::Result<()> {
//! use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer, Message};
//!
//! let layer = MemoryLayer::default();
//! let mut alice = layer.new_channel().await?;
//! let mut bob = layer.new_channel().await?;
//! for member in [&alice, &bob] {
//!     layer.join("lobby", member.channel()).await?;
//! }
//!
//! let report = layer.group_send_message("lobby", Message::new("chat.message").with("text", "hi")).await?;
//! assert_eq!(report.local.delivered, 2);
//! assert_eq!(alice.recv().await, bob.recv().await);
//!
//! drop(bob); // closes the channel, and leaves the group
//! let report = layer.group_send_message("lobby", Message::new("chat.message")).await?;
//! assert_eq!(report.local.delivered, 1);
//! # Ok(()) }
//! ```

// `shuttle` is set by RUSTFLAGS alone; Cargo cannot know of it.
#![allow(unexpected_cfgs)]

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod hub;
pub mod mailbox;
pub mod registry;
pub mod value;
pub mod wrap;

mod capability;
mod config;
mod error;
mod events;
mod ext;
mod layer;
mod memory;
mod message;
mod name;
mod sync;

pub use self::{
    capability::Capabilities,
    config::{CapacityRules, LayerConfig, MailboxOptions, Policy},
    error::{BoxError, ConfigError, Error, NameError, Result},
    events::{Health, LayerEvent, LayerEvents},
    ext::{ChannelLayerExt, REPLY_CHANNEL},
    layer::{Audience, ChannelLayer, Deliveries, GroupDirectory, Remote, SendReport},
    mailbox::{Dropped, Ledger, Mailbox},
    memory::MemoryLayer,
    message::{Message, RESERVED_KEY, WEBSOCKET_SEND},
    name::{ChannelName, GroupName, MAX_NAME_LENGTH},
    registry::Registry,
    value::{Map, Value, ValueError},
};
