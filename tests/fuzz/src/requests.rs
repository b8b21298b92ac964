//! Requests as bytes, through every guard.

use std::sync::{Arc, OnceLock};

use channel_layer::{ChannelLayer, MemoryLayer};
use http::StatusCode;
use ws_consumer::{
    Accept, Context, Error, Exchange, HttpConsumer, NoEvents, NotFound, Protocols, Result, Router, Socket,
    SocketService,
    middleware::{
        AllowedHosts, Auth, Authenticator, Cookies, Guard, GuardRequest, Identity, Jar, Key, Limiter,
        MemoryStore, OriginRules, Origins, Proof, Rate, RequestIds, Sessions, Token, Traced, TrustedProxies,
    },
};

use super::pipe::{converse, run};

/// Runs a request, or a valid handshake with a fuzzed path, key, and further header lines; the first byte chooses.
pub fn requests(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let bytes = if choice & 1 == 0 { rest.to_vec() } else { handshake(choice & 2 != 0, rest) };
    let service = service();
    let answer = run(converse(&service, &bytes, (choice & 4 != 0).then_some(u64::from(*choice))));
    sound(&answer);
}

/// Splits at bytes of 0xFF, which are in no text: the path, and header lines.
fn handshake(upgrade: bool, rest: &[u8]) -> Vec<u8> {
    let mut parts = rest.split(|byte| *byte == 0xFF);
    let path = parts.next().unwrap_or_default();
    let mut bytes = [b"GET /", path, b" HTTP/1.1\r\nhost: test\r\nconnection: close\r\n"].concat();
    if upgrade {
        bytes.extend_from_slice(
            b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
              sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        );
    }
    for line in parts {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Asserts that the server answers, and that no header of the answer comes from the client.
fn sound(answer: &[u8]) {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        assert!(answer.is_empty(), "half an answer");
        return;
    };
    let head = std::str::from_utf8(&answer[..end]).expect("a head is ASCII");
    let mut lines = head.split("\r\n");
    assert!(lines.next().is_some_and(|line| line.starts_with("HTTP/1.")), "{head}");
    for line in lines {
        let (name, value) = line.split_once(':').expect("a header");
        assert!(KNOWN.contains(&name), "{line:?}");
        assert!(!value.bytes().any(|byte| byte.is_ascii_control()), "{line:?}");
    }
}

const KNOWN: [&str; 18] = [
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "date",
    "retry-after",
    "sec-websocket-accept",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "set-cookie",
    "transfer-encoding",
    "upgrade",
    "vary",
    "www-authenticate",
    "x-content-type-options",
    "x-request-id",
    "x-told",
];

fn service() -> SocketService<NotFound> {
    let layer = Arc::new(MemoryLayer::default()) as Arc<dyn ChannelLayer>;
    // Made once: its regular expression is expensive.
    static SOCKETS: OnceLock<Router> = OnceLock::new();
    let sockets = SOCKETS.get_or_init(|| {
        Router::new()
            .application("/guarded/{rest:path}", guards().around(agree))
            .application("/{a:int}/{b:slug}/{c:uuid}", agree)
            .re_path(r"^old/(?P<room>[^/]+)/$", agree)
            .application("/{rest:path}", agree)
            .application("/", agree)
    });
    let requests =
        Router::new().http("/guarded/{rest:path}", BodyEcho::default).http("/{rest:path}", BodyEcho::default);
    Protocols::new()
        .websocket(sockets.clone())
        .requests(guards().around(requests))
        .health_checks()
        .into_service(layer)
}

fn guards() -> impl Guard {
    static KEY: OnceLock<Key> = OnceLock::new();
    let proxies = TrustedProxies::new(["10.0.0.0/8", "::1"]).expect("networks");
    let origins =
        OriginRules::same_host().and(".example.com").and_then(|rules| rules.and("https://a.b:8443"));
    let limits = Limiter::new().messages_per_address(Rate::per_minute(1_000_000)).trust(proxies.clone());
    RequestIds::from_proxy()
        .and(Proxied)
        .and(Traced)
        .and(AllowedHosts::new(["test", ".example.com"]).trust(proxies.clone()))
        .and(Origins::from(origins.expect("patterns").trust(proxies)))
        .and(Cookies::with_key(KEY.get_or_init(|| Key::from(&[7; 64])).clone()))
        .and(Sessions::new(MemoryStore::default()))
        .and(Auth::new(Users).from_header().from_protocol("bearer").from_cookie("token").from_query())
        .and(limits)
}

/// Sets the address of a proxy: a pipe has none.
struct Proxied;

impl Guard for Proxied {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), ws_consumer::Refuse> {
        request.peer = "10.0.0.1:1".parse().ok();
        Ok(())
    }
}

struct Users;

struct User(String);

impl Identity for User {
    fn id(&self) -> String {
        self.0.clone()
    }
}

impl Authenticator for Users {
    type User = User;

    async fn by_token(&self, token: &Token) -> Result<Option<Proof<User>>> {
        let name = token.username().unwrap_or("nobody").to_owned();
        Ok((!token.is("wrong")).then(|| Proof::new(User(name))))
    }
    async fn by_id(&self, id: &str) -> Result<Option<Proof<User>>> {
        Ok(Some(Proof::new(User(id.to_owned()))))
    }
}

/// Reads all parts of the scope, and accepts the first subprotocol.
async fn agree(mut socket: Socket) -> Result<()> {
    look(&socket);
    let mut accept = Accept::default();
    accept.subprotocol = socket.scope().subprotocols().next().map(str::to_owned);
    socket.accept_with(accept).await?;
    while socket.next().await?.is_some() {}
    Ok(())
}

fn look(context: &Context) {
    let scope = context.scope();
    let _ = scope.params::<(u8, String)>();
    let _ = scope.params::<std::collections::HashMap<String, String>>();
    let _ = (scope.param("rest"), scope.header("cookie"), format!("{scope:?}"));
    if let Some(jar) = scope.extensions.get::<Jar>() {
        assert!(jar.signed("a").is_none() && jar.private("a").is_none(), "a forged cookie");
        let _ = jar.get("a");
    }
}

#[derive(Default)]
struct BodyEcho;

impl HttpConsumer for BodyEcho {
    type Event = NoEvents;
    const MAX_BODY: usize = 1000;

    async fn handle(&mut self, exchange: &mut Exchange, body: bytes::Bytes) -> Result<()> {
        look(exchange);
        if body.starts_with(b"fail") {
            return Err(Error::bad_input("as asked"));
        }
        exchange.send_response(StatusCode::OK, body).await
    }
}
