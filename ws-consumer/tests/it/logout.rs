//! The life of a session and its cookie, over plain HTTP and over sockets.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Extensions, Request, Response, StatusCode, header};
use http_body_util::Full;
use tower_layer::Layer;
use tower_service::Service;
use ws_consumer::{
    Consumer, Context, Exchange, HttpConsumer, NoEvents, Result, Socket, consumer, http_consumer,
    middleware::{Cookies, Guard, Identity, MemoryStore, Session, Sessions, login, logout},
    testing::TestApp,
};

struct User(String);

impl Identity for User {
    fn id(&self) -> String {
        self.0.clone()
    }
}

async fn act(extensions: &Extensions, deed: &str) -> Result<()> {
    let session = extensions.get::<Session>().unwrap();
    match deed {
        "flush" => session.flush().await?,
        "login" => login(extensions, Arc::new(User("ann".to_owned()))).await?,
        "logout" => logout(extensions).await?,
        "put" => session.insert("n", fastrand::u32(..)).await?,
        "read" => _ = session.get::<u32>("n").await?,
        other => panic!("{other}?"),
    }
    Ok(())
}

/// Performs the actions of the query, one after the other.
#[derive(Default)]
struct Doer;

impl Doer {
    async fn act(context: &Context) -> Result<()> {
        for deed in context.scope().uri.query().unwrap_or_default().split(',') {
            act(&context.scope().extensions, deed).await?;
        }
        Ok(())
    }
}

impl Consumer for Doer {
    type Event = NoEvents;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        Self::act(socket).await?;
        socket.scope().save_session().await?;
        socket.accept().await
    }
}

impl HttpConsumer for Doer {
    type Event = NoEvents;

    async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
        Self::act(exchange).await?;
        exchange.send_response(StatusCode::OK, "").await
    }
}

async fn page(request: Request<()>) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    for deed in request.uri().query().unwrap_or_default().split(',') {
        act(request.extensions(), deed).await.unwrap();
    }
    Ok(Response::new(Full::default()))
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Application,
    Layer,
    Socket,
}

const WAYS: [Way; 3] = [Way::Application, Way::Layer, Way::Socket];

struct Site {
    sessions: Sessions<MemoryStore>,
    store: MemoryStore,
}

impl Site {
    fn new() -> Self {
        let store = MemoryStore::default();
        let sessions = Sessions::new(store.clone()).path("/app").domain("example.com").name("s");
        Self { sessions, store }
    }

    /// Sends a request, and returns the `Set-Cookie` header of the answer.
    async fn ask(&self, way: Way, cookie: &str, deeds: &str) -> Option<String> {
        let guards = Cookies::new().and(self.sessions.clone());
        let uri = format!("/?{deeds}");
        let headers = match way {
            Way::Application => {
                let test_app = TestApp::new(guards.around(http_consumer(Doer::default)));
                let mut client = test_app.http("GET", &uri).with_header("cookie", cookie);
                client.get_response().await.headers().clone()
            }
            Way::Layer => {
                let request = Request::get(uri).header("cookie", cookie).body(()).unwrap();
                let mut service = guards.layer().layer(tower::service_fn(page));
                service.call(request).await.unwrap().headers().clone()
            }
            Way::Socket => {
                let test_app = TestApp::new(guards.around(consumer(Doer::default)));
                let mut client = test_app.websocket(&uri).with_header("cookie", cookie);
                client.connect().await.unwrap().headers
            }
        };
        let set: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
        assert!(set.len() <= 1, "{set:?}");
        set.first().map(|set| set.to_str().unwrap().to_owned())
    }
}

#[derive(Debug, PartialEq)]
enum Cookie {
    Kept,
    Renewed,
    TakenBack,
}

fn judge(before: &str, set: Option<String>) -> Cookie {
    let Some(set) = set else { return Cookie::Kept };
    assert!(set.contains("Path=/app") && set.contains("Domain=example.com"), "{set}");
    if set.contains("Max-Age=0") {
        assert!(set.starts_with("s=;"), "{set}");
        return Cookie::TakenBack;
    }
    assert!(!before.starts_with(set.split(';').next().unwrap()), "under the id that it had: {set}");
    Cookie::Renewed
}

