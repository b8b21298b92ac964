//! Connections whose user is known: what is sent to that user reaches them, without a word of the consumer's.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use channel_layer::{ChannelLayer, MemoryLayer};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use ws_consumer::{
    Application, Close, Consumer, Exchange, Frame, HttpConsumer, Limits, NoEvents, Protocols, Result, Resume,
    Router, Socket, UsersExt,
    middleware::{
        Auth, Authenticator, Guard, GuardRequest, Identity, MemoryStore, NoIdentify, Proof, Sessions, Token,
        UNAUTHENTICATED, UserId, auth_stack,
    },
    testing::{TestApp, WebsocketCommunicator},
};

use crate::support::{
    Server,
    sessions::{ALL, Heard, SessionClient},
};

struct User(String);

impl Identity for User {
    fn id(&self) -> String {
        self.0.clone()
    }
}

/// A token is the user's name, with `-minute` for a short life.
#[derive(Clone)]
struct Users;

impl Authenticator for Users {
    type User = User;

    async fn by_token(&self, token: &Token) -> Result<Option<Proof<User>>> {
        Ok(Some(match token.secret().strip_suffix("-minute") {
            Some(name) => Proof::new(User(name.to_owned())).with_lifetime(Duration::from_secs(60)),
            None => Proof::new(User(token.secret().to_owned())),
        }))
    }
    async fn by_id(&self, id: &str) -> Result<Option<Proof<User>>> {
        Ok(Some(Proof::new(User(id.to_owned()))))
    }
}

#[derive(Default)]
struct Inbox;

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Mail {
    #[serde(rename = "mail.arrived")]
    Arrived { from: String },
}

impl Consumer for Inbox {
    type Event = Mail;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        match socket.scope().uri.query() {
            Some("login") => socket.login(Arc::new(User("ann".to_owned()))).await?,
            Some("identify") => socket.identify("ann").await?,
            Some("twice") => {
                socket.identify("ann").await?;
                socket.accept().await?;
                socket.identify("ann").await?;
            }
            _ => {}
        }
        socket.accept().await
    }
    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        match frame.text()? {
            "logout" => socket.logout::<User>().await?,
            token => socket.reauthenticate::<Users>(&Token::new(token)).await?,
        }
        socket.send_text("done").await
    }
    async fn event(&mut self, socket: &mut Socket, mail: &Mail) -> Result<()> {
        let Mail::Arrived { from } = mail;
        socket.send_text(from).await
    }
}

fn inbox() -> Router {
    Router::new().consumer("/", Inbox::default)
}

/// Believes what a client says of itself.
struct Believing;

impl Guard for Believing {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), ws_consumer::Refuse> {
        if let Some(user) = request.header("x-user").map(|user| UserId(user.into())) {
            request.extensions.insert(user);
        }
        Ok(())
    }
}

async fn reached(layer: &Arc<dyn ChannelLayer>, user: &str) -> usize {
    let mail = Mail::Arrived { from: "bob".to_owned() };
    layer.send_to_user(user, &mail).await.unwrap().local.delivered
}

fn with_sessions(auth: Auth<Users>) -> impl Application {
    auth_stack(Sessions::new(MemoryStore::default()), auth).around(inbox())
}

async fn plain(mut socket: Socket) -> Result<()> {
    socket.accept().await?;
    while socket.next().await?.is_some() {}
    Ok(())
}

async fn connected(mut client: WebsocketCommunicator) -> WebsocketCommunicator {
    client.connect().await.unwrap();
    client
}

