//! Logins and logouts as events: their hooks, and logins on sockets that are open already.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use channel_layer::MemoryLayer;
use http::{Extensions, Request, Response, StatusCode};
use http_body_util::Full;
use tower_layer::Layer;
use tower_service::Service;
use ws_consumer::{
    Consumer, Error, Frame, NoEvents, Result, Socket, UsersExt, consumer,
    middleware::{
        Auth, Authenticator, Guard, Identity, LoginError, MemoryStore, Proof, SessionStore, Sessions,
        UNAUTHENTICATED, auth_stack, login, logout,
    },
    testing::TestApp,
};

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct User(String);

impl Identity for User {
    fn id(&self) -> String {
        self.0.clone()
    }
}

#[derive(Clone, Default)]
struct Users {
    removed: Arc<Mutex<Vec<String>>>,
}

impl Authenticator for Users {
    type User = User;

    async fn by_id(&self, id: &str) -> Result<Option<Proof<User>>> {
        let is_removed = self.removed.lock().unwrap().iter().any(|removed| removed == id);
        Ok((!is_removed).then(|| Proof::new(User(id.to_owned()))))
    }
}

/// Obeys the commands in its query before it accepts, and those in its frames afterwards.
#[derive(Default)]
struct Desk;

impl Desk {
    async fn obey(socket: &mut Socket, command: &str) -> Result<()> {
        match command.split_once('=').unwrap_or((command, "")) {
            ("", _) => Ok(()),
            ("login", name) => socket.login(Arc::new(User(name.to_owned()))).await,
            ("logout", _) => socket.logout::<User>().await,
            ("put", _) => {
                socket.scope().session()?.insert("n", 1).await?;
                socket.scope().save_session().await
            }
            other => panic!("{other:?}"),
        }
    }
}

impl Consumer for Desk {
    type Event = NoEvents;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let commands = socket.scope().uri.query().unwrap_or_default().to_owned();
        for command in commands.split(',') {
            Self::obey(socket, command).await?;
        }
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let outcome = match Self::obey(socket, frame.text()?).await {
            Ok(()) => socket.scope().user_id().unwrap_or("nobody").to_owned(),
            Err(Error::Other(cause)) => match cause.downcast_ref::<LoginError>() {
                Some(refused) => format!("{refused:?}"),
                None => cause.to_string(),
            },
            Err(other) => return Err(other),
        };
        socket.send_text(outcome).await
    }
}

type Log = Arc<Mutex<Vec<String>>>;

struct Site {
    store: MemoryStore,
    users: Users,
    layer: Arc<MemoryLayer>,
    log: Log,
    /// A word of hooks that fail.
    fails: &'static str,
}

impl Site {
    fn new(fails: &'static str) -> Self {
        let (store, users, layer) = (MemoryStore::default(), Users::default(), Arc::default());
        Self { store, users, layer, log: Log::default(), fails }
    }

    fn guards(&self) -> impl Guard {
        let hook = |name: &'static str| {
            let (log, store, fails) = (self.log.clone(), self.store.clone(), self.fails);
            move |user: Arc<User>, _: Extensions| {
                log.lock().unwrap().push(format!("{name} {} {}", user.0, store.len()));
                async move { if name == fails { Err(Error::other("refused")) } else { Ok(()) } }
            }
        };
        let auth = Auth::new(self.users.clone())
            .on_login(hook("in1"))
            .on_logout(hook("out1"))
            .on_login(hook("in2"))
            .on_logout(hook("out2"))
            .recheck_every(Duration::from_secs(30))
            .login_on_open_sockets();
        auth_stack(Sessions::new(self.store.clone()), auth)
    }

    fn app(&self) -> TestApp {
        TestApp::with_layer(self.guards().around(consumer(Desk::default)), self.layer.clone())
    }

    /// Performs the actions of the query over HTTP, and returns the status and the cookie.
    async fn ask(&self, cookie: &str, query: &str) -> (StatusCode, String) {
        let request = Request::get(format!("/?{query}")).header("cookie", cookie).body(()).unwrap();
        let answer = self.guards().layer().layer(tower::service_fn(page)).call(request).await.unwrap();
        let set = answer.headers().get("set-cookie").map_or("", |set| set.to_str().unwrap());
        (answer.status(), set.split(';').next().unwrap().to_owned())
    }

    fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

