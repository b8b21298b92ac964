//! Workers in processes of their own, on one named channel.

mod support;

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use channel_layer::{ChannelLayer, ChannelName};
use support::{PATIENCE, layer, number, numbered, server::Server};
use tokio::time::timeout;

const MESSAGES: usize = 6000;
const ADDRESS: &str = "CHANNEL_LAYER_REDIS_TEST_ADDRESS";

fn jobs() -> ChannelName {
    "jobs".parse().expect("a valid name")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_receive_each_message_once_and_lose_none() {
    let server = Server::start();
    let address = server.address() + "?capacity=10000";
    let (lines, numbers) = mpsc::channel();
    let mut workers: Vec<_> = (0..3).map(|_| Worker::start(&address, lines.clone())).collect();
    let sender = layer(&address).await;
    for n in 0..MESSAGES {
        sender.send(&jobs(), numbered(n as i64)).await.expect("there is room");
    }
    let mut seen = HashSet::new();
    while seen.len() < MESSAGES {
        let n = numbers.recv_timeout(PATIENCE).expect("none is lost");
        assert!(seen.insert(n), "{n} came twice");
    }
    assert!(numbers.recv_timeout(Duration::from_millis(300)).is_err(), "none comes twice");
    let busy = workers.iter_mut().map(Worker::end).filter(|received| *received > 0).count();
    assert_eq!(busy, 3, "all of them worked");
}

/// Not a test: the program that the test above starts. It receives, and gives up now and then.
#[test]
#[ignore = "started by the test above"]
fn worker_process() {
    let address = std::env::var(ADDRESS).expect("started by the test above");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let layer = layer(&address).await;
        for turn in 0_u64.. {
            let patience = Duration::from_micros(200 + turn % 7 * 500);
            if let Ok(received) = timeout(patience, layer.receive(&jobs())).await {
                let n = number(&received.expect("all is well"));
                // Not `println`, which the test runner may keep.
                writeln!(std::io::stdout(), "received {n}").expect("somebody reads");
            }
        }
    });
}

struct Worker {
    child: Child,
    reader: Option<thread::JoinHandle<usize>>,
}

impl Worker {
    fn start(address: &str, numbers: mpsc::Sender<i64>) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "worker_process", "--ignored", "--nocapture"])
            .env(ADDRESS, address)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let reader = thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            // The runner's own first words may stand before.
            let received = lines.filter_map(|line| line.rsplit_once("received ")?.1.parse().ok());
            received.take_while(|n| numbers.send(*n).is_ok()).count()
        });
        Self { child, reader: Some(reader) }
    }

    /// Ends it, and says how many messages it received.
    fn end(&mut self) -> usize {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.reader.take().map_or(0, |reader| reader.join().expect("it only reads"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}
