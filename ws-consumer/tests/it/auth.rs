//! The user of a connection, from the handshake to the end.

#![allow(clippy::unwrap_used, reason = "what helpers unwrap is the test's")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{Client, Server, request};
use tokio_tungstenite::tungstenite::{Error, http::Request};
use ws_consumer::{
    Consumer, Frame, NoEvents, Result, Router, Socket,
    middleware::{
        Auth, Authenticator, Guard, Identity, MemoryStore, Proof, SessionStore, Sessions, Token,
        UNAUTHENTICATED, auth_stack,
    },
};

#[derive(Clone)]
struct User {
    name: String,
    password: u8,
}

impl Identity for User {
    fn id(&self) -> String {
        self.name.clone()
    }

    fn fingerprint(&self) -> Option<Vec<u8>> {
        Some(vec![self.password])
    }
}

/// Users by name; a token is the name and `-token`, or `-minute` for a short life.
#[derive(Clone, Default)]
struct Users(Arc<Mutex<HashMap<String, User>>>);

impl Users {
    fn with(names: &[&str]) -> Self {
        let users = Self::default();
        names.iter().for_each(|name| users.set(name, 1));
        users
    }

    fn set(&self, name: &str, password: u8) {
        let user = User { name: name.to_owned(), password };
        self.0.lock().unwrap().insert(name.to_owned(), user);
    }

    fn remove(&self, name: &str) {
        self.0.lock().unwrap().remove(name);
    }
}

impl Authenticator for Users {
    type User = User;

    async fn by_token(&self, token: &Token) -> Result<Option<Proof<User>>> {
        let users: Vec<_> = self.0.lock().unwrap().values().cloned().collect();
        let asked = |user: &User| token.username().is_none_or(|name| name == user.name);
        Ok(users.into_iter().filter(asked).find_map(|user| {
            let (long, short) = (format!("{}-token", user.name), format!("{}-minute", user.name));
            match (token.is(long), token.is(short)) {
                (true, _) => Some(Proof::new(user)),
                (_, true) => Some(Proof::new(user).with_lifetime(Duration::from_secs(60))),
                _ => None,
            }
        }))
    }

    async fn by_id(&self, id: &str) -> Result<Option<Proof<User>>> {
        Ok(self.0.lock().unwrap().get(id).cloned().map(Proof::new))
    }
}

/// Obeys commands in its frames.
#[derive(Default)]
struct Desk;

impl Consumer for Desk {
    type Event = NoEvents;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let asked = socket.scope().uri.query().unwrap_or_default().to_owned();
        if let Some(name) = asked.strip_prefix("login=") {
            socket.login(Arc::new(User { name: name.to_owned(), password: 1 })).await?;
        }
        if asked == "logout" {
            socket.logout::<User>().await?;
        }
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let text = frame.text()?;
        match text.split_once(' ').unwrap_or((text, "")) {
            ("who", _) => {
                let name = socket.scope().user::<User>().map_or("nobody", |user| &user.name).to_owned();
                let same = socket.scope().user_id().unwrap_or("nobody") == name;
                assert!(same, "the limits know the same user");
                socket.send_text(name).await
            }
            ("renew", token) => {
                socket.reauthenticate::<Users>(&Token::new(token)).await?;
                socket.send_text("renewed").await
            }
            ("logout", _) => socket.logout::<User>().await,
            ("login", _) => socket.login(Arc::new(User { name: "ann".into(), password: 1 })).await,
            ("uri", _) => {
                let shown = format!("{:?}", socket.scope());
                socket.send_text(shown).await
            }
            (other, _) => panic!("{other}?"),
        }
    }
}

fn desk() -> Router {
    Router::new().consumer("/", Desk::default)
}

