//! A report that is built in the background: `cargo run --bin worker`, then open the address that it prints.

mod pages;
mod report;

use std::{process::ExitCode, sync::Arc};

use channel_layer::{ChannelLayer, Registry};
use clap::{Parser, ValueEnum};
use example_support::{LayerOptions, ServerOptions, stopped};
use tokio_util::sync::CancellationToken;
use ws_consumer::{
    Protocols, Router,
    worker::{RetryPolicy, Workers},
};

use self::report::{Builder, REPORTS, Reports};

/// A report built in the background, with its progress on the page.
///
/// Logs go to standard error; RUST_LOG selects them.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    layer: LayerOptions,
    /// The role of this process; over a layer that processes share, workers may run on their own
    #[arg(long, value_enum, default_value_t = Role::Both)]
    role: Role,
    /// The number of reports that a worker builds at a time
    #[arg(long, default_value_t = 2)]
    concurrency: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Pages, sockets and workers
    Both,
    /// Pages and sockets
    Serve,
    /// Workers
    Work,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options: Options = example_support::parse("127.0.0.1:8000");
    example_support::exit("worker", run(options).await)
}

async fn run(options: Options) -> Result<(), String> {
    options.server.start_logs("info")?;
    let registry = Registry::default().with(channel_layer_redis::schemes());
    let layer = options.layer.connect(registry).await?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        stopped().await;
        stopping.cancel();
    });
    let work = async {
        if options.role == Role::Serve {
            return Ok(());
        }
        work(layer.clone(), options.concurrency, stop.clone()).await
    };
    let pages = async {
        if options.role == Role::Work {
            return Ok(());
        }
        serve_pages(&options.server, layer.clone(), stop.clone()).await
    };
    tokio::try_join!(work, pages).map(|_| ())
}

async fn work(
    layer: Arc<dyn ChannelLayer>,
    concurrency: usize,
    stop: CancellationToken,
) -> Result<(), String> {
    let policy = RetryPolicy::default().concurrency(concurrency);
    let workers = Workers::new(layer).channel(REPORTS, Builder, policy).map_err(|error| error.to_string())?;
    println!("working on {REPORTS}");
    workers.run_until(stop.cancelled_owned()).await;
    Ok(())
}

async fn serve_pages(
    options: &ServerOptions,
    layer: Arc<dyn ChannelLayer>,
    stop: CancellationToken,
) -> Result<(), String> {
    let listeners = options.listen().await?;
    let sockets = Router::new().consumer("/ws/reports/", Reports::default);
    let pages = tower::service_fn(|request| async move { Ok(pages::answer(&request)) });
    let protocols = Protocols::new().websocket(sockets).http(pages).trust(options.trusted()?);
    println!("worker on http://{}/", listeners.address());
    listeners.serve(protocols.into_service(layer), stop.cancelled_owned()).await
}
