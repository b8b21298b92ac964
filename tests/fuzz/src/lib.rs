//! What the fuzz targets run: everything that reads what others send, by the public API. What is behind it, in the Redis
//! layer, is in that crate's module `fuzz`.
//!
//! Each function takes an input and panics if something is wrong. `tests/tests/corpus.rs` runs the committed corpora
//! through the same functions.

mod requests;
mod sessions;
mod stage;
mod texts;
mod wire;

pub use self::{
    requests::requests,
    sessions::sessions,
    texts::{addresses, grants, names, origins, routes},
    wire::{frames, messages, values},
};
