//! Logins and sockets: `cargo run --bin auth`, then open the address that it prints.

mod inbox;
mod pages;
mod users;

use std::{process::ExitCode, sync::Arc, time::Duration};

use channel_layer::MemoryLayer;
use channel_layer_redis::RedisSessionStore;
use clap::Parser;
use example_support::{ServerOptions, stopped};
use tower::Layer;
use ws_consumer::{
    Origins, Protocols, Router,
    middleware::{Auth, Guard, Limiter, MemoryStore, OverLimit, Rate, SessionStore, Sessions, auth_stack},
};

use self::{
    inbox::Inbox,
    pages::Pages,
    users::{User, Users},
};

/// Messages between users who have logged in: ann, bob and eve, each with the password NAME-secret.
///
/// Logs go to standard error; RUST_LOG selects them.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
    /// Seconds after which a login ends
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    login_lasts: u64,
    /// The Redis that keeps the logins; without it, they end with this process
    #[arg(long, value_name = "ADDRESS")]
    sessions: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options: Options = example_support::parse("127.0.0.1:8000");
    example_support::exit("auth", run(options).await)
}

async fn run(options: Options) -> Result<(), String> {
    options.server.start_logs("info")?;
    let Some(redis) = &options.sessions else {
        return serve_with(MemoryStore::default(), options).await;
    };
    let store = RedisSessionStore::connect(redis).await.map_err(|error| format!("no sessions: {error}"))?;
    serve_with(store, options).await
}

async fn serve_with(store: impl SessionStore + Clone, options: Options) -> Result<(), String> {
    let listeners = options.server.listen().await?;
    let users = Users::default();

    // Plain HTTP here, so the cookie may not be for TLS only.
    let sessions = Sessions::new(store).insecure().lifetime(Duration::from_secs(options.login_lasts));
    let auth = || {
        Auth::new(users.clone())
            .on_login(|user: Arc<User>, _| async move { told("logged in", &user) })
            .on_logout(|user: Arc<User>, _| async move { told("logged out", &user) })
    };

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

    let protocols = Protocols::new().websocket(sockets).http(pages).trust(options.server.trusted()?);
    println!("auth on http://{}/", listeners.address());
    listeners.serve(protocols.into_service(MemoryLayer::default()), stopped()).await
}

fn told(event: &str, user: &User) -> ws_consumer::Result<()> {
    tracing::info!(user = user.name, "{event}");
    Ok(())
}