#[tokio::test]
async fn logout_ends_resumable_sessions() {
    use Cookie::{Kept, Renewed, TakenBack};
    // The client's cookie, what is done, how many sessions there are then, and what becomes of the cookie.
    let cases = [
        ("none", "logout", 0, Kept),
        ("none", "logout,logout", 0, Kept),
        ("none", "read,logout", 0, Kept),
        ("none", "put,logout", 0, Kept),
        ("none", "login,logout", 0, Kept),
        ("none", "logout,login", 1, Renewed),
        ("none", "logout,put", 1, Renewed),
        ("none", "put", 1, Renewed),
        ("none", "login,put", 1, Renewed),
        ("known", "logout", 0, TakenBack),
        ("known", "logout,logout", 0, TakenBack),
        ("known", "read,logout", 0, TakenBack),
        ("known", "put,logout", 0, TakenBack),
        ("known", "login,logout", 0, TakenBack),
        ("known", "logout,read", 0, TakenBack),
        ("known", "logout,login", 1, Renewed),
        ("known", "logout,put", 1, Renewed),
        ("known", "logout,login,logout", 0, TakenBack),
        ("known", "login", 1, Renewed),
        ("known", "flush", 0, TakenBack),
        ("known", "flush,put", 1, Renewed),
        ("known", "flush,login", 1, Renewed),
        ("known", "read", 1, Kept),
        ("expired", "logout", 0, TakenBack),
        ("expired", "read,logout", 0, TakenBack),
        ("expired", "logout,logout", 0, TakenBack),
        ("expired", "put", 1, Renewed),
        ("expired", "logout,login", 1, Renewed),
        ("nonsense", "logout", 0, Kept),
        ("nonsense", "login", 1, Renewed),
    ];
    for way in WAYS {
        for (client, deeds, kept, cookie) in &cases {
            let site = Site::new();
            let before = match *client {
                "none" => String::new(),
                "known" => site.ask(Way::Layer, "", "login,put").await.unwrap(),
                "expired" => "s=AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
                nonsense => format!("s={nonsense}"),
            };
            let before = before.split(';').next().unwrap().to_owned();
            let set = site.ask(way, &before, deeds).await;
            let told = format!("{way:?}: {client}, {deeds}: {set:?}");
            assert_eq!((site.store.len(), &judge(&before, set)), (*kept, cookie), "{told}");
        }
    }
}

/// On a socket that is open it is too late for the cookie, but not for the session.
#[tokio::test(start_paused = true)]
async fn socket_logout_ends_the_session() {
    async fn leaving(mut socket: Socket) -> Result<()> {
        socket.accept().await?;
        socket.logout::<User>().await?;
        socket.logout::<User>().await?;
        socket.scope().save_session().await?;
        socket.send_text("left").await
    }
    let site = Site::new();
    let known = site.ask(Way::Layer, "", "login,put").await.unwrap();
    let test_app = TestApp::new(Cookies::new().and(site.sessions.clone()).around(leaving));
    for cookie in [known.split(';').next().unwrap(), "s=AAAAAAAAAAAAAAAAAAAAAA", ""] {
        let mut client = test_app.websocket("/").with_header("cookie", cookie);
        client.connect().await.unwrap();
        client.assert_sent("left").await;
        assert_eq!(site.store.len(), 0, "{cookie}");
    }
}

/// The session of a deleted user is ended as well, wherever that is noticed.
#[tokio::test]
async fn removed_users_resume_nothing() {
    use ws_consumer::middleware::{Auth, Authenticator, auth_stack};
    struct Nobody;
    impl Authenticator for Nobody {
        type User = User;
    }
    let site = Site::new();
    let known = site.ask(Way::Layer, "", "login,put").await.unwrap();
    let cookie = known.split(';').next().unwrap();
    let request = Request::get("/?read").header("cookie", cookie).body(()).unwrap();
    let stack = auth_stack(site.sessions.clone(), Auth::new(Nobody));
    let answer = stack.layer().layer(tower::service_fn(page)).call(request).await.unwrap();
    assert!(answer.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(site.store.len(), 0);
}
