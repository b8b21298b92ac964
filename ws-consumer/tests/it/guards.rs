//! Guards in front of sockets and of plain HTTP.

#![allow(clippy::unwrap_used, reason = "what helpers unwrap is the test's")]

use std::{convert::Infallible, sync::Arc, time::Duration};

use crate::support::{Client, Server, request};
use bytes::Bytes;
use channel_layer::{ChannelLayer, MemoryLayer};
use http_body_util::Full;
use tokio_tungstenite::tungstenite::{
    Error,
    http::{self, Request, Response, StatusCode},
};
use tower_layer::Layer;
use tower_service::Service;
use ws_consumer::{
    Close, Consumer, Context, Frame, NoEvents, Origins, Protocols, Result, Router, Socket,
    middleware::{
        AllowedHosts, Guard, GuardRequest, Limiter, OriginRules, Rate, RequestId, RequestIds, Traced,
        TrustedProxies, UserId,
    },
};

/// Echoes, and sends its request's id on request.
#[derive(Default)]
struct Echo;

impl Consumer for Echo {
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        match frame.text()? {
            "id" => {
                let id = socket.scope().extensions.get::<RequestId>().expect("given").as_str().to_owned();
                socket.send_text(id).await
            }
            _ => socket.send(frame).await,
        }
    }
}

fn echo() -> Router {
    Router::new().consumer("/", Echo::default)
}

async fn status(server: &Server, request: Request<()>) -> u16 {
    match server.try_connect(request).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("expected a refusal, not {other:?}"),
    }
}

fn with(header: &'static str, value: &str) -> Request<()> {
    let mut request = request("/");
    request.headers_mut().insert(header, value.parse().unwrap());
    request
}

async fn open(server: &Server, request: Request<()>) -> Client {
    server.try_connect(request).await.expect("accepted")
}

#[tokio::test]
async fn guards_cover_one_route_or_all() {
    let origins = Origins::from(OriginRules::same_host().deny_missing());
    let router = Router::new().application("/guarded", origins.around(echo())).consumer("/", Echo::default);
    let server = Server::new(router);
    assert_eq!(server.refusal("/guarded").await, 403);
    open(&server, request("/")).await;
    let all = Server::new(AllowedHosts::new(["example.com"]).around(echo()));
    assert_eq!(all.refusal("/").await, 400);
    open(&Server::new(AllowedHosts::new(["test"]).around(echo())), request("/")).await;
}

#[tokio::test]
async fn answers_carry_the_request_id() {
    let server = Server::new(RequestIds::new().and(Traced).around(echo()));
    let mut first = open(&server, with("x-request-id", "mine")).await;
    let told = first.response.headers()["x-request-id"].to_str().unwrap().to_owned();
    first.send("id").await;
    assert_eq!(first.text().await, told);
    assert_ne!(told, "mine", "taken over only from a proxy");
    let second = open(&server, request("/")).await;
    assert_ne!(second.response.headers()["x-request-id"], *told);
    match server.try_connect(request("/nowhere")).await {
        Err(Error::Http(response)) => assert!(response.headers().contains_key("x-request-id")),
        other => panic!("expected a refusal, not {other:?}"),
    }
    let proxied = Server::new(RequestIds::from_proxy().around(echo()));
    assert_eq!(open(&proxied, with("x-request-id", "mine")).await.response.headers()["x-request-id"], "mine");
}

