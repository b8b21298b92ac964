//! An auction: `cargo run --bin auction`, then open the address that it prints, and log in as ann, bob or eve.
//!
//! With a Redis, several processes are one auction, also for logins: `auction --layer redis://127.0.0.1` and
//! `auction --layer redis://127.0.0.1 --no-house --listen 127.0.0.1:8001`. All lots are in the first one, and end with it.

mod house;
mod lots;
mod pages;

use std::{process::ExitCode, sync::Arc, time::Duration};

use channel_layer::{ChannelLayer, Registry};
use channel_layer_redis::RedisSessionStore;
use clap::{Parser, value_parser};
use example_support::{LayerOptions, ServerOptions, stopped};
use ws_consumer::{
    Application, Origins, Protocols, Resume, Router,
    middleware::{Auth, Guard, Limiter, MemoryStore, Rate, SessionStore, Sessions, auth_stack},
};

use self::{
    lots::{LotStream, LotViewer},
    pages::{Bidders, pages},
};

/// The wares and their first prices, in euros.
const WARES: [(&str, u64); 4] =
    [("Brass telescope", 40), ("Station clock", 60), ("Chart of the harbour", 25), ("Ship in a bottle", 15)];

/// An auction with logins: ann, bob and eve, each with the password NAME-secret.
///
/// Logs go to standard error; RUST_LOG selects them.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    layer: LayerOptions,
    /// Serves the pages only: of the processes that share a layer, one is the house, which has all lots in its memory
    #[arg(long)]
    no_house: bool,
    /// The seconds between the ends of two lots
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=86_400))]
    interval: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options: Options = example_support::parse("127.0.0.1:8000");
    example_support::exit("auction", run(options).await)
}

async fn run(options: Options) -> Result<(), String> {
    options.server.start_logs("info,ws_consumer::access=off")?;
    let url = &options.layer.layer;
    if !url.starts_with("redis://") {
        return serve_with(MemoryStore::default(), options).await;
    }
    let store = RedisSessionStore::connect(url).await.map_err(|error| format!("no sessions: {error}"))?;
    serve_with(store, options).await
}

async fn serve_with(store: impl SessionStore + Clone, options: Options) -> Result<(), String> {
    let layer = options.layer.connect(Registry::default().with(channel_layer_redis::schemes())).await?;
    let listeners = options.server.listen().await?;
    // Plain HTTP here, so the cookie may not be for TLS only.
    let sessions = Sessions::new(store).insecure();
    let streams = Router::new().http("/api/lots/stream", || LotStream);
    let protocols = Protocols::new().websocket(guarded_sockets(sessions.clone())).requests(streams);
    let protocols = protocols.resume(Resume::default()).trust(options.server.trusted()?);
    let protocols = protocols.health_checks().http(guarded_pages(layer.clone(), sessions));

    println!("auction on http://{}/", listeners.address());
    let serving = listeners.serve(protocols.into_service(layer.clone()), stopped());
    if options.no_house {
        return serving.await;
    }
    let interval = Duration::from_secs(options.interval);
    let house =
        async { house::run(layer, &WARES, interval, stopped()).await.map_err(|error| error.to_string()) };
    tokio::try_join!(house, serving).map(|_| ())
}

fn sockets() -> Router {
    Router::new().typed_requests("/ws/lots/{id}", LotViewer::default)
}

/// The sockets, which know the user. A logout in another tab ends them within five seconds.
fn guarded_sockets(sessions: Sessions<impl SessionStore + Clone>) -> impl Application {
    let live = Auth::new(Bidders).recheck_every(Duration::from_secs(5));
    auth_stack(sessions, live).around(sockets())
}

/// The pages. Forms of other sites' pages are refused before a password is read; guessing is slow.
fn guarded_pages<S: SessionStore + Clone>(
    layer: Arc<dyn ChannelLayer>,
    sessions: Sessions<S>,
) -> axum::Router {
    let slow = Limiter::new().messages_per_address(Rate::per_minute(600));
    let guards = Origins::SameHost.and(slow).and(auth_stack(sessions, Auth::new(Bidders)));
    pages(layer).layer(guards.layer())
}

#[cfg(test)]
mod tests;
