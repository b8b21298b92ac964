//! Minutes of work for a server: run by `tests/run.sh --all`.

mod churn;
mod dead_member;
mod idle_connections;
mod memory_of_one_client;
mod nats;
mod nats_faults;
mod redis_faults;
