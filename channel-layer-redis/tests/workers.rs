//! Workers in separate processes, on one named channel.

mod support;

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use channel_layer::{ChannelLayer, ChannelName};
use support::{PATIENCE, layer, number, numbered, server::Server, until};
use tokio::time::timeout;

const MESSAGES: usize = 6000;
const ADDRESS: &str = "CHANNEL_LAYER_REDIS_TEST_ADDRESS";

fn jobs() -> ChannelName {
    "jobs".parse().expect("a valid name")
}

// The processes of the workers are this program with this test alone, and an address in their environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_share_messages() {
    if let Ok(address) = std::env::var(ADDRESS) {
        return work(&address).await;
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_channel_affects_no_other() {
    let server = Server::start();
    for (mode, key) in [("native", "asgi:q:broken"), ("core", "asgibroken")] {
        server.cli(&["set", key, "no messages"]);
        let one = Arc::new(layer(&format!("{}?mode={mode}", server.address())).await);
        for n in 0..3 {
            one.send(&jobs(), numbered(n)).await.expect("there is room");
        }
        let broken = tokio::spawn({
            let one = one.clone();
            async move { one.receive(&"broken".parse().expect("a valid name")).await }
        });
        tokio::task::yield_now().await;
        for n in 0..3 {
            let received = timeout(PATIENCE, one.receive(&jobs())).await.expect("none is lost");
            assert_eq!(number(&received.expect("Redis is up")), n, "{mode}");
        }
        broken.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receiver_leaves_ended_links() {
    let server = Server::start();
    let one = Arc::new(layer(&server.address()).await);
    one.send(&jobs(), numbered(1)).await.expect("there is room");
    one.receive(&jobs()).await.expect("Redis is up");
    let waiting = tokio::spawn({
        let one = one.clone();
        async move { one.receive(&jobs()).await }
    });
    let named = |role: &str| {
        let clients = server.cli(&["client", "list"]);
        let clients = clients.lines().filter(|line| line.contains(role)).map(str::to_owned);
        clients.collect::<Vec<_>>()
    };
    let first = named(":commands");
    let id = first[0].split(&['=', ' ']).nth(1).expect("it begins with `id=N`").to_owned();
    server.cli(&["client", "kill", "id", &id]);
    until("a new session", || async { one.stats().reconnects == 1 }).await;
    until("the old one has gone", || async { named(":subscriber").len() == 1 }).await;
    waiting.abort();
}

/// Receives forever. Its receivers are cancelled now and then.
async fn work(address: &str) {
    let layer = layer(address).await;
    for turn in 0_u64.. {
        let patience = Duration::from_micros(200 + turn % 7 * 500);
        if let Ok(received) = timeout(patience, layer.receive(&jobs())).await {
            let n = number(&received.expect("Redis is up"));
            // Not `println`, which the test runner may capture.
            writeln!(std::io::stdout(), "received {n}").expect("the output is read");
        }
    }
}

struct Worker {
    child: Child,
    reader: Option<thread::JoinHandle<usize>>,
}

impl Worker {
    fn start(address: &str, numbers: mpsc::Sender<i64>) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "three_processes_share_messages", "--nocapture"])
            .env(ADDRESS, address)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let reader = thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            // The output of the test runner may precede it.
            let received = lines.filter_map(|line| line.rsplit_once("received ")?.1.parse().ok());
            received.take_while(|n| numbers.send(*n).is_ok()).count()
        });
        Self { child, reader: Some(reader) }
    }

    /// Ends it, and returns the number of messages that it received.
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
