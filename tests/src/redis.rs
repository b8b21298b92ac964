//! A Redis server for one test.

use std::net::TcpListener;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::program::{Program, Signal};
use crate::within;

/// A Redis server without persistence, on a free port.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    program: Program,
    folder: TempDir,
}

impl Redis {
    /// Starts a server; without `redis-server` the test fails.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("the port is known").port();
        drop(listener);
        let folder = tempfile::tempdir().expect("a folder");
        let program = Self::run(port, &folder).await;
        Self { port, program, folder }
    }

    /// The URL of a layer on it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Kills the server.
    pub async fn kill(&mut self) {
        self.program.kill().await;
    }

    /// Starts the server again, empty, on the same port.
    pub async fn start_again(&mut self) {
        self.program = Self::run(self.port, &self.folder).await;
    }

    /// Closes all clients of this type, by `CLIENT KILL TYPE`.
    pub async fn cut(&self, clients: &str) {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string(), "client", "kill", "type", clients]);
        let status = within("redis-cli", command.stdout(Stdio::null()).status()).await;
        assert!(status.expect("redis-cli runs").success());
    }

    /// Stops the process: it takes connections and answers none.
    pub fn freeze(&self) {
        self.program.signal(Signal::STOP);
    }

    /// Continues the process.
    pub fn thaw(&self) {
        self.program.signal(Signal::CONT);
    }

    async fn run(port: u16, folder: &TempDir) -> Program {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.arg("--dir").arg(folder.path());
        let ready = |line: &str| line.contains("eady to accept connections").then_some(());
        Program::start(command, ready).await.0
    }
}