async fn page(request: Request<()>) -> std::result::Result<Response<Full<bytes::Bytes>>, Infallible> {
    let outcome = match request.uri().query().unwrap_or_default() {
        "logout" => logout(request.extensions()).await,
        "put" => {
            let session = request.extensions().get::<ws_consumer::middleware::Session>().unwrap();
            session.insert("n", 1).await.unwrap();
            Ok(())
        }
        name => login(request.extensions(), Arc::new(User(name.to_owned()))).await,
    };
    let mut answer = Response::new(Full::default());
    if outcome.is_err() {
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    Ok(answer)
}

#[tokio::test]
async fn hooks_observe_logins_over_http() {
    let site = Site::new("");
    let (_, ann) = site.ask("", "ann").await;
    assert_eq!(site.take_log(), ["in1 ann 1", "in2 ann 1"], "in order, with the session stored");
    let (_, bob) = site.ask(&ann, "bob").await;
    assert_eq!(site.take_log(), ["in1 bob 1", "in2 bob 1"], "ann has not logged out");
    site.ask(&bob, "logout").await;
    assert_eq!(site.take_log(), ["out1 bob 0", "out2 bob 0"], "with the session ended");
    for cookie in ["", &bob, "channels_session=AAAAAAAAAAAAAAAAAAAAAA"] {
        site.ask(cookie, "logout").await;
        assert_eq!(site.take_log(), Vec::<String>::new(), "there is no user");
    }
}

/// An administrator, for a second guard around or inside of the first.
struct Admin(String);

impl Identity for Admin {
    fn id(&self) -> String {
        self.0.clone()
    }
}

struct Admins;

impl Authenticator for Admins {
    type User = Admin;

    async fn by_id(&self, id: &str) -> Result<Option<Proof<Admin>>> {
        Ok(Some(Proof::new(Admin(id.to_owned()))))
    }
}

/// Three guards. The outermost and the innermost have users of one type.
#[tokio::test]
async fn nested_guards_call_all_hooks() {
    let log = Log::default();
    let users = |name: &'static str| {
        let (ins, outs) = (log.clone(), log.clone());
        let on_login = move |user: Arc<User>, _| {
            ins.lock().unwrap().push(format!("{name} in {}", user.id()));
            std::future::ready(Ok(()))
        };
        let on_logout = move |user: Arc<User>, _| {
            outs.lock().unwrap().push(format!("{name} out {}", user.id()));
            std::future::ready(Err(Error::other(name)))
        };
        Auth::new(Users::default()).on_login(on_login).on_logout(on_logout)
    };
    let outer = |store: &MemoryStore| {
        let log = log.clone();
        let on_logout = move |admin: Arc<Admin>, _| {
            log.lock().unwrap().push(format!("middle out {}", admin.id()));
            std::future::ready(Ok(()))
        };
        let admins = Auth::new(Admins).on_logout(on_logout);
        auth_stack(Sessions::new(store.clone()), users("outer")).and(admins)
    };
    let taken = || std::mem::take(&mut *log.lock().unwrap());
    let store = MemoryStore::default();
    // One guard stands twice, and counts once.
    let inner = users("inner").layer();
    let mut service = outer(&store).layer().layer(inner.layer(inner.layer(tower::service_fn(page))));
    let answer = service.call(Request::get("/?ann").body(()).unwrap()).await.unwrap();
    assert_eq!(taken(), ["inner in ann", "outer in ann"]);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    let request = Request::get("/?logout").header("cookie", cookie).body(()).unwrap();
    assert_eq!(service.call(request).await.unwrap().status().as_u16(), 500, "the first error");
    assert_eq!(
        (taken(), store.len()),
        (["inner out ann", "middle out ann", "outer out ann"].map(String::from).into(), 0)
    );

    let app = TestApp::new(outer(&store).and(users("inner")).around(consumer(Desk::default)));
    let mut client = app.websocket("/?login=bob");
    client.connect().await.unwrap();
    client.send_to("logout").await;
    client.assert_sent("inner").await;
    assert_eq!(taken(), ["inner in bob", "outer in bob", "inner out bob", "outer out bob"]);
}

