//! The example servers, each a separate process on a separate port.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::process::Command;

use crate::binaries::path_of;
use crate::program::Program;

/// The path of the chat's messages to its members.
#[derive(Clone, Copy, Debug)]
pub enum Lane {
    /// Ready bytes, past the consumer.
    Frame,
    /// A typed event, through the consumer's hook.
    Handler,
}

impl Lane {
    fn as_str(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Handler => "handler",
        }
    }
}

/// A running example server.
#[derive(Debug)]
pub struct Server {
    /// The process: to signal it, to wait for it, to read its output.
    pub program: Program,
    /// The address that it listens on.
    pub address: SocketAddr,
}

impl Server {
    /// Starts the chat on a free port.
    pub async fn chat(lane: Lane) -> Self {
        Self::chat_on("127.0.0.1:0", lane).await
    }

    /// Starts the chat at `listen`.
    pub async fn chat_on(listen: &str, lane: Lane) -> Self {
        Self::start_chat(Self::chat_command(listen, lane)).await
    }

    /// Starts the chat with a channel layer in memory and this limit of open files.
    pub async fn chat_with_few_descriptors(files: usize, layer: &str) -> Self {
        let mut chat = Self::chat_command("127.0.0.1:0", Lane::Handler);
        chat.args(["--layer", layer]);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -Sn {files} && exec \"$0\" \"$@\""));
        command.arg(chat.as_std().get_program()).args(chat.as_std().get_args());
        Self::start_chat(command).await
    }

    /// Starts the chat on a free port with a channel layer in memory.
    pub async fn chat_with_layer(layer: &str, lane: Lane) -> Self {
        let mut command = Self::chat_command("127.0.0.1:0", lane);
        command.args(["--layer", layer]);
        Self::start_chat(command).await
    }

    async fn start_chat(command: Command) -> Self {
        let (program, address) = Program::start(command, |line| address_in(line, "chat on http://")).await;
        Self { program, address }
    }

    /// The chat's command line, not started.
    pub fn chat_command(listen: &str, lane: Lane) -> Command {
        let mut command = Command::new(path_of("chat"));
        command.args(["--listen", listen, "--lane", lane.as_str()]);
        command
    }

    /// Starts the echo server on a free port, for messages of up to `max_message` bytes.
    pub async fn echo(max_message: usize) -> Self {
        let mut command = Command::new(path_of("echo"));
        command.args(["--listen", "127.0.0.1:0", "--max-message", &max_message.to_string()]);
        let (program, address) = Program::start(command, |line| address_in(line, "echo on ws://")).await;
        Self { program, address }
    }

    /// Starts the auction on a free port, behind a proxy of this machine. One of the processes on a layer is the house,
    /// which ends its lots one interval apart.
    pub async fn auction(layer: &str, house: Option<Duration>) -> Self {
        Self::auction_on("127.0.0.1:0", layer, house).await
    }

    /// Starts the auction at `listen`.
    pub async fn auction_on(listen: &str, layer: &str, house: Option<Duration>) -> Self {
        let mut command = Command::new(path_of("auction"));
        command.args(["--listen", listen, "--proxy-trust", "127.0.0.1", "--layer", layer]);
        match house {
            Some(interval) => command.args(["--interval", &interval.as_secs().to_string()]),
            None => command.arg("--no-house"),
        };
        let (program, address) = Program::start(command, |line| address_in(line, "auction on http://")).await;
        Self { program, address }
    }

    /// Starts the example with logins on a free port; a login ends after this number of seconds.
    pub async fn auth(login_lasts: u64) -> Self {
        let mut command = Command::new(path_of("auth"));
        command.args(["--listen", "127.0.0.1:0", "--login-lasts", &login_lasts.to_string()]);
        let (program, address) = Program::start(command, |line| address_in(line, "auth on http://")).await;
        Self { program, address }
    }

    /// Starts the example with background work on a free port.
    pub async fn worker() -> Self {
        let mut command = Command::new(path_of("worker"));
        command.args(["--listen", "127.0.0.1:0"]);
        let (program, address) = Program::start(command, |line| address_in(line, "worker on http://")).await;
        Self { program, address }
    }

    /// Starts the example with every transport on one page, on a free port.
    pub async fn transports() -> Self {
        let mut command = Command::new(path_of("transports"));
        command.args(["--listen", "127.0.0.1:0"]);
        let (program, address) =
            Program::start(command, |line| address_in(line, "transports on http://")).await;
        Self { program, address }
    }

    /// The address of a page or resource.
    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The address of a WebSocket.
    pub fn ws(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }
}

// The whole line must match.
fn address_in(line: &str, promise: &str) -> Option<SocketAddr> {
    line.strip_prefix(promise)?.strip_suffix('/')?.parse().ok()
}
