//! The service with axum's routes: behind it, in front of it, and its findings in axum's handlers.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{ConnectInfo, OriginalUri, Path, State},
    response::IntoResponse,
    routing::{get, post},
};
use channel_layer::MemoryLayer;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::connect_async;
use tower::ServiceExt;
use ws_consumer::{
    Error, Protocols, Result, Router, Socket,
    extract::{CurrentSession, CurrentUser},
    listen,
    middleware::{Auth, Authenticator, Guard, Identity, MemoryStore, Proof, Sessions, Token, auth_stack},
    serve,
    testing::LiveServer,
};

/// Sends the path that the router sees, the one that the client asked for, and the state.
async fn tell(mut socket: Socket) -> Result<()> {
    socket.accept().await?;
    let scope = socket.scope();
    let original = scope.extensions.get::<OriginalUri>().map_or("none", |uri| uri.path()).to_owned();
    let seen = format!("{} {original} {}", scope.path(), scope.state::<&str>().unwrap_or(&"none"));
    socket.send_text(seen).await
}

async fn first_frame(address: SocketAddr, path: &str) -> String {
    let (mut client, _) =
        connect_async(format!("ws://{address}{path}")).await.expect("a server that answers");
    client
        .next()
        .await
        .expect("a server that answers")
        .expect("a server that answers")
        .into_text()
        .expect("a server that answers")
        .as_str()
        .to_owned()
}

/// Sends a request over a connection of its own, and returns the response and the client's address.
async fn ask(address: SocketAddr, request: &str) -> (String, SocketAddr) {
    let mut stream = TcpStream::connect(address).await.expect("a server that answers");
    let (line, rest) = request.split_once("\r\n").unwrap_or((request, ""));
    let request = format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{rest}\r\n");
    stream.write_all(request.as_bytes()).await.expect("a server that answers");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("a server that answers");
    (answer, stream.local_addr().expect("a server that answers"))
}