#[tokio::test(start_paused = true)]
async fn rate_limit_closes_one_socket() {
    let limits = Limiter::new().messages_per_connection(Rate::per_second(1).burst(3));
    let server = Server::new(limits.around(echo()));
    let (mut loud, mut calm) = (open(&server, request("/")).await, open(&server, request("/")).await);
    for _ in 0..4 {
        loud.send("x").await;
    }
    let close = loud.close_frame().await.unwrap();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (Close::TRY_AGAIN_LATER, "too many messages"));
    for _ in 0..10 {
        calm.send("x").await;
        assert_eq!(calm.text().await, "x");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn byte_limits_choose_their_code() {
    let limits = Limiter::new().bytes_per_connection(Rate::per_minute(100)).close_code(4029);
    let server = Server::new(limits.around(echo()));
    let mut client = open(&server, request("/")).await;
    client.send(&"x".repeat(60)).await;
    assert_eq!(client.text().await.len(), 60);
    client.send(&"x".repeat(60)).await;
    assert_eq!(client.close_code().await, 4029);
}

/// Says who a client is by its word.
struct Believe;

impl Guard for Believe {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), ws_consumer::Refuse> {
        let user = request.header("x-user").unwrap_or("nobody").to_owned();
        request.extensions.insert(UserId(user.into()));
        // A pipe has no address.
        request.peer = "10.0.0.1:1".parse().ok();
        Ok(())
    }
}

#[tokio::test]
async fn user_limits_span_connections() {
    let limits = Limiter::new().messages_per_user(Rate::per_minute(2));
    let server = Server::new(Believe.and(limits).around(echo()));
    let mut first = open(&server, with("x-user", "ann")).await;
    let mut second = open(&server, with("x-user", "ann")).await;
    let mut other = open(&server, with("x-user", "bob")).await;
    for client in [&mut first, &mut second, &mut other] {
        client.send("x").await;
        assert_eq!(client.text().await, "x");
    }
    second.send("x").await;
    assert_eq!(second.close_code().await, Close::TRY_AGAIN_LATER);
    other.send("x").await;
    assert_eq!(other.text().await, "x");
}

#[tokio::test]
async fn address_limits_free_places() {
    let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
    let limits = Limiter::new().connections_per_address(2).trust(proxies);
    let server = Server::new(Proxied.around(limits.around(echo())));
    let from = |address| with("x-forwarded-for", address);
    let first = open(&server, from("1.2.3.4")).await;
    let _second = open(&server, from("6.6.6.6, 1.2.3.4")).await;
    assert_eq!(status(&server, from("1.2.3.4")).await, 429);
    open(&server, from("1.2.3.5")).await;
    first.leave().await;
    while server.service.connections().len() > 2 {
        tokio::task::yield_now().await;
    }
    open(&server, from("1.2.3.4")).await;
}

/// Sets the address of a proxy for every request.
struct Proxied;

impl Guard for Proxied {
    async fn admit(&self, _: &mut GuardRequest<'_>) -> Result<(), ws_consumer::Refuse> {
        Ok(())
    }

    fn accompany(
        &self,
        mut context: Context,
        inner: &Arc<dyn ws_consumer::Application>,
    ) -> ws_consumer::wire::Running {
        context.scope_mut().peer = "10.0.0.1:1".parse().ok();
        inner.call(context)
    }
}

// ---- plain HTTP

#[derive(Clone)]
struct Pages;

impl<B: Send + 'static> Service<Request<B>> for Pages {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(
            request.extensions().get::<RequestId>().is_some(),
            "what the guard learnt is with the request"
        );
        std::future::ready(Ok(Response::new(Full::from("page"))))
    }
}

#[tokio::test]
async fn guards_cover_plain_http() {
    let guards = AllowedHosts::new(["a.com"])
        .and(Origins::SameHost)
        .and(RequestIds::new())
        .and(Limiter::new().messages_per_address(Rate::per_minute(2)));
    let pages = guards.layer().layer(Pages);
    let ask = |host: &str, origin: &str, port: u16| {
        let peer = ws_consumer::Peer(([127, 0, 0, 1], port).into());
        let request = http::Request::post("/").header("host", host).header("origin", origin).extension(peer);
        let mut pages = pages.clone();
        async move { pages.call(request.body(()).unwrap()).await.unwrap() }
    };
    let response = ask("a.com", "http://a.com", 1).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key("x-request-id"));
    assert_eq!(ask("b.com", "http://b.com", 1).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(ask("a.com", "http://b.com", 1).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(ask("a.com", "http://a.com", 2).await.status(), StatusCode::OK);
    let refused = ask("a.com", "http://a.com", 3).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "30");
    assert!(refused.headers().contains_key("x-request-id"), "also with a refusal");
}

