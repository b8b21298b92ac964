//! Echoes every frame, text and binary: an application as a plain loop, without a consumer.

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    process::ExitCode,
};

use channel_layer::MemoryLayer;
use clap::Parser;
use tokio::signal;
use tracing_subscriber::EnvFilter;
use ws_consumer::{Input, Limits, Protocols, Result, Router, Socket, listen, serve};

/// Echoes every frame on `/`.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The address to listen on; port 0 lets the system choose
    #[arg(long, default_value = "127.0.0.1:8001", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Maximum size of a message
    #[arg(long, default_value_t = 16 << 20, value_name = "BYTES")]
    max_message: usize,
    /// Size of a connection's read buffer; the library's by default
    #[arg(long, value_name = "BYTES")]
    read_buffer: Option<usize>,
}

async fn echo(mut socket: Socket) -> Result<()> {
    socket.accept().await?;
    while let Some(input) = socket.next().await? {
        if let Input::Frame(frame) = input {
            socket.send(frame).await?;
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    // RUST_LOG=info adds a line per request.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,ws_consumer::access=off".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    log.with_ansi(io::stderr().is_terminal()).init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("echo: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    let listener = listen(options.listen).await;
    let listener = listener.map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;

    let mut limits = Limits::default();
    limits.max_message_size = options.max_message;
    limits.read_buffer_size = options.read_buffer.unwrap_or(limits.read_buffer_size);
    limits.max_fragments = 1 << 17; // Autobahn sends four megabytes in 64-byte fragments

    let sockets = Router::new().application("/", echo);
    let service = Protocols::new().websocket(sockets).limits(limits).into_service(MemoryLayer::default());

    println!("echo on ws://{address}/");
    serve(listener, service).with_graceful_shutdown(stopped()).await.map_err(|error| error.to_string())
}

/// Waits for Ctrl-C, or for the SIGTERM of a process supervisor.
async fn stopped() {
    #[cfg(unix)]
    {
        let terminated = signal::unix::signal(signal::unix::SignalKind::terminate());
        if let Ok(mut terminated) = terminated {
            tokio::select! {
                _ = terminated.recv() => return,
                _ = signal::ctrl_c() => return,
            }
        }
    }
    let _ = signal::ctrl_c().await;
}
