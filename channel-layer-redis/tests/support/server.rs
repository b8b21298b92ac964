//! A redis-server for one test.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::process;
pub(crate) use super::process::{Process, free_port};

/// A server, which is killed when dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    dir: TempDir,
    args: Vec<String>,
    process: Option<Process>,
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
        let mut server = Self { port, dir, args, process: None };
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
        self.process().id()
    }

    /// Starts it again on the same port, empty. Returns when it replies.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let port = self.port.to_string();
        let socket = self.socket();
        let fixed = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let mut command = Command::new("redis-server");
        command
            .args(fixed)
            .args(["--unixsocket", &socket.to_string_lossy(), "--dir", &self.dir.path().to_string_lossy()])
            .args(["--enable-protected-configs", "local"])
            .args(&self.args)
            .stdout(fs::File::create(self.dir.path().join("log")).expect("a log file"))
            .stderr(Stdio::inherit());
        self.process = Some(Process::start(&mut command));
        wait_until_ready(self.port);
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

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// The output of redis-cli.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        cli(self.port, args)
    }
}

pub(crate) fn cli(port: u16, args: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(args).output();
    String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).trim().to_owned()
}

pub(crate) fn wait_until_ready(port: u16) {
    process::wait_until_ready(|| answers(port), || format!("no reply on port {port}"));
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
