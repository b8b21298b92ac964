//! A chat in rooms: `cargo run --bin chat`, then open the address that it prints.

mod answers;
mod consumer;
mod pages;

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
};

use channel_layer::{ChannelLayer, Registry};
use clap::{Parser, ValueEnum};
use tokio::signal;
use tracing_subscriber::EnvFilter;
use ws_consumer::{Protocols, Resume, Router, listen, serve};

use self::consumer::{Chat, FrameChat};

/// A chat in rooms, in the browser and over WebSocket.
///
/// Logs go to standard error; RUST_LOG selects the levels (RUST_LOG=debug, or RUST_LOG=ws_consumer=debug).
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The address to listen on; port 0 lets the system choose
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The channel layer: memory://, or to share the rooms with other processes redis://HOST:PORT/DB, or nats://HOST:PORT
    /// in a program built with the feature `nats`
    #[arg(long, default_value = "memory://", value_name = "URL")]
    layer: String,
    /// The way of a message to a member: through its consumer, or straight to its socket
    #[arg(long, value_enum, default_value_t = Lane::Handler)]
    lane: Lane,
}

#[derive(Clone, Copy, ValueEnum)]
enum Lane {
    /// Events: each member's consumer handles it
    Handler,
    /// Encoded frames: no consumer wakes up
    Frame,
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
            eprintln!("chat: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    let layer = connect(&options.layer).await?;
    let listener = listen(options.listen).await;
    let listener = listener.map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;

    let rooms = "/ws/chat/{room}/";
    let sockets = match options.lane {
        Lane::Handler => Router::new().consumer(rooms, Chat::default),
        Lane::Frame => Router::new().consumer(rooms, FrameChat::default),
    };
    let pages = tower::service_fn(|request| async move { Ok(pages::answer(&request)) });
    // The page's client resumes its session after a broken connection, and works where a proxy forbids WebSockets.
    let protocols = Protocols::new().websocket(sockets).resume(Resume::default());
    let service = protocols.health_checks().http(pages);

    println!("chat on http://{address}/");
    serve(listener, service.into_service(layer))
        .with_graceful_shutdown(stopped())
        .await
        .map_err(|error| error.to_string())
}

async fn connect(url: &str) -> Result<Arc<dyn ChannelLayer>, String> {
    let registry = Registry::default().with(channel_layer_redis::schemes());
    #[cfg(feature = "nats")]
    let registry = registry.with([nats_layer::scheme()]);
    check_scheme(url, cfg!(feature = "nats"))?;
    registry.connect(url).await.map_err(|error| {
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    })
}

/// Refuses an address of NATS in a program that was built without the feature.
fn check_scheme(url: &str, has_nats: bool) -> Result<(), String> {
    match url.split_once("://") {
        Some(("nats", _)) if !has_nats => {
            Err("built without NATS; run it by `cargo run -p chat --features nats -- --layer nats://...`"
                .to_owned())
        }
        _ => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nats_address_needs_the_feature() {
        let refused = check_scheme("nats://127.0.0.1:4222", false).unwrap_err();
        assert!(refused.contains("cargo run -p chat --features nats -- --layer nats://"), "{refused}");
        for (url, has_nats) in
            [("nats://127.0.0.1:4222", true), ("redis://127.0.0.1", false), ("memory://", false)]
        {
            assert!(check_scheme(url, has_nats).is_ok(), "{url}");
        }
    }
}
