//! The functions of the fuzz targets: all decoders of foreign input, by the public API. Those inside the Redis
//! layer are in that crate's module for fuzzing.
//!
//! Each function takes an input and panics if something is wrong. `tests/tests/corpus.rs` runs the committed corpora
//! through the same functions.

mod pipe;
mod requests;
mod sessions;
mod texts;
mod wire;

pub use self::{
    requests::requests,
    sessions::sessions,
    texts::{addresses, grants, names, origins, routes},
    wire::{frames, messages, values},
};
