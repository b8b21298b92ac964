//! A nats-server for one test.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use super::process::{Process, free_port, wait_until_ready};

/// The size limit of the server: above the largest message of the suite, and small enough to be fast.
pub(crate) const MAX_PAYLOAD: usize = 2 << 20;

/// A server, which is killed when dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    monitor: u16,
    dir: TempDir,
    process: Option<Process>,
}

/// The clients of a server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Clients {
    pub(crate) connections: usize,
    pub(crate) subscriptions: usize,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts it with further lines of its configuration file.
    pub(crate) fn start_with(settings: &str) -> Self {
        let dir = TempDir::new().expect("a directory");
        let (port, monitor) = (free_port(), free_port());
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\nmax_payload: {MAX_PAYLOAD}\n{settings}\n"
        );
        fs::write(dir.path().join("config"), config).expect("a file");
        let mut server = Self { port, monitor, dir, process: None };
        server.restart();
        server
    }

    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it again on the same port. Returns when it accepts clients.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let path = |name| self.dir.path().join(name);
        let log = fs::File::create(path("log")).expect("a log file");
        let mut command = Command::new("nats-server");
        command.arg("--config").arg(path("config")).stderr(log);
        self.process = Some(Process::start(&mut command));
        wait_until_ready(|| greets(self.port), || fs::read_to_string(path("log")).unwrap_or_default());
    }

    /// Sends `SIGKILL`.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Stops the process, whose port still accepts connections.
    pub(crate) fn freeze(&self) {
        self.process().freeze();
    }

    pub(crate) fn thaw(&self) {
        self.process().thaw();
    }

    /// Whether it is running.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// The current clients.
    pub(crate) fn clients(&self) -> Clients {
        let mut stream = TcpStream::connect(("127.0.0.1", self.monitor)).expect("the monitor accepts");
        stream.write_all(b"GET /connz?limit=1000 HTTP/1.0\r\n\r\n").expect("the monitor reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the monitor answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an HTTP response");
        let body: Value = serde_json::from_str(body).expect("JSON");
        let connections = body["connections"].as_array().expect("a list of connections");
        let subscriptions = connections.iter().filter_map(|one| one["subscriptions"].as_u64()).sum::<u64>();
        Clients { connections: connections.len(), subscriptions: subscriptions.try_into().expect("a count") }
    }
}

/// Whether a server sends its greeting.
fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut greeting = [0; 5];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && &greeting == b"INFO "
}
