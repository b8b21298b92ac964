//! A nats-server for one test.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// The size limit of the server: above the largest message of the suite, and small enough to be fast.
pub(crate) const MAX_PAYLOAD: usize = 2 << 20;

/// A server, which is killed when dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    monitor: u16,
    dir: TempDir,
    child: Option<Child>,
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
        let mut server = Self { port, monitor, dir, child: None };
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
        self.child = Some(command.spawn().expect("these tests need nats-server in the PATH"));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !greets(self.port) {
            let log = || fs::read_to_string(path("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the server on port {} is not ready:\n{}", self.port, log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends `SIGKILL`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process, whose port still accepts connections. Returns when all of its threads have stopped.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
        while !self.is_stopped() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Whether it is running.
    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    fn is_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id())).expect("it runs");
        let states =
            threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
        states.into_iter().all(|state| state.contains(") T "))
    }

    fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.expect("kill runs").success());
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

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that stays free while its server is down: below the ephemeral ports, and never used twice.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other test programs may run at the same time.
    let start = 10_000 + (std::process::id() % 200) as u16 * 100;
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
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
