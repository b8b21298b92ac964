//! A report that is built in the background: `cargo run --bin worker`, then open the address that it prints.

mod pages;
mod report;

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc};

use channel_layer::{ChannelLayer, Registry};
use clap::{Parser, ValueEnum};
use tokio::signal;
use tokio_util::sync::CancellationToken;
use ws_consumer::{
    Protocols, Router, serve,
    worker::{RetryPolicy, Workers},
};

use self::report::{Builder, REPORTS, Reports};

/// A report built in the background, with its progress on the page.
///
/// Logs go to standard error; RUST_LOG selects them.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The address to listen on; port 0 lets the system choose
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The channel layer: memory://, or redis://HOST:PORT/DB to share the work with other processes
    #[arg(long, default_value = "memory://", value_name = "URL")]
    layer: String,
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
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("worker: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    let registry = Registry::default().with(channel_layer_redis::schemes());
    let layer = registry.connect(&options.layer).await.map_err(|error| error.to_string())?;
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
        serve_pages(options.listen, layer.clone(), stop.clone()).await
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
    listen: SocketAddr,
    layer: Arc<dyn ChannelLayer>,
    stop: CancellationToken,
) -> Result<(), String> {
    let listener = ws_consumer::listen(listen).await;
    let listener = listener.map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let sockets = Router::new().consumer("/ws/reports/", Reports::default);
    let pages = tower::service_fn(|request| async move { Ok(pages::answer(&request)) });
    let service = Protocols::new().websocket(sockets).http(pages).into_service(layer);
    println!("worker on http://{address}/");
    let served = serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await;
    served.map(|_| ()).map_err(|error| error.to_string())
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