/// The failing hook, the action, the hooks that are called, and the number of sessions afterwards.
#[tokio::test]
async fn failing_hooks_undo_logins_only() {
    let cases: [(_, _, &[&str], _); 4] = [
        ("in1", "login", &["in1 ann 1"], 0),
        ("in2", "login", &["in1 ann 1", "in2 ann 1"], 0),
        ("out1", "logout", &["out1 ann 0", "out2 ann 0"], 0),
        ("out2", "logout", &["out1 ann 0", "out2 ann 0"], 0),
    ];
    for (fails, action, called, sessions) in cases {
        for over_http in [true, false] {
            let mut site = Site::new("");
            let (query, cookie) = match action {
                "login" => ("login=ann", site.ask("", "put").await.1),
                _ => ("logout", site.ask("", "ann").await.1),
            };
            site.take_log();
            site.fails = fails;
            if over_http {
                let (status, set) = site.ask(&cookie, query.trim_start_matches("login=")).await;
                assert_eq!((status.as_u16(), set.as_str()), (500, "channels_session="), "{fails}");
            } else {
                let app = site.app();
                let mut client = app.websocket("/").with_header("cookie", &cookie).with_patience(MINUTE);
                client.connect().await.unwrap();
                client.send_to(query).await;
                client.assert_sent("refused").await;
            }
            assert_eq!(
                (site.take_log(), site.store.len()),
                (called.iter().map(ToString::to_string).collect(), sessions)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn open_sockets_log_in_and_out() {
    let site = Site::new("");
    let (_, cookie) = site.ask("", "put").await;
    let app = site.app();
    let mut client = app.websocket("/").with_header("cookie", &cookie).with_patience(MINUTE);
    client.connect().await.unwrap();
    client.send_to("login=ann").await;
    client.assert_sent("ann").await;
    assert_eq!(site.take_log(), ["in1 ann 1", "in2 ann 1"]);
    // The browser's cookie is good for the login, and for the data from before.
    let mut second = app.websocket("/").with_header("cookie", &cookie).with_patience(MINUTE);
    second.connect().await.unwrap();
    second.send_to("").await;
    second.assert_sent("ann").await;
    assert_eq!(site.layer.users_online(["ann"], Duration::ZERO).await.unwrap().len(), 1);
    assert_eq!(site.layer.close_user("nobody", 4000).await.unwrap().local.matched, 0);
    let report = site.layer.send_to_user("ann", &serde_json::json!({"type": "x"})).await.unwrap();
    assert_eq!(report.local.matched, 2, "both are identified");
    client.send_to("logout").await;
    client.assert_sent("nobody").await;
    assert_eq!((site.take_log(), site.store.len()), (vec!["out1 ann 0".into(), "out2 ann 0".into()], 0));
    let report = site.layer.send_to_user("ann", &serde_json::json!({"type": "x"})).await.unwrap();
    assert_eq!(report.local.matched, 1, "the one that logged out is not reached");
    assert_eq!(second.receive_close().await.code, UNAUTHENTICATED, "its session has ended");
    client.send_to("login=bob").await;
    client.assert_sent("NoSession").await;
}

/// The session before, the path, the command, and the answer.
#[tokio::test]
async fn open_logins_need_the_browsers_session() {
    let cases = [
        ("none", "/", "login=ann", "NoSession"),
        ("unknown", "/", "login=ann", "NoSession"),
        ("none", "/?put", "login=ann", "ann"),
        ("unknown", "/?put", "login=ann", "ann"),
        ("some", "/", "login=ann", "ann"),
        ("ann", "/", "login=ann", "ann"),
        ("ann", "/", "login=bob", "OtherUser"),
        ("none", "/?login=ann", "login=bob", "OtherUser"),
        ("none", "/?login=ann", "login=ann", "ann"),
        ("ann", "/?logout", "login=ann", "NoSession"),
        ("some", "/?logout,put", "login=ann", "ann"),
    ];
    for (before, path, command, expected) in cases {
        let site = Site::new("");
        let cookie = match before {
            "none" => String::new(),
            "unknown" => "channels_session=AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            "some" => site.ask("", "put").await.1,
            name => site.ask("", name).await.1,
        };
        let app = site.app();
        let mut client = app.websocket(path).with_header("cookie", &cookie);
        client.connect().await.unwrap();
        client.send_to(command).await;
        client.assert_sent(expected).await;
    }
    // Saved on the open socket: no cookie has gone out.
    let site = Site::new("");
    let app = site.app();
    let mut late = app.websocket("/");
    late.connect().await.unwrap();
    late.send_to("put").await;
    late.assert_sent("nobody").await;
    late.send_to("login=ann").await;
    late.assert_sent("NoSession").await;
    // Ended, or taken over by another user, by another request meanwhile.
    let (_, cookie) = site.ask("", "put").await;
    let mut client = app.websocket("/").with_header("cookie", &cookie).with_patience(MINUTE);
    client.connect().await.unwrap();
    site.ask(&cookie, "bob").await;
    client.send_to("login=ann").await;
    client.assert_sent("NoSession").await;
}

#[tokio::test]
async fn open_logins_keep_other_requests_data() {
    let site = Site::new("");
    let (_, cookie) = site.ask("", "put").await;
    let app = site.app();
    let mut client = app.websocket("/").with_header("cookie", &cookie).with_patience(MINUTE);
    client.connect().await.unwrap();
    let id = cookie.split_once('=').unwrap().1.parse().unwrap();
    let mut record = site.store.load(&id).await.unwrap().unwrap();
    record.data.insert("cart".to_owned(), serde_json::json!(3));
    site.store.save(&record).await.unwrap();
    client.send_to("login=ann").await;
    client.assert_sent("ann").await;
    let record = site.store.load(&id).await.unwrap().unwrap();
    assert_eq!(record.data["cart"], 3);
}

/// The checks follow the user of an open socket: none at first, then one that is removed.
#[tokio::test(start_paused = true)]
async fn rechecks_follow_open_logins() {
    let site = Site::new("");
    let (_, cookie) = site.ask("", "put").await;
    let app = site.app();
    let mut client = app.websocket("/").with_header("cookie", &cookie).with_patience(MINUTE);
    client.connect().await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    client.send_to("login=ann").await;
    client.assert_sent("ann").await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    client.send_to("").await;
    client.assert_sent("ann").await;
    site.users.removed.lock().unwrap().push("ann".to_owned());
    assert_eq!(client.receive_close().await.code, UNAUTHENTICATED);
}
