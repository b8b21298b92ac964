//! Logins and sockets: `cargo run --bin auth`, then open the address that it prints.

mod inbox;
mod pages;
mod users;

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use channel_layer::MemoryLayer;
use clap::Parser;
use tokio::signal;
use tower::Layer;
use ws_consumer::{
    Origins, Protocols, Router, listen,
    middleware::{Auth, Guard, Limiter, MemoryStore, OverLimit, Rate, Sessions, auth_stack},
    serve,
};

use self::{inbox::Inbox, pages::Pages, users::Users};

/// Messages between users who have logged in: ann, bob and eve, each with the password NAME-secret.
///
/// Logs go to standard error; RUST_LOG selects them.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The address to listen on; port 0 lets the system choose
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Seconds after which a login ends
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    login_lasts: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("auth: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), String> {
    let listener = listen(options.listen).await;
    let listener = listener.map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let layer = Arc::new(MemoryLayer::default());
    let (users, store) = (Users::default(), MemoryStore::default());

    // Plain HTTP here, so the cookie may not be for TLS only.
    let sessions = Sessions::new(store).insecure().lifetime(Duration::from_secs(options.login_lasts));
    let auth = || Auth::new(users.clone());

    let sockets = Router::new().consumer("/ws/inbox/", {
        let users = users.clone();
        move || Inbox::new(users.clone())
    });
    // The end of a session, by a logout elsewhere or by its age, ends the sockets within two seconds.
    let live = auth().required().recheck_every(Duration::from_secs(2));
    // The page shows the answer; the dropped text is still in its form.
    let limits =
        Limiter::new().messages_per_user(Rate::per_second(5).burst(20)).over_limit(OverLimit::Answer);
    let sockets = auth_stack(sessions.clone(), live).and(limits).around(sockets);

    // Forms of other sites' pages are refused before a password is read; guessing is slow.
    let slow = Limiter::new().messages_per_address(Rate::per_minute(300));
    let guards = Origins::SameHost.and(slow).and(auth_stack(sessions, auth()));
    let pages = guards.layer().layer(Pages::new(users));

    let service = Protocols::new().websocket(sockets).http(pages).into_service(layer);
    println!("auth on http://{address}/");
    let served = serve(listener, service).with_graceful_shutdown(stopped()).await;
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
