//! A room over four transports, and the cost of each: `cargo run --bin transports`, then open the address that it prints.

#[path = "../../chat/src/answers.rs"]
mod answers;
mod counts;
mod pages;
mod room;

use std::process::ExitCode;

use channel_layer::MemoryLayer;
use clap::Parser;
use example_support::{ServerOptions, stopped};
use ws_consumer::{Protocols, Resume, Router};

use self::{counts::Counts, room::Room};

/// Polling, long polling, event streams and WebSocket next to each other.
///
/// Logs go to standard error; RUST_LOG selects them.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options: Options = example_support::parse("127.0.0.1:8000");
    example_support::exit("transports", run(options).await)
}

async fn run(options: Options) -> Result<(), String> {
    options.server.start_logs("info,ws_consumer::access=off")?;
    let listeners = options.server.listen().await?;

    let counts = Counts::default();
    // The consumer is written for WebSockets; this line adds the other transports.
    let protocols = Protocols::new().resume(Resume::default()).trust(options.server.trusted()?);
    let service = protocols.websocket(sockets(counts.clone())).http(tower::service_fn(move |request| {
        let answer = pages::answer(&request, &counts);
        async { Ok(answer) }
    }));

    println!("transports on http://{}/", listeners.address());
    listeners.serve(service.into_service(MemoryLayer::default()), stopped()).await
}

fn sockets(counts: Counts) -> Router {
    Router::new().consumer("/ws/room/", move || Room::new(counts.clone()))
}
