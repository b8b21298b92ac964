//! Workers in separate processes over Redis, one of which is killed during the work.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use channel_layer::{ChannelLayer, ChannelName, Error, Message, Registry};
use channels_tests::{DEADLINE, Program};
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use ws_consumer::worker::{SubmitPolicy, submit_until_done};

const MESSAGES: u32 = 6000;
const CONCURRENCY: usize = 4;

/// A Redis server with three workers.
struct Plant {
    folder: TempDir,
    _redis: Program,
    workers: Vec<Program>,
    layer: Arc<dyn ChannelLayer>,
    channel: ChannelName,
}

impl Plant {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let socket = folder.path().join("redis.sock");
        let redis = start_redis(&socket).await;
        let url = format!("unix://{}", socket.display());
        let mut workers = Vec::new();
        for at in 0..3 {
            workers.push(start_worker(&url, &numbers(&folder, at)).await);
        }
        let registry = Registry::default().with(channel_layer_redis::schemes());
        let layer = registry.connect(&url).await.expect("Redis is there");
        let channel = "numbers".parse().expect("a valid name");
        Self { folder, _redis: redis, workers, layer, channel }
    }

    /// Sends a number, and waits while the channel is full.
    async fn send(&self, n: u32) {
        let message = Message::new("number").with("n", i64::from(n));
        loop {
            match self.layer.send(&self.channel, message.clone()).await {
                Err(Error::ChannelFull { .. }) => sleep(Duration::from_millis(5)).await,
                other => return other.expect("Redis is there"),
            }
        }
    }

    /// The number of times that each number was handled.
    fn handled(&self) -> HashMap<u32, u32> {
        let mut handled = HashMap::new();
        for at in 0..3 {
            let text = std::fs::read_to_string(numbers(&self.folder, at)).unwrap_or_default();
            let all = text.lines().map(|line| line.parse::<u32>().expect("whole lines"));
            all.for_each(|n| *handled.entry(n).or_default() += 1);
        }
        handled
    }

    /// Waits until no more numbers come.
    async fn settle(&self) -> HashMap<u32, u32> {
        let end = Instant::now() + DEADLINE;
        loop {
            let before = self.handled().len();
            // Long compared to the five milliseconds that one takes.
            sleep(Duration::from_secs(2)).await;
            let handled = self.handled();
            if handled.len() == before {
                return handled;
            }
            assert!(Instant::now() < end, "the workers do not come to an end");
        }
    }

    async fn kill_one_after(&mut self, count: usize) {
        while self.handled().len() < count {
            sleep(Duration::from_millis(5)).await;
        }
        self.workers[0].kill().await;
    }
}

fn numbers(folder: &TempDir, worker: usize) -> PathBuf {
    folder.path().join(format!("numbers-{worker}"))
}

async fn start_redis(socket: &Path) -> Program {
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(socket);
    let ready = |line: &str| line.contains("ready to accept connections").then_some(());
    Program::start(command, ready).await.0
}

async fn start_worker(url: &str, file: &Path) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counting-worker"));
    command.arg(url).arg(file).arg(CONCURRENCY.to_string());
    Program::start(command, |line| (line == "ready").then_some(())).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_worker_doubles_nothing() {
    let mut plant = Plant::start().await;
    let half = MESSAGES / 2;
    for n in 0..half {
        plant.send(n).await;
    }
    plant.kill_one_after(half as usize / 2).await;
    for n in half..MESSAGES {
        plant.send(n).await;
    }
    let handled = plant.settle().await;
    let lost = MESSAGES as usize - handled.len();
    // Those being handled, and one that waits for a free worker.
    assert!(lost <= CONCURRENCY + 1, "{lost} lost");
    let twice = handled.values().filter(|count| **count > 1).count();
    assert_eq!(twice, 0, "handled more than once");
    let survivors = std::fs::read_to_string(numbers(&plant.folder, 2)).expect("a survivor's file");
    assert!(survivors.lines().count() > 1000, "the others have gone on");
}

#[tokio::test(flavor = "multi_thread")]
async fn awaited_work_survives_a_kill() {
    let mut plant = Plant::start().await;
    let (layer, channel) = (plant.layer.clone(), plant.channel.clone());
    let asking = tokio::spawn(async move {
        let ask = |n: u32| {
            let (layer, channel) = (layer.clone(), channel.clone());
            async move {
                let number = Message::new("number").with("n", i64::from(n));
                submit_until_done(&*layer, &channel, &number, SubmitPolicy::new(Duration::from_secs(5), 10))
                    .await
            }
        };
        let mut asked = futures_util::stream::iter((0..MESSAGES).map(ask)).buffer_unordered(24);
        while let Some(outcome) = asked.next().await {
            outcome.expect("done in the end");
        }
    });
    plant.kill_one_after(MESSAGES as usize / 4).await;
    channels_tests::within("all are done", asking).await.expect("all were done");
    assert_eq!(plant.handled().len(), MESSAGES as usize);
}