// ---- refusing to start

/// Acts on cookies.
struct Ambient;

impl Guard for Ambient {
    async fn admit(&self, _: &mut GuardRequest<'_>) -> Result<(), ws_consumer::Refuse> {
        Ok(())
    }

    fn uses_ambient_credentials(&self) -> bool {
        true
    }
}

fn layer() -> Arc<dyn ChannelLayer> {
    Arc::new(MemoryLayer::default())
}

#[test]
#[should_panic(expected = "without_origin_check_for_credentials")]
fn cookies_need_an_origin_check() {
    let deep = Router::new().application("/", Traced.around(Ambient.around(echo())));
    let _service = Protocols::new().websocket(deep).origins(Origins::Any).into_service(layer());
}

#[test]
fn origin_check_can_be_waived() {
    let guarded = || Traced.around(Ambient.around(echo()));
    Protocols::new().websocket(guarded()).into_service(layer());
    Protocols::new().websocket(echo()).origins(Origins::Any).into_service(layer());
    Protocols::new()
        .websocket(guarded())
        .origins(Origins::Any)
        .without_origin_check_for_credentials()
        .into_service(layer());
    let checked = Router::new().application("/", Origins::SameHost.around(guarded()));
    Protocols::new().websocket(checked).origins(Origins::Any).into_service(layer());
}

#[tokio::test]
async fn cookies_refuse_a_missing_origin() {
    let server = Server::new(Ambient.around(echo()));
    assert_eq!(status(&server, with("cookie", "a=1")).await, 403);
    open(&server, request("/")).await;
    open(&server, with("origin", "http://test")).await;
}

// ---- requests that an application answers

/// Answers with what it was let in with.
async fn greet(mut socket: Socket) -> Result<()> {
    socket.refuse(StatusCode::NO_CONTENT).await
}

/// The head of the answer to a request with these further lines.
async fn answered(
    service: &ws_consumer::SocketService<ws_consumer::NotFound>,
    method: &str,
    lines: &str,
) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut client, server) = tokio::io::duplex(4096);
    tokio::spawn(ws_consumer::serve_connection(server, service.clone()));
    let request =
        format!("{method} / HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 0\r\n{lines}\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    crate::support::timed(client.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn credentials_need_own_pages() {
    let application = RequestIds::new().and(Ambient).around(greet);
    let service = Protocols::new().requests(application).into_service(layer());
    let own = answered(&service, "POST", "origin: http://test\r\n").await;
    assert!(own.starts_with("HTTP/1.1 204") && own.contains("x-request-id"), "{own}");
    assert!(answered(&service, "POST", "").await.starts_with("HTTP/1.1 204"), "a program without cookies");
    for lines in ["origin: http://evil.example\r\n", "cookie: a=1\r\n"] {
        let foreign = answered(&service, "POST", lines).await;
        assert!(foreign.starts_with("HTTP/1.1 403"), "{foreign}");
    }
    assert!(answered(&service, "GET", "").await.starts_with("HTTP/1.1 204"), "a link of its own page");
    let open = Protocols::new().requests(RequestIds::new().around(greet)).into_service(layer());
    assert!(answered(&open, "POST", "origin: http://other.example\r\n").await.starts_with("HTTP/1.1 204"));
}

#[test]
#[should_panic(expected = "without_origin_check_for_credentials")]
fn cookie_requests_need_an_origin_check() {
    let _service =
        Protocols::new().requests(Ambient.around(greet)).origins(Origins::Any).into_service(layer());
}
