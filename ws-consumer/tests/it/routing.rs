//! Routes from URLs to applications: the items U1 to U8 of Django Channels' tests, and more.
//!
//! Tests are named after their items. U1, the switch by protocol, is in `requests.rs`, where a service has all of them; its
//! cases of a protocol that is unknown or missing cannot be written here. U2, a consumer per named channel, is what workers
//! do, which receive from the layer and have no URL.

use std::sync::Arc;

use serde::Deserialize;
use ws_consumer::{
    Application, Consumer, Error, NoEvents, Result, Router, Socket, consumer, middleware::OriginCheck,
    middleware::Origins, testing::WebsocketCommunicator,
};

/// Sends its name and its parameters.
fn tell(name: &'static str) -> impl Application {
    move |mut socket: Socket| async move {
        let pairs: Vec<_> =
            socket.scope().param_pairs().map(|(name, value)| format!(" {name}={value}")).collect();
        socket.accept().await?;
        socket.send_text(format!("{name}{}", pairs.concat())).await
    }
}

/// The result of a path: the application's answer, or the status.
async fn ask(router: &Router, path: &str) -> String {
    let mut client = WebsocketCommunicator::new(Arc::new(router.clone()), path);
    match client.connect().await {
        Ok(_) => client.receive_from().await.text().expect("text").to_owned(),
        Err(refuse) => refuse.status.as_u16().to_string(),
    }
}