fn asking(path: &str, headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = request(path);
    request.headers_mut().insert("origin", "http://test".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

async fn open(server: &Server, path: &str, headers: &[(&'static str, &str)]) -> Client {
    server.try_connect(asking(path, headers)).await.expect("accepted")
}

async fn status(server: &Server, path: &str, headers: &[(&'static str, &str)]) -> u16 {
    match server.try_connect(asking(path, headers)).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("expected a refusal, not {other:?}"),
    }
}

/// Advances the clock while reading; a client that does not read does not answer pings.
async fn idle(clients: &mut [&mut Client], seconds: u64) {
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    while tokio::time::Instant::now() < end {
        for client in &mut *clients {
            // The longest that a client may leave a ping unanswered is 20 s.
            let nothing = tokio::time::timeout(
                Duration::from_secs(1),
                futures_util::StreamExt::next(&mut client.socket),
            );
            match nothing.await {
                Err(_) | Ok(Some(Ok(tokio_tungstenite::tungstenite::Message::Ping(_)))) => {}
                Ok(other) => panic!("nothing is expected, not {other:?}"),
            }
        }
    }
}

async fn who(client: &mut Client) -> String {
    client.send("who").await;
    client.text().await
}

/// The session's cookie in an answer, ready to be sent back.
fn cookie(client: &Client) -> Option<String> {
    let set = client.response.headers().get("set-cookie")?.to_str().unwrap();
    Some(set.split(';').next().unwrap().to_owned())
}

fn by_tokens() -> Server {
    let auth = Auth::by_tokens(Users::with(&["ann", "bob"]));
    let auth = auth.from_header().from_protocol("bearer").from_cookie("token").from_query().required();
    Server::new(auth.around(desk()))
}

struct Site {
    server: Server,
    store: MemoryStore,
    users: Users,
}

fn by_sessions(configure: impl FnOnce(Auth<Users>) -> Auth<Users>) -> Site {
    let (store, users) = (MemoryStore::default(), Users::with(&["ann", "bob"]));
    let stack = auth_stack(Sessions::new(store.clone()), configure(Auth::new(users.clone())));
    Site { server: Server::new(stack.around(desk())), store, users }
}

// ---- tokens

#[tokio::test]
async fn tokens_are_read_from_each_place() {
    let server = by_tokens();
    for (path, header) in [
        ("/", ("authorization", "Bearer ann-token")),
        ("/", ("sec-websocket-protocol", "bearer, ann-token")),
        ("/", ("cookie", "token=ann-token")),
        ("/?token=ann-token", ("x-none", "")),
        ("/?username=ann&token=ann-token", ("x-none", "")),
    ] {
        let mut client = open(&server, path, &[header]).await;
        assert_eq!(who(&mut client).await, "ann", "{path} {header:?}");
    }
}

#[tokio::test]
async fn refuses_wrong_and_missing_tokens() {
    let server = by_tokens();
    assert_eq!(status(&server, "/", &[]).await, 401);
    for header in [("authorization", "Bearer ann-toke"), ("sec-websocket-protocol", "bearer, x")] {
        assert_eq!(status(&server, "/", &[header]).await, 401);
    }
    assert_eq!(status(&server, "/?username=bob&token=ann-token", &[]).await, 401);
}

#[tokio::test]
async fn token_subprotocol_is_not_echoed() {
    let client = open(&by_tokens(), "/", &[("sec-websocket-protocol", "bearer, ann-token")]).await;
    assert_eq!(client.response.headers()["sec-websocket-protocol"], "bearer");
}

#[tokio::test]
async fn scopes_show_no_secrets() {
    let server = by_tokens();
    let headers = [
        ("authorization", "Bearer ann-token"),
        ("sec-websocket-protocol", "bearer, ann-token"),
        ("cookie", "token=ann-token"),
    ];
    let mut client = open(&server, "/?token=ann-token&x=1", &headers).await;
    client.send("uri").await;
    let shown = client.text().await;
    assert!(!shown.contains("ann-token"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn accepts_a_token_as_first_message() {
    let auth =
        Auth::by_tokens(Users::with(&["ann"])).from_header().from_first_message(Duration::from_secs(5));
    let server = Server::new(auth.around(desk()));
    for said in ["ann-token", r#"{"token": "ann-token"}"#, r#"{"token":"ann-token","username":"ann"}"#] {
        let mut client = open(&server, "/", &[]).await;
        client.send(said).await;
        assert_eq!(who(&mut client).await, "ann", "{said}");
    }
    for said in ["x", "{", "{}", "", "who"] {
        let mut client = open(&server, "/", &[]).await;
        client.send(said).await;
        assert_eq!(client.close_code().await, UNAUTHENTICATED, "{said}");
    }
    assert_eq!(open(&server, "/", &[]).await.close_code().await, UNAUTHENTICATED, "says nothing");
    let mut client = open(&server, "/", &[("authorization", "Bearer ann-token")]).await;
    assert_eq!(who(&mut client).await, "ann", "has told before");
}

// ---- ends of logins

#[tokio::test(start_paused = true)]
async fn credentials_expire_unless_renewed() {
    let server = by_tokens();
    let minute = [("authorization", "Bearer ann-minute")];
    let mut renewed = open(&server, "/", &minute).await;
    let mut left = open(&server, "/", &minute).await;
    idle(&mut [&mut renewed, &mut left], 50).await;
    renewed.send("renew ann-minute").await;
    assert_eq!(renewed.text().await, "renewed");
    let close = left.close_frame().await.unwrap();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (UNAUTHENTICATED, "authentication expired"));
    assert_eq!(who(&mut renewed).await, "ann");
    renewed.send("renew bob-token").await;
    assert!(renewed.text().await.contains("another user"));
    renewed.send("renew nonsense").await;
    assert!(renewed.text().await.contains("is invalid"));
    renewed.send("renew ann-token").await;
    assert_eq!(renewed.text().await, "renewed");
    idle(&mut [&mut renewed], 600).await;
    assert_eq!(who(&mut renewed).await, "ann", "a token without an end");
}

#[tokio::test(start_paused = true)]
async fn recheck_closes_removed_users() {
    let site = by_sessions(|auth| auth.from_header().recheck_every(Duration::from_secs(30)));
    let mut by_token = open(&site.server, "/", &[("authorization", "Bearer ann-token")]).await;
    let session = cookie(&open(&site.server, "/?login=ann", &[]).await).unwrap();
    let mut by_session = open(&site.server, "/", &[("cookie", &session)]).await;
    idle(&mut [&mut by_token, &mut by_session], 100).await;
    assert_eq!((who(&mut by_token).await, who(&mut by_session).await), ("ann".to_owned(), "ann".to_owned()));
    site.users.remove("ann");
    assert_eq!(by_token.close_code().await, UNAUTHENTICATED);
    assert_eq!(by_session.close_code().await, UNAUTHENTICATED);
}

#[tokio::test(start_paused = true)]
async fn logout_closes_the_sessions_sockets() {
    let site = by_sessions(|auth| auth.recheck_every(Duration::from_secs(30)));
    let session = cookie(&open(&site.server, "/?login=ann", &[]).await).unwrap();
    let mut other = open(&site.server, "/", &[("cookie", &session)]).await;
    open(&site.server, "/?logout", &[("cookie", &session)]).await;
    assert_eq!(other.close_code().await, UNAUTHENTICATED);
    let session = cookie(&open(&site.server, "/?login=ann", &[]).await).unwrap();
    let mut other = open(&site.server, "/", &[("cookie", &session)]).await;
    assert_eq!(who(&mut other).await, "ann");
    site.users.set("ann", 2);
    assert_eq!(other.close_code().await, UNAUTHENTICATED);
}

// ---- sessions

#[tokio::test]
async fn sessions_remember_a_login() {
    let site = by_sessions(|auth| auth);
    let mut first = open(&site.server, "/?login=ann", &[]).await;
    assert_eq!(who(&mut first).await, "ann");
    let cookie = cookie(&first).expect("a cookie with the answer");
    let mut second = open(&site.server, "/", &[("cookie", &cookie)]).await;
    assert_eq!(who(&mut second).await, "ann");
    let mut stranger = open(&site.server, "/", &[]).await;
    assert_eq!(who(&mut stranger).await, "nobody");
    let required = by_sessions(Auth::required);
    assert_eq!(status(&required.server, "/", &[]).await, 401);
}

#[tokio::test]
async fn login_changes_the_session_id() {
    let site = by_sessions(|auth| auth);
    let before = cookie(&open(&site.server, "/?login=ann", &[]).await).unwrap();
    let after = cookie(&open(&site.server, "/?login=ann", &[("cookie", &before)]).await).unwrap();
    assert_ne!(before, after);
    let mut old = open(&site.server, "/", &[("cookie", &before)]).await;
    assert_eq!(who(&mut old).await, "nobody", "the old id is worth nothing");
    let changed = cookie(&open(&site.server, "/?login=bob", &[("cookie", &after)]).await).unwrap();
    assert_ne!(changed, after);
    assert_eq!(site.store.len(), 1);
    let mut bob = open(&site.server, "/", &[("cookie", &changed)]).await;
    assert_eq!(who(&mut bob).await, "bob");
}

#[tokio::test]
async fn logout_removes_the_cookie() {
    let site = by_sessions(|auth| auth);
    let session = cookie(&open(&site.server, "/?login=ann", &[]).await).unwrap();
    let mut leaving = open(&site.server, "/?logout", &[("cookie", &session)]).await;
    assert_eq!(who(&mut leaving).await, "nobody");
    let set = leaving.response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.contains("Max-Age=0"), "{set}");
    assert_eq!(site.store.len(), 0);
    let mut again = open(&site.server, "/", &[("cookie", &session)]).await;
    assert_eq!(who(&mut again).await, "nobody");
}

#[tokio::test]
async fn logout_works_on_an_open_socket() {
    let site = by_sessions(|auth| auth);
    let mut client = open(&site.server, "/?login=ann", &[]).await;
    client.send("logout").await;
    assert_eq!(who(&mut client).await, "nobody");
    assert_eq!(site.store.len(), 0);
    client.send("logout").await;
    assert_eq!(who(&mut client).await, "nobody", "not logged in: nothing happens");
}

#[tokio::test]
async fn login_after_the_answer_fails() {
    let site = by_sessions(|auth| auth);
    let mut client = open(&site.server, "/", &[]).await;
    client.send("login").await;
    assert_eq!(client.close_code().await, 1011);
    assert_eq!(site.store.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn rechecks_distinguish_tokens_and_sessions() {
    let site = by_sessions(|auth| auth.from_header().recheck_every(Duration::from_secs(30)));
    let session = cookie(&open(&site.server, "/?login=bob", &[]).await).unwrap();
    let by_token = [("authorization", "Bearer ann-token"), ("cookie", session.as_str())];
    let mut both = open(&site.server, "/", &by_token).await;
    idle(&mut [&mut both], 100).await;
    assert_eq!(who(&mut both).await, "ann", "the session is another user's, and does not count");
}

#[tokio::test]
async fn login_needs_a_session() {
    let server = Server::new(desk());
    assert_eq!(status(&server, "/?login=ann", &[]).await, 500);
}

#[tokio::test]
async fn password_change_ends_sessions() {
    let site = by_sessions(|auth| auth);
    for change in [|users: &Users| users.set("ann", 2), |users: &Users| users.remove("ann")] {
        site.users.set("ann", 1);
        let session = cookie(&open(&site.server, "/?login=ann", &[]).await).unwrap();
        change(&site.users);
        let mut client = open(&site.server, "/", &[("cookie", &session)]).await;
        assert_eq!(who(&mut client).await, "nobody");
        assert_eq!(site.store.len(), 0, "and it is ended");
    }
}

#[tokio::test]
async fn foreign_origin_gains_no_cookie_access() {
    let site = by_sessions(|auth| auth);
    let session = cookie(&open(&site.server, "/?login=ann", &[]).await).unwrap();
    let foreign = [("cookie", session.as_str()), ("origin", "http://evil.example")];
    assert_eq!(status(&site.server, "/", &foreign).await, 403);
    let mut unnamed = request("/");
    unnamed.headers_mut().insert("cookie", session.parse().unwrap());
    match site.server.try_connect(unnamed).await {
        Err(Error::Http(refusal)) => assert_eq!(refusal.status(), 403, "who names no origin"),
        other => panic!("expected a refusal, not {other:?}"),
    }
}

#[tokio::test]
async fn failing_store_refuses() {
    #[derive(Debug)]
    struct Broken;

    #[async_trait::async_trait]
    impl SessionStore for Broken {
        async fn save(
            &self,
            _: &tower_sessions_core::session::Record,
        ) -> tower_sessions_core::session_store::Result<()> {
            Err(tower_sessions_core::session_store::Error::Backend("broken".into()))
        }

        async fn load(
            &self,
            _: &tower_sessions_core::session::Id,
        ) -> tower_sessions_core::session_store::Result<Option<tower_sessions_core::session::Record>>
        {
            Err(tower_sessions_core::session_store::Error::Backend("broken".into()))
        }

        async fn delete(
            &self,
            _: &tower_sessions_core::session::Id,
        ) -> tower_sessions_core::session_store::Result<()> {
            Ok(())
        }
    }

    let stack = auth_stack(Sessions::new(Broken), Auth::new(Users::with(&["ann"])));
    let server = Server::new(stack.around(desk()));
    let id = tower_sessions_core::session::Id::default();
    assert_eq!(status(&server, "/", &[("cookie", &format!("channels_session={id}"))]).await, 503);
    open(&server, "/", &[]).await;
}
