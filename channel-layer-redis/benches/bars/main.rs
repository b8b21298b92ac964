//! Benchmarks with limits: ratios of two measurements in one run, because absolute figures of shared machines vary. Needs
//! redis-server and redis-benchmark.
//!
//! `cargo bench -p channel-layer-redis --bench bars`, with `-- fan-out`, `-- publish` or `-- workers` for one of them.

mod fan_out;
mod publish;
#[path = "../../tests/support/mod.rs"]
mod support;
mod workers;

use std::{collections::HashMap, time::Duration};

use support::server::Server;
use tokio::runtime::{Builder, Runtime};

/// The number of rounds, which measure both sides. The result is the median of the ratios.
const REPETITIONS: usize = 7;
/// The duration of one measurement.
const MEASURED: Duration = Duration::from_millis(1500);

fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    if wants("fan-out") {
        runtime(2).block_on(fan_out::run());
    }
    if wants("publish") {
        runtime(1).block_on(publish::run("one thread"));
        runtime(2).block_on(publish::run("two threads"));
    }
    if wants("workers") {
        runtime(2).block_on(workers::run());
    }
}

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().expect("a runtime")
}

fn median(ratios: &[f64]) -> f64 {
    let mut sorted = ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The counters of a server.
struct Served {
    /// `PUBLISH` commands.
    publishes: u64,
    /// Bytes sent by all clients.
    bytes: u64,
    /// Processor time in seconds.
    seconds: f64,
}

impl Served {
    fn by(server: &Server) -> Self {
        let text = server.cli(&["info", "everything"]);
        let lines: HashMap<_, _> = text.lines().filter_map(|line| line.trim().split_once(':')).collect();
        let number = |key: &str| lines.get(key).and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0);
        let publishes = lines.get("cmdstat_publish").and_then(|value| value.strip_prefix("calls="));
        Self {
            publishes: publishes.and_then(|value| value.split(',').next()?.parse().ok()).unwrap_or(0),
            bytes: number("total_net_input_bytes") as u64,
            seconds: number("used_cpu_sys") + number("used_cpu_user"),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            publishes: self.publishes - before.publishes,
            bytes: self.bytes - before.bytes,
            seconds: self.seconds - before.seconds,
        }
    }
}
