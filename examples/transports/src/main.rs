//! A room over four transports, and the cost of each: `cargo run --bin transports`, then open the address that it prints.

#[path = "../../chat/src/answers.rs"]
mod answers;
mod counts;
mod pages;
mod room;

use std::{io, net::SocketAddr, process::ExitCode};

use channel_layer::MemoryLayer;
use clap::Parser;
use tokio::signal;
use ws_consumer::{Protocols, Resume, Router, listen, serve};

use self::{counts::Counts, room::Room};

/// Polling, long polling, event streams and WebSocket next to each other.
///
/// Logs go to standard error; RUST_LOG selects them.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The address to listen on; port 0 lets the system choose
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDRESS")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| "info,ws_consumer::access=off".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("transports: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    let listener = listen(options.listen).await;
    let listener = listener.map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;

    let counts = Counts::default();
    // The consumer is written for WebSockets; this line adds the other transports.
    let protocols = Protocols::new().resume(Resume::default());
    let service = protocols.websocket(sockets(counts.clone())).http(tower::service_fn(move |request| {
        let answer = pages::answer(&request, &counts);
        async { Ok(answer) }
    }));

    println!("transports on http://{address}/");
    let served = serve(listener, service.into_service(MemoryLayer::default()));
    served.with_graceful_shutdown(stopped()).await.map_err(|error| error.to_string())
}

fn sockets(counts: Counts) -> Router {
    Router::new().consumer("/ws/room/", move || Room::new(counts.clone()))
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
