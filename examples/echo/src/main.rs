//! Echoes every frame, text and binary: an application as a plain loop, without a consumer.

use std::process::ExitCode;

use channel_layer::MemoryLayer;
use clap::Parser;
use example_support::{ServerOptions, stopped};
use ws_consumer::{Input, Limits, Protocols, Result, Router, Socket};

/// Echoes every frame on `/`.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
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
    let options: Options = example_support::parse("127.0.0.1:8001");
    example_support::exit("echo", run(options).await)
}

async fn run(options: Options) -> Result<(), String> {
    options.server.start_logs("info,ws_consumer::access=off")?;
    let listeners = options.server.listen().await?;

    let mut limits = Limits::default();
    limits.max_message_size = options.max_message;
    limits.read_buffer_size = options.read_buffer.unwrap_or(limits.read_buffer_size);
    limits.max_fragments = 1 << 17; // Autobahn sends four megabytes in 64-byte fragments

    let sockets = Router::new().application("/", echo);
    let protocols = Protocols::new().websocket(sockets).limits(limits).trust(options.server.trusted()?);

    println!("echo on ws://{}/", listeners.address());
    listeners.serve(protocols.into_service(MemoryLayer::default()), stopped()).await
}
