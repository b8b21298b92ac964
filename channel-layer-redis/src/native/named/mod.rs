//! Named channels, for workers: kept in Redis until one of the receivers, in whatever process, takes them.

pub(crate) mod blocking;
mod desk;
mod members;
mod reader;
mod store;

pub(crate) use self::desk::Desk;
pub(super) use self::{
    members::Members,
    reader::Reader,
    store::{As, Stored, clear, push},
};
