//! Cookies next to those of other programs, over every transport.

use std::sync::Arc;

use channel_layer::MemoryLayer;
use http::StatusCode;
use ws_consumer::{
    NotFound, Protocols, Result, Resume, Socket, SocketService,
    middleware::{
        Auth, Authenticator, Cookie, Cookies, Guard, Identity, Jar, Key, MemoryStore, Proof, Sessions, Token,
    },
};

use crate::support::ways::Way;

fn service(application: impl ws_consumer::Application) -> SocketService<NotFound> {
    let protocols = Protocols::new().both(application).resume(Resume::default());
    protocols.into_service(Arc::new(MemoryLayer::default()))
}

/// Header lines with a cookie of ours among those that browsers and other programs of the same host add.
fn lines(ours: &str) -> Vec<Vec<Vec<u8>>> {
    let one = |line: &[u8]| vec![line.to_vec()];
    let (b, quoted) = (ours.as_bytes(), ours.replacen('=', "=\"", 1) + "\"");
    let many: String = (0..200).map(|n| format!("k{n}=v{n}; ")).collect();
    vec![
        one(b),
        one(&[b, "; city=Montr\u{e9}al".as_bytes()].concat()),
        one(&[b, b"; city=Montr\xe9al"].concat()),
        one(&[b"city=Montr\xe9al; ", b].concat()),
        one(&[b"a=\x93x\x94;", b, b"; \x85=\x85"].concat()),
        vec![b"city=\xe9".to_vec(), b.to_vec()],
        vec![b"x=1; y=2".to_vec(), b.to_vec(), b"city=\xe9".to_vec()],
        one(&[b"; ;;", b, b"; nonsense; =x"].concat()),
        one(&[b, b"; sessionid=other; token=other; jar=other; id=other"].concat()),
        one(&[br#"json={"a":"b=c"}; p="a\073b"; "#, b].concat()),
        one(quoted.as_bytes()),
        one(&[b"$Version=\"1\"; ", quoted.as_bytes(), b"; $Path=\"/\""].concat()),
        one(ours.replacen('=', "\t = ", 1).as_bytes()),
        one(&[many.as_bytes(), b].concat()),
        one(&[b"big=", "x".repeat(4096).as_bytes(), b"; ", b].concat()),
        vec![b"\xff\xfe".to_vec(), Vec::new(), b.to_vec()],
    ]
}

async fn each_is_let_in(service: &SocketService<NotFound>, ours: &str) {
    for lines in lines(ours) {
        let headers: Vec<_> = lines.iter().map(|line| ("cookie", &**line)).collect();
        for way in Way::ALL {
            let request = way.of_page("/", "http://test").header("host", "test");
            let status = way.status_of(service, None, request, &headers).await;
            assert_eq!(status, 200, "{way:?}: {}", lines.concat().escape_ascii());
        }
    }
    let without = Way::Post.of_page("/", "http://test").header("host", "test");
    assert!(Way::Post.status_of(service, None, without, &[]).await > 400, "it is the cookie that lets in");
}

/// Accepts every client.
async fn decide(mut socket: Socket, lets_in: bool) -> Result<()> {
    match (lets_in, socket.is_websocket()) {
        (true, true) => socket.accept().await,
        (true, false) => socket.refuse(StatusCode::NO_CONTENT).await,
        (false, _) => socket.refuse(StatusCode::FORBIDDEN).await,
    }
}

/// The cookies that the answer to a first visit sets.
async fn given(service: &SocketService<NotFound>) -> Vec<String> {
    let first = Way::Post.of_page("/", "http://test").header("host", "test").header("x-begin", "1");
    let answer = Way::Post.answer(service, None, first, &[]).await;
    let set = answer.headers().get_all("set-cookie").iter();
    set.map(|cookie| cookie.to_str().expect("text").split(';').next().expect("a pair").to_owned()).collect()
}

#[tokio::test]
async fn finds_sessions_among_other_cookies() {
    async fn remember(socket: Socket) -> Result<()> {
        let session = socket.scope().session()?;
        if socket.scope().headers.contains_key("x-begin") {
            session.insert("known", true).await?;
            socket.scope().save_session().await?;
        }
        let known = session.get::<bool>("known").await?.is_some();
        decide(socket, known).await
    }
    let service = service(Sessions::new(MemoryStore::default()).name("id").around(remember));
    each_is_let_in(&service, &given(&service).await[0]).await;
}

#[tokio::test]
async fn reads_jars_among_other_cookies() {
    for kind in ["plain", "signed", "private"] {
        let application = move |socket: Socket| async move {
            let jar = socket.scope().extensions.get::<Jar>().expect("given").clone();
            if socket.scope().headers.contains_key("x-begin") {
                let cookie = Cookie::new("jar", "gr\u{fc}n; x=1");
                match kind {
                    "plain" => jar.add(cookie),
                    "signed" => jar.add_signed(cookie),
                    _ => jar.add_private(cookie),
                }
            }
            let found = match kind {
                "plain" => jar.get("jar"),
                "signed" => jar.signed("jar"),
                _ => jar.private("jar"),
            };
            decide(socket, found.is_some_and(|cookie| cookie.value() == "gr\u{fc}n; x=1")).await
        };
        let service = service(Cookies::with_key(Key::from(&[7; 64])).around(application));
        each_is_let_in(&service, &given(&service).await[0]).await;
    }
}

struct User;

impl Identity for User {
    fn id(&self) -> String {
        "ann".to_owned()
    }
}

struct Users;

impl Authenticator for Users {
    type User = User;

    async fn by_token(&self, token: &Token) -> Result<Option<Proof<User>>> {
        Ok(token.is("sesame==").then(|| Proof::new(User)))
    }
}

async fn greet(socket: Socket) -> Result<()> {
    let known = socket.scope().user::<User>().is_some();
    decide(socket, known).await
}

#[tokio::test]
async fn finds_tokens_among_other_cookies() {
    let service = service(Auth::by_tokens(Users).from_cookie("token").required().around(greet));
    each_is_let_in(&service, "token=sesame==").await;
}

#[tokio::test]
async fn empty_bearer_is_refused() {
    let service = service(Auth::by_tokens(Users).from_header().around(greet));
    for (header, status) in [
        (&b"Bearer sesame=="[..], 200),
        (b"Bearer sesame\xe9", 401),
        ("Bearer s\u{e9}same".as_bytes(), 401),
        (b"Bearer \x93", 401),
        (b"Basic \xe9", 403),
    ] {
        for way in Way::ALL {
            let headers = [("host", &b"test"[..]), ("authorization", header)];
            let answered = way.status(&service, None, "/", &headers).await;
            assert_eq!(answered, status, "{way:?} {}", header.escape_ascii());
        }
    }
}