async fn check(router: &Router, table: &[(&str, &str)]) {
    for (path, expected) in table {
        assert_eq!(ask(router, path).await, *expected, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn first_matching_route_wins() {
    let router = Router::new()
        .application("/", tell("empty"))
        .application("/foo/", tell("foo"))
        .application("/ws/{room}/", tell("room"))
        .application("/ws/lobby/", tell("never"))
        .application("/{a}/{b}", tell("two"));
    check(
        &router,
        &[
            ("/", "empty"),
            ("/foo/", "foo"),
            ("/foo", "404"),
            ("/foo/bar/", "404"),
            ("/ws/lobby/", "room room=lobby"),
            ("/ws//", "404"),
            ("/1/2", "two a=1 b=2"),
            ("/ws/x", "two a=ws b=x"),
            ("/ws/%E6%B1%89%2F%2541/", "room room=汉/%41"),
            ("/%77s/x/?q=1", "room room=x"),
            ("/ws/%ff/", "400"),
            ("/nope/", "404"),
        ],
    )
    .await;
}

/// Each case: the path, the state of type `&str` that the consumer sees.
#[tokio::test(start_paused = true)]
async fn innermost_state_is_seen() {
    async fn state(mut socket: Socket) -> Result<()> {
        let seen = socket
            .scope()
            .state::<&str>()
            .map_or_else(|error| error.causes().to_string(), |state| (*state).to_owned());
        socket.accept().await?;
        socket.send_text(seen).await
    }
    let routes = || Router::new().application("/x", state);
    let set = routes().nest("/own", routes().with_state("inner")).nest("/none", routes().with_state(7));
    let router = Router::new().nest("/set", set.with_state("outer")).nest("/unset", routes());
    check(
        &router,
        &[
            ("/set/x", "outer"),
            ("/set/own/x", "inner"),
            ("/set/none/x", "outer"),
            (
                "/unset/x",
                "no state of type `&str`: set it with `Router::with_state`, or with a layer in front",
            ),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn regex_routes_match_like_django() {
    let router = Router::new()
        .re_path(r"^$", tell("empty"))
        .re_path(r"^book/(\w+)/(\d+)/$", tell("positional"))
        .re_path(r"ws/(?P<room>\w+)/$", tell("room"))
        .re_path(r"^mixed/(\w+)/(?P<named>\w+)$", tell("mixed"))
        .re_path(r"^optional/(?P<a>\d+)?", tell("optional"))
        .re_path("unanchored", tell("unanchored"));
    check(
        &router,
        &[
            ("/", "empty"),
            ("/book/abc/7/", "positional 0=abc 1=7"),
            ("/ws/lobby/", "room room=lobby"),
            ("/chat/ws/lobby/", "room room=lobby"),
            ("/ws/%E6%B1%89/", "room room=汉"),
            ("/ws/a b/".replace(' ', "%20").as_str(), "404"),
            ("/mixed/a/b", "mixed named=b"),
            ("/optional/", "optional"),
            ("/xx/unanchored-more", "unanchored"),
            ("//ws/x/", "room room=x"),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn regexes_and_patterns_keep_order() {
    let router = Router::new()
        .application("/a/{x:int}", tell("int"))
        .re_path(r"^a/", tell("regex"))
        .application("/a/{x}", tell("str"));
    check(&router, &[("/a/1", "int x=1"), ("/a/b", "regex"), ("/a/", "regex")]).await;
}

#[tokio::test(start_paused = true)]
async fn given_parameters_override() {
    let router = Router::new().application("/{y}", tell("given")).with_param("y", "5").with_param("z", "6");
    check(&router, &[("/1", "given y=5 z=6")]).await;
}

#[tokio::test(start_paused = true)]
async fn root_paths_are_whole_segments() {
    let router = Router::new().nest("/base", Router::new().application("/end", tell("end")));
    check(&router, &[("/base/end", "end"), ("/end", "404"), ("/baseend", "404"), ("/base", "404")]).await;
}

#[tokio::test(start_paused = true)]
async fn nested_regexes_merge() {
    let pages = Router::new()
        .re_path(r"^book/(?P<book>[\w\-]+)/page/(?P<page>\d+)/$", tell("page"))
        .re_path(r"^(\w+)/(\w+)$", tell("positions"));
    let router =
        Router::new().re_mount(r"^universe/(?P<universe>\d+)/", pages.clone()).re_mount(r"^by/(\w+)/", pages);
    check(
        &router,
        &[
            ("/universe/42/book/the-guide/page/9/", "page universe=42 book=the-guide page=9"),
            ("/universe/42/nope/", "404"),
            ("/by/%61/b/c", "positions 0=a 1=b 2=c"),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn nesting_passes_middleware() {
    let inner = Router::new().application("/page/{page:int}/", tell("page"));
    let behind = OriginCheck::new(Origins::SameHost, inner);
    let router = Router::new()
        .mount("/book/{book:int}/", behind)
        .application("/book/{book}/{rest:path}", tell("rest"));
    check(
        &router,
        &[
            ("/book/1/page/2/", "page book=1 page=2"),
            ("/book/1/page/2/trailing", "rest book=1 rest=page/2/trailing"),
            ("/book/x/page/2/", "rest book=x rest=page/2/"),
            ("/book/1", "404"),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn u6_converters_choose() {
    let uuid = "075194d3-6885-417e-a8a8-6c931e272f00";
    let router = Router::new()
        .converter("year", |text| text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit()))
        .application("/{y:year}/", tell("year"))
        .application("/{n:int}/", tell("int"))
        .application("/{u:uuid}/", tell("uuid"))
        .application("/{s:slug}/", tell("slug"))
        .application("/{x:str}/", tell("str"))
        .application("/files/{rest:path}", tell("path"));
    check(
        &router,
        &[
            ("/2026/", "year y=2026"),
            ("/20260/", "int n=20260"),
            (&format!("/{uuid}/"), &format!("uuid u={uuid}")),
            ("/a-b/", "slug s=a-b"),
            ("/a.b/", "str x=a.b"),
            ("/files/a/b%20c/", "path rest=a/b c/"),
            ("/files/", "slug s=files"),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn unmatched_nested_routers_fall_through() {
    let deep = Router::new().nest("/b", Router::new().application("/c", tell("deep")));
    let router = Router::new()
        .nest("/a", deep)
        .nest("/a", Router::new().application("/{x}/{y}", tell("second")))
        .application("/a/{rest:path}", tell("last"));
    check(&router, &[("/a/b/c", "deep"), ("/a/b/d", "second x=b y=d"), ("/a/b/d/e", "last rest=b/d/e")])
        .await;
}

#[test]
fn route_faults_appear_at_build() {
    let fault = |pattern: &str| Router::new().try_application(pattern, tell("")).err().unwrap().to_string();
    assert_eq!(fault("/{a}/{a}"), "route `/{a}/{a}`: the parameter `a` is named twice");
    assert!(fault("/{a:nope}").contains("no kind"));
    let fault = |pattern: &str| Router::new().try_re_path(pattern, tell("")).err().unwrap().to_string();
    for pattern in ["(", r"(?P<a>x)(?P<a>y)", r"(?=look)", r"(a)\1"] {
        assert!(fault(pattern).starts_with(&format!("route `{pattern}`: ")), "{pattern}");
    }
}

#[test]
#[should_panic(expected = "route `ws`: it must begin with `/`")]
fn unchecked_route_fault_panics() {
    let _ = Router::new().application("ws", tell(""));
}

#[tokio::test(start_paused = true)]
async fn regexes_do_not_backtrack() {
    let router = Router::new().re_path(r"^(a+)+$", tell("a"));
    let path = format!("/{}!", "a".repeat(8000));
    assert_eq!(ask(&router, &path).await, "404");
}

#[test]
fn a_url_is_made_from_a_name() {
    let rooms = Router::new().application("/{room}/{n:int}", tell("")).name("room");
    let router = Router::new()
        .nest("/ws/{lang:slug}/", rooms)
        .application("/a b/{rest:path}", tell(""))
        .name("files")
        .re_path("x", tell(""))
        .name("regex");
    let url =
        |name: &str, params: &[(&str, &str)]| router.url_for(name, params).map_err(|fault| fault.to_string());
    assert_eq!(url("room", &[("lang", "en"), ("room", "汉/"), ("n", "7")]).unwrap(), "/ws/en/%E6%B1%89%2F/7");
    assert_eq!(url("files", &[("rest", "a/b c")]).unwrap(), "/a%20b/a/b%20c");
    for (name, params, fault) in [
        ("room", &[("lang", "en"), ("room", "x")][..], "`n` is missing"),
        ("room", &[("lang", "en"), ("room", "x"), ("n", "x")], "`n` cannot be \"x\""),
        ("room", &[("lang", "en"), ("room", ".."), ("n", "1")], "`room` cannot be"),
        ("regex", &[], "regular expression"),
        ("nope", &[], "no route"),
    ] {
        assert!(url(name, params).unwrap_err().contains(fault), "{name} {params:?}");
    }
}

#[derive(Deserialize)]
struct Page {
    book: String,
    page: u8,
}

struct Pages;

impl Consumer for Pages {
    type Event = NoEvents;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let Page { book, page } = socket.scope().params()?;
        let (first, _): (&str, u8) = socket.scope().params()?;
        assert_eq!(first, book);
        socket.accept().await?;
        socket.send_text(format!("{book} {page}")).await
    }
}

#[tokio::test(start_paused = true)]
async fn unparsable_parameters_are_400() {
    let router = Router::new().re_path("^(?P<book>[^/]+)/(?P<page>[^/]+)$", consumer(|| Pages));
    check(&router, &[("/guide/9", "guide 9"), ("/guide/256", "400"), ("/guide/x", "400")]).await;
}

/// Makes a number of routes, each with a parameter.
fn many(count: usize) -> Router {
    (0..count)
        .fold(Router::new(), |router, n| router.application(&format!("/part{n}/{{name}}/"), tell("many")))
}

#[tokio::test(start_paused = true)]
async fn finds_one_of_ten_thousand_routes() {
    let router = many(10_000);
    check(&router, &[("/part9999/x/", "many name=x"), ("/part10000/x/", "404"), ("/part0//", "404")]).await;
}

#[tokio::test(start_paused = true)]
async fn unrouted_paths_are_404() {
    let router =
        Router::new().application("/gone", |_: Socket| async { Err(Error::Refused(http::StatusCode::GONE)) });
    check(&router, &[("/gone", "410"), ("/", "404")]).await;
}
