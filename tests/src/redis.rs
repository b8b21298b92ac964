//! A Redis server of the test's own.

use std::net::TcpListener;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::program::{Program, Signal};
use crate::within;

/// A Redis server that keeps nothing, on a port that was free.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    program: Program,
    folder: TempDir,
}

impl Redis {
    /// Starts one; without `redis-server` the test fails.
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

    /// Ends it without warning.
    pub async fn kill(&mut self) {
        self.program.kill().await;
    }

    /// Starts it again, empty, where it was.
    pub async fn start_again(&mut self) {
        self.program = Self::run(self.port, &self.folder).await;
    }

    /// Cuts off all its clients of this type, as `CLIENT KILL TYPE` has it.
    pub async fn cut(&self, clients: &str) {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string(), "client", "kill", "type", clients]);
        let status = within("redis-cli", command.stdout(Stdio::null()).status()).await;
        assert!(status.expect("redis-cli runs").success());
    }

    /// Has it stand still: it takes connections and says nothing.
    pub fn freeze(&self) {
        self.program.signal(Signal::STOP);
    }

    /// Has it go on.
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
