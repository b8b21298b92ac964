//! Minutes of work for a server: run by `tests/run.sh --all`.

mod bad_days;
mod crowd;
mod dead_member;
mod hoard;
mod nats;
mod nats_days;
mod visitors;
