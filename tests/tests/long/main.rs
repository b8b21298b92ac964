//! Minutes of work for a server: run by `tests/run.sh --all`.

mod bad_days;
mod churn;
mod dead_member;
mod idle_connections;
mod memory_of_one_client;
mod nats;
mod nats_days;
