//! Sockets inside an axum application: `cargo run --bin axum-sockets`, then open a socket on the address it prints.
//!
//! | URL | |
//! |---|---|
//! | `/` | a page of axum's |
//! | `/votes` | a socket, mounted as a route; its handler passes axum's `State` on |
//! | `/ws/hello` | a socket of a router that is nested under `/ws` |
//! | anything else | the fallback: sockets by whole path, `/live/{name}` |

mod votes;

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use channel_layer::{ChannelLayer, MemoryLayer};
use clap::Parser;
use example_support::{ServerOptions, stopped};
use tokio::{net::TcpListener, time::sleep};
use tower::ServiceExt;
use ws_consumer::{
    Connections, Drain, NotFound, Protocols, Result, Resume, Router, Socket, SocketService,
    middleware::TrustedProxies,
};

use self::votes::{Ballot, Votes};

/// Sockets inside an axum application.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
}

/// The state of axum's handlers.
#[derive(Clone)]
struct App {
    ballot: Arc<Ballot>,
    votes: SocketService<NotFound>,
}

/// Set by a layer in front, and read by a consumer behind it.
#[derive(Clone)]
struct Greeting(&'static str);

#[tokio::main]
async fn main() -> ExitCode {
    let options: Options = example_support::parse("127.0.0.1:8002");
    example_support::exit("axum-sockets", run(options).await)
}

async fn run(options: Options) -> Result<(), String> {
    options.server.start_logs("info")?;
    let listeners = options.server.listen().await?;
    let address = listeners.address();
    let (listener, trusted) = (listeners.into_one()?, options.server.trusted()?);
    println!("axum on http://{address}/");
    let (app, sockets) = app(&trusted);
    let served = serve(listener, app, sockets, stopped(), PATIENCE).await;
    served.map_err(|error| error.to_string())
}

/// The time limit for axum's requests and responses after all sockets are closed. axum waits without limit, also
/// for a client that has sent half of a request's head.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves until the signal to stop. Then axum accepts no further clients, and waits for current responses,
/// while the sockets are closed.
async fn serve(
    listener: TcpListener,
    app: axum::Router,
    sockets: [Connections; 3],
    stop: impl Future<Output = ()> + Send + 'static,
    patience: Duration,
) -> io::Result<()> {
    let closing = sockets.clone();
    let stop = async move {
        stop.await;
        // Concurrently with axum, which waits for event streams and polls to end.
        closing.iter().for_each(|sockets| sockets.start_drain(Drain::going_away()));
    };
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, app).with_graceful_shutdown(stop).into_future();
    let all_closed = async || {
        for sockets in &sockets {
            sockets.closed().await; // 1001 to all, and every `disconnect` has run
        }
    };
    let too_late = async {
        all_closed().await;
        sleep(patience).await;
    };
    tokio::select! {
        served = served => served?,
        () = too_late => {}
    }
    all_closed().await;
    Ok(())
}

/// The application and its sockets, which the shutdown needs.
fn app(trusted: &TrustedProxies) -> (axum::Router, [Connections; 3]) {
    let layer: Arc<dyn ChannelLayer> = Arc::new(MemoryLayer::default());
    let service = |router: Router| {
        let protocols = Protocols::new().websocket(router).resume(Resume::default());
        protocols.trust(trusted.clone()).into_service(layer.clone())
    };
    let votes = service(Router::new().consumer("/votes", Votes::default));
    let hello = service(Router::new().application("/hello", hello));
    let live = service(Router::new().application("/live/{name}", live));
    let sockets = [&votes, &hello, &live].map(|service| service.connections().clone());

    let state = App { ballot: Arc::default(), votes };
    let app = axum::Router::new()
        .route("/", get(async || "the page"))
        .route("/votes", any(vote))
        .nest_service("/ws", hello)
        .fallback_service(live)
        .layer(Extension(Greeting("hello")))
        .with_state(state);
    (app, sockets)
}

/// Passes the state to the consumer in the request's extensions.
async fn vote(State(app): State<App>, mut request: Request) -> Response {
    request.extensions_mut().insert(app.ballot);
    let answer = app.votes.oneshot(request).await;
    answer.unwrap_or_else(|never| match never {}).map(axum::body::Body::new).into_response()
}

/// Values stored by the layer in front reach the socket.
async fn hello(mut socket: Socket) -> Result<()> {
    let greeting = socket.scope().extensions.get::<Greeting>().map_or("nothing", |greeting| greeting.0);
    socket.accept().await?;
    socket.send_text(greeting).await
}

async fn live(mut socket: Socket) -> Result<()> {
    let name: String = socket.scope().params()?;
    socket.accept().await?;
    socket.send_text(name).await
}

#[cfg(test)]
mod tests;
