//! A redis-server for one test.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A server, which is killed when dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    dir: TempDir,
    args: Vec<String>,
    child: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts it with further arguments.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        let dir = TempDir::new().expect("a directory");
        let port = free_port();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut server = Self { port, dir, args, child: None };
        server.restart();
        server
    }

    pub(crate) fn address(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Starts it again on the same port, empty. Returns when it replies.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let port = self.port.to_string();
        let socket = self.socket();
        let fixed = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let child = Command::new("redis-server")
            .args(fixed)
            .args(["--unixsocket", &socket.to_string_lossy(), "--dir", &self.dir.path().to_string_lossy()])
            .args(["--enable-protected-configs", "local"])
            .args(&self.args)
            .stdout(fs::File::create(self.dir.path().join("log")).expect("a log file"))
            .stderr(Stdio::inherit())
            .spawn()
            .expect("these tests need redis-server (7 or later) in the PATH");
        self.child = Some(child);
        self.wait_until_ready();
    }

    /// Sends `SIGKILL`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process, whose port still accepts connections.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// The output of redis-cli.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        cli(self.port, args)
    }

    fn wait_until_ready(&self) {
        wait_until_ready(self.port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn cli(port: u16, args: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(args).output();
    String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).trim().to_owned()
}

/// A port that stays free while its server is down: below the ephemeral ports, and never used twice.
pub(crate) fn free_port() -> u16 {
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

pub(crate) fn wait_until_ready(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !answers(port) {
        assert!(Instant::now() < deadline, "the server on port {port} does not answer");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let limit = Some(Duration::from_secs(1));
    let mut reply = [0; 5];
    stream.set_read_timeout(limit).is_ok()
        && stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut reply).is_ok()
        && matches!(&reply, b"+PONG" | b"-NOAU")
}
