//! A chat in rooms: `cargo run --bin chat`, then open the address that it prints.

mod answers;
mod consumer;
mod pages;

use std::{process::ExitCode, sync::Arc};

use channel_layer::{ChannelLayer, Registry};
use clap::{Parser, ValueEnum};
use example_support::{LayerOptions, ServerOptions, stopped};
use ws_consumer::{Protocols, Resume, Router};

use self::consumer::{Chat, FrameChat};

/// A chat in rooms, in the browser and over WebSocket.
///
/// Logs go to standard error; RUST_LOG selects the levels (RUST_LOG=debug, or RUST_LOG=ws_consumer=debug).
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    layer: LayerOptions,
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
    let options: Options = example_support::parse("127.0.0.1:8000");
    example_support::exit("chat", run(options).await)
}

async fn run(options: Options) -> Result<(), String> {
    options.server.start_logs("info,ws_consumer::access=off")?;
    let layer = connect(&options.layer).await?;
    let listeners = options.server.listen().await?;

    let rooms = "/ws/chat/{room}/";
    let sockets = match options.lane {
        Lane::Handler => Router::new().consumer(rooms, Chat::default),
        Lane::Frame => Router::new().consumer(rooms, FrameChat::default),
    };
    let pages = tower::service_fn(|request| async move { Ok(pages::answer(&request)) });
    // The page's client resumes its session after a broken connection, and works where a proxy forbids WebSockets.
    let protocols = Protocols::new().websocket(sockets).resume(Resume::default());
    let protocols = protocols.trust(options.server.trusted()?);
    let service = protocols.health_checks().http(pages);

    println!("chat on http://{}/", listeners.address());
    listeners.serve(service.into_service(layer), stopped()).await
}

async fn connect(options: &LayerOptions) -> Result<Arc<dyn ChannelLayer>, String> {
    let registry = Registry::default().with(channel_layer_redis::schemes());
    #[cfg(feature = "nats")]
    let registry = registry.with([nats_layer::scheme()]);
    check_scheme(&options.layer, cfg!(feature = "nats"))?;
    options.connect(registry).await
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