/// Each case: the way a client authenticates, and the number of connections of `ann` afterwards.
#[tokio::test(start_paused = true)]
async fn identified_users_are_reached() {
    let tokens =
        || Auth::by_tokens(Users).from_header().from_query().from_cookie("t").from_protocol("bearer");
    let header = ("authorization", "Bearer ann");
    let believed = ("x-user", "ann");
    let none = ("x-none", "");
    let cases = [
        ("by a header", TestApp::new(tokens().around(inbox())), "/", header, 1),
        ("by a query", TestApp::new(tokens().around(inbox())), "/?token=ann", none, 1),
        ("by a cookie", TestApp::new(tokens().around(inbox())), "/", ("cookie", "t=ann"), 1),
        (
            "by a protocol",
            TestApp::new(tokens().around(inbox())),
            "/",
            ("sec-websocket-protocol", "bearer, ann"),
            1,
        ),
        ("as nobody", TestApp::new(tokens().around(inbox())), "/", none, 0),
        ("as another", TestApp::new(tokens().around(inbox())), "/?token=bob", none, 0),
        ("by a login", TestApp::new(with_sessions(Auth::new(Users))), "/?login", none, 1),
        ("by a guard of one's own", TestApp::new(Believing.around(inbox())), "/", believed, 1),
        ("without a consumer", TestApp::new(Believing.around(plain)), "/", believed, 1),
        ("and says so itself", TestApp::new(Believing.around(inbox())), "/?identify", believed, 1),
        ("and says so twice", TestApp::new(Believing.around(inbox())), "/?twice", believed, 1),
        ("by itself alone", TestApp::new(inbox()), "/?identify", none, 1),
        ("by two guards", TestApp::new(Believing.and(tokens()).around(inbox())), "/?token=ann", believed, 1),
        ("not wanted", TestApp::new(tokens().no_identify().around(inbox())), "/", header, 0),
        ("not wanted here", TestApp::new(tokens().and(NoIdentify).around(inbox())), "/", header, 0),
        ("not wanted at first", TestApp::new(NoIdentify.and(Believing).around(inbox())), "/", believed, 0),
        ("wanted after all", TestApp::new(tokens().no_identify().around(inbox())), "/?twice", header, 1),
    ];
    for (how, app, path, (name, value), expected) in cases {
        let mut client = connected(app.websocket(path).with_header(name, value)).await;
        assert_eq!(reached(app.layer(), "ann").await, expected, "{how}");
        if expected == 1 && how != "without a consumer" {
            client.assert_sent("bob").await;
        }
        let closed = app.layer().close_user("ann", Close::new(4001, "out")).await.unwrap();
        assert_eq!(closed.local.delivered, expected, "{how}");
        if expected == 1 {
            assert_eq!(client.receive_close().await, Close::new(4001, "out"), "{how}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn outer_layers_identify_users() {
    let app = TestApp::new(inbox());
    let client = app.websocket("/").with_extension(UserId("ann".into()));
    let mut client = connected(client).await;
    assert_eq!(reached(app.layer(), "ann").await, 1);
    client.assert_sent("bob").await;
}

#[tokio::test(start_paused = true)]
async fn login_after_accept_identifies() {
    let first = Auth::by_tokens(Users).from_first_message(Duration::from_secs(5));
    let app = TestApp::new(first.around(inbox()));
    let mut client = connected(app.websocket("/")).await;
    assert_eq!(reached(app.layer(), "ann").await, 0);
    client.send_to("ann").await;
    client.receive_nothing(Duration::from_millis(1)).await;
    assert_eq!(reached(app.layer(), "ann").await, 1, "the first message");
    client.assert_sent("bob").await;

    let app = TestApp::new(Auth::by_tokens(Users).around(inbox()));
    let mut client = connected(app.websocket("/")).await;
    client.send_to("ann").await;
    client.assert_sent("done").await;
    assert_eq!(reached(app.layer(), "ann").await, 1, "a token later");
}

#[tokio::test(start_paused = true)]
async fn logout_and_expiry_end_identity() {
    let app = TestApp::new(with_sessions(Auth::new(Users)));
    let mut client = connected(app.websocket("/?login")).await;
    assert_eq!(reached(app.layer(), "ann").await, 1);
    client.assert_sent("bob").await;
    client.send_to("logout").await;
    client.assert_sent("done").await;
    assert_eq!(reached(app.layer(), "ann").await, 0);
    client.refute_sent("bob").await;

    let app = TestApp::new(Auth::by_tokens(Users).from_query().around(inbox()));
    let mut client = connected(app.websocket("/?token=ann-minute")).await;
    assert_eq!(reached(app.layer(), "ann").await, 1);
    client.assert_sent("bob").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(client.receive_close().await.code, UNAUTHENTICATED);
    client.wait().await.unwrap();
    assert_eq!(reached(app.layer(), "ann").await, 0);
}

/// Two processes on one layer: the sessions are in the first, what is sent to users comes from the second.
#[tokio::test(start_paused = true)]
async fn users_are_reached_everywhere() {
    let shared = Arc::new(MemoryLayer::default());
    let process =
        || Server::with_sessions(Believing.around(inbox()), &shared, Resume::default(), Limits::default());
    let (first, second) = (process(), process());
    let layer = second.service.layer();
    for transport in ALL {
        let mut client = SessionClient::new(&first.service, "/");
        client.headers.push(("x-user", "ann".to_owned()));
        client.connect(transport).await.unwrap();
        assert_eq!(reached(layer, "ann").await, 1, "{transport:?}");
        assert_eq!(client.text().await, "bob", "{transport:?}");
        client.cut();
        assert_eq!(reached(layer, "ann").await, 1, "{transport:?} while it is away");
        client.connect(transport).await.unwrap();
        assert_eq!(client.text().await, "bob", "{transport:?} after it came back");
        assert_eq!(reached(layer, "ann").await, 1, "{transport:?} once, still");
        assert_eq!(client.text().await, "bob", "{transport:?}");
        client.moves_to(&second.service);
        client.connect(transport).await.unwrap();
        assert_eq!(reached(layer, "ann").await, 1, "{transport:?} carried by another process");
        assert_eq!(client.text().await, "bob", "{transport:?}");
        assert_eq!(layer.close_user("ann", 4001).await.unwrap().local.delivered, 1, "{transport:?}");
        assert_eq!(client.next().await.unwrap(), Heard::Close(4001, String::new()), "{transport:?}");
        assert_eq!(reached(layer, "ann").await, 0, "{transport:?} and then it is gone");
    }
}

/// Sends a message to ann, or waits for ann's message.
#[derive(Default)]
struct Page;

impl HttpConsumer for Page {
    type Event = Mail;

    async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
        match exchange.scope().path() {
            "/send" => {
                let mail = json!({ "type": "mail.arrived", "from": "page" });
                let delivered = exchange.layer().send_to_user("ann", &mail).await?.local.delivered;
                exchange.send_response(StatusCode::OK, delivered.to_string()).await
            }
            "/wait" => exchange.channel().await.map(|_| ()),
            _ => {
                let closed = exchange.layer().close_user("ann", 4001).await?.local.delivered;
                exchange.send_response(StatusCode::OK, closed.to_string()).await
            }
        }
    }
    async fn event(&mut self, exchange: &mut Exchange, mail: &Mail) -> Result<()> {
        let Mail::Arrived { from } = mail;
        exchange.send_response(StatusCode::OK, from.clone()).await
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_hear_user_events() {
    let pages = Router::new().http("/send", Page::default).http("/close", Page::default);
    let pages = pages.http("/wait", Page::default).consumer("/", Inbox::default);
    let app = TestApp::new(Believing.around(pages));
    let mut client = connected(app.websocket("/").with_header("x-user", "ann")).await;
    assert_eq!(app.http("POST", "/send").get_response().await.body(), "1");
    client.assert_sent("page").await;
    assert_eq!(app.http("POST", "/close").get_response().await.body(), "1");
    assert_eq!(client.receive_close().await.code, 4001);

    let mut waiting = app.http("GET", "/wait").with_header("x-user", "ann");
    assert!(waiting.receive_nothing(Duration::from_secs(1)).await);
    assert_eq!(app.http("POST", "/send").get_response().await.body(), "1");
    assert_eq!(waiting.get_response().await.body(), "page");
}

/// While its layer is away, a server refuses clients that could not be reached as users.
#[tokio::test(start_paused = true)]
async fn unidentified_users_are_refused() {
    #[derive(Default)]
    struct Silent;
    impl Consumer for Silent {
        type Event = NoEvents;
    }
    let layer = Arc::new(MemoryLayer::default());
    layer.close().await.unwrap();
    let sockets = Believing.around(Router::new().consumer("/", Silent::default));
    let protocols = Protocols::new().websocket(sockets).accept_in_outage();
    let service = protocols.into_service(layer.clone() as Arc<dyn ChannelLayer>);
    let server = Server { layer, service };
    let asking = |user: Option<&str>| {
        let mut request = crate::support::request("/");
        if let Some(user) = user {
            request.headers_mut().insert("x-user", user.parse().unwrap());
        }
        request
    };
    assert!(server.try_connect(asking(Some("ann"))).await.is_err());
    server.try_connect(asking(None)).await.unwrap();
}