#[tokio::test]
async fn axum_routes_behind_the_service() {
    let pages = axum::Router::new()
        .route(
            "/item/{id}",
            get(async |Path(id): Path<u32>, State(state): State<&'static str>| format!("{id} of {state}")),
        )
        .route("/upload", post(async |body: Bytes| body.len().to_string()))
        .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
        .route("/ws/page", get(async || "a page"))
        .with_state("the shop");
    let sockets = Router::new().application("/ws/{room}", tell).with_state("the shop");
    let service = Protocols::new().websocket(sockets).http(pages).into_service(MemoryLayer::default());
    let server = LiveServer::start(service).await.unwrap();
    let at = server.address();
    for (request, status, body) in [
        ("GET /item/7", "200", "7 of the shop"),
        ("GET /item/x", "400", ""),
        ("POST /upload\r\ncontent-length: 3\r\n\r\nabc", "200", "3"),
        ("GET /ws/page", "200", "a page"),
        ("GET /nope", "404", ""),
        ("DELETE /item/7", "405", ""),
    ] {
        let (answer, _) = ask(at, request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.ends_with(body),
            "{request}: {answer}"
        );
    }
    let (answer, client) = ask(at, "GET /peer").await;
    assert!(answer.ends_with(&client.to_string()), "{client}: {answer}");
    assert_eq!(first_frame(at, "/ws/page").await, "/ws/page none the shop");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn mounts_in_front_of_the_service() {
    let service = |pattern: &str| {
        let sockets = Router::new().application(pattern, tell);
        Protocols::new().websocket(sockets).into_service(MemoryLayer::default())
    };
    let app = axum::Router::new()
        .route_service("/route/{room}", service("/route/{room}"))
        .nest_service("/nest", service("/{room}"))
        .fallback_service(service("/fallback/{room}"))
        .layer(Extension("the layer"));
    let listener = listen("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    for (path, seen) in [("/route/x", "/route/x"), ("/nest/x", "/x"), ("/fallback/x", "/fallback/x")] {
        assert_eq!(first_frame(at, path).await, format!("{seen} {path} the layer"));
    }
    for path in ["/route", "/nest/x/y", "/x"] {
        assert!(connect_async(format!("ws://{at}{path}")).await.is_err(), "{path}");
    }
    server.abort();
}

#[tokio::test]
async fn errors_are_responses() {
    let outage = || channel_layer::Error::Unavailable("secret".into());
    for (error, status, retries, text) in [
        (Error::bad_input("no such room"), 400, false, "no such room"),
        (Error::Refused(StatusCode::GONE), 410, false, ""),
        (outage().into(), 503, true, ""),
        (channel_layer::Error::TimedOut(std::time::Duration::ZERO).into(), 503, true, ""),
        (Error::other("secret"), 500, false, ""),
        (Error::Closed, 500, false, ""),
    ] {
        let shown = format!("{error:?}");
        let response = error.into_response();
        assert_eq!(response.status(), status, "{shown}");
        assert_eq!(response.headers().contains_key(header::RETRY_AFTER), retries, "{shown}");
        assert_eq!(body(response).await, text, "{shown}");
    }
}

async fn body(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.expect("a server that answers").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("a server that answers")
}

struct User(String);

impl Identity for User {
    fn id(&self) -> String {
        self.0.clone()
    }
}

struct Stranger;

impl Identity for Stranger {
    fn id(&self) -> String {
        String::new()
    }
}

struct Users;

impl Authenticator for Users {
    type User = User;

    async fn by_token(&self, token: &Token) -> Result<Option<Proof<User>>> {
        Ok(token.is("right").then(|| Proof::new(User("ann".to_owned()))))
    }
}

fn pages() -> axum::Router {
    axum::Router::new()
        .route("/user", get(async |CurrentUser(user): CurrentUser<User>| user.0.clone()))
        .route("/other", get(async |_: CurrentUser<Stranger>| "a stranger"))
        .route(
            "/perhaps",
            get(async |user: Option<CurrentUser<User>>| {
                user.map_or("anonymous".to_owned(), |user| user.0.0.clone())
            }),
        )
        .route(
            "/session",
            get(async |CurrentSession(session): CurrentSession| -> Result<String> {
                session.insert("seen", true).await?;
                Ok("a session".to_owned())
            }),
        )
        .route("/no-session", get(async |session: Option<CurrentSession>| session.is_none().to_string()))
}

async fn response(app: &axum::Router, path: &str, token: Option<&str>) -> Response<Body> {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    app.clone()
        .oneshot(request.body(Body::empty()).expect("a server that answers"))
        .await
        .expect("a server that answers")
}

#[tokio::test]
async fn handlers_take_user_and_session() {
    let guards = auth_stack(Sessions::new(MemoryStore::default()), Auth::new(Users).from_header());
    let app = pages().layer(guards.layer());
    for (path, token, status, text) in [
        ("/user", Some("right"), 200, "ann"),
        ("/user", Some("wrong"), 401, ""),
        ("/user", None, 401, ""),
        ("/perhaps", Some("right"), 200, "ann"),
        ("/perhaps", None, 200, "anonymous"),
        ("/other", Some("right"), 500, "does not identify users of type"),
        ("/other", None, 401, ""),
        ("/session", None, 200, "a session"),
        ("/no-session", None, 200, "false"),
    ] {
        let response = response(&app, path, token).await;
        assert_eq!(response.status(), status, "{path} {token:?}");
        let asks = response.headers().contains_key(header::WWW_AUTHENTICATE);
        assert_eq!(asks, status == 401, "{path} {token:?}");
        let cookie = response.headers().contains_key(header::SET_COOKIE);
        assert_eq!(cookie, path == "/session", "{path} {token:?}");
        let body = body(response).await;
        assert!(body.contains(text), "{path} {token:?}: {body}");
    }
}

#[tokio::test]
async fn missing_guards_are_named() {
    for (path, status, text) in [
        ("/user", 500, "the guard `Auth` is not in front of this handler"),
        ("/perhaps", 500, "the guard `Auth` is not in front of this handler"),
        ("/session", 500, "the guard `Sessions` is not in front of this handler"),
        ("/no-session", 200, "true"),
    ] {
        let response = response(&pages(), path, None).await;
        assert_eq!(response.status(), status, "{path}");
        let body = body(response).await;
        assert!(body.contains(text), "{path}: {body}");
    }
}

#[tokio::test]
async fn layers_are_taken_in_any_form() {
    let shared = Arc::new(MemoryLayer::default());
    let any: Arc<dyn channel_layer::ChannelLayer> = shared.clone();
    let boxed: Box<dyn channel_layer::ChannelLayer> = Box::new(MemoryLayer::default());
    for service in [
        Protocols::new().into_service(MemoryLayer::default()),
        Protocols::new().into_service(shared),
        Protocols::new().into_service(any),
        Protocols::new().into_service(boxed),
    ] {
        let server = serve(listen("127.0.0.1:0").await.unwrap(), service);
        server.with_graceful_shutdown(async {}).await.unwrap();
    }
}
