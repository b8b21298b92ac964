//! Named channels, for workers: kept in Redis until one of the receivers, in whatever process, takes them.

mod desk;
mod members;
mod reader;
mod store;

pub(super) use self::{
    desk::Desk,
    members::Members,
    reader::Reader,
    store::{As, clear, push},
};
