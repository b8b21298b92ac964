//! Input and output of plain requests: queries, forms, JSON, whole responses, event streams.

use std::time::Duration;

use channel_layer::{ChannelLayerExt, MemoryLayer, Message};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use ws_consumer::{
    Error, EventStreamOptions, Exchange, HttpConsumer, HttpResponse, Protocols, Result, Router,
    ServerSentEvent, exchange, serve_connection, testing::TestApp,
};

#[derive(Deserialize)]
struct Search {
    q: String,
    #[serde(default)]
    tag: Vec<String>,
}

async fn answer(mut exchange: Exchange) -> Result<()> {
    let path = exchange.scope().path().to_owned();
    let read = match path.as_str() {
        "/query" => exchange.scope().query_as::<Search>()?,
        "/form" => exchange.form::<Search>(100).await?,
        "/json" => exchange.json::<Search>(100).await?,
        "/long" => return Err(Error::bad_input("é".repeat(2000))),
        "/secret" => return Err(Error::other("a password")),
        "/empty" => return exchange.respond((StatusCode::NO_CONTENT, "no body")).await,
        "/unchanged" => {
            return exchange.respond((StatusCode::NOT_MODIFIED, [("etag", "x")], "no body")).await;
        }
        "/parts" => {
            exchange.send_headers(StatusCode::OK).await?;
            exchange.send_body("one", true).await?;
            return exchange.send_body("two", false).await;
        }
        _ => return exchange.respond((StatusCode::CREATED, [("x", "y")], HttpResponse::html("<p>"))).await,
    };
    exchange.respond_json(&json!([read.q, read.tag])).await
}

#[tokio::test(start_paused = true)]
async fn inputs_are_read_or_refused() {
    let (form, json) = ("application/x-www-form-urlencoded", "application/json; charset=utf-8");
    let app = TestApp::new(exchange(answer));
    for (path, kind, body, status, text) in [
        ("/query?q=a+b&tag=1&tag=2", "", "", 200, r#"["a b",["1","2"]]"#),
        ("/query?tag=1", "", "", 400, "query: missing field `q`"),
        ("/form", form, "q=%C3%A9&tag=1", 200, r#"["é",["1"]]"#),
        ("/form", form, "tag=1", 400, "form: missing field `q`"),
        ("/form", json, "q=a", 415, ""),
        ("/form", form, &"q".repeat(101), 413, ""),
        ("/json", json, r#"{"q":"\ud83d"}"#, 200, "[\"\u{fffd}\",[]]"),
        ("/json", "Application/Vnd.Api+JSON", r#"{"q":"a"}"#, 200, r#"["a",[]]"#),
        ("/json", json, "{}", 400, "missing field `q` at line 1 column 2"),
        ("/json", "text/plain", r#"{"q":"a"}"#, 415, ""),
        ("/json", "", r#"{"q":"a"}"#, 415, ""),
        ("/secret", "", "", 500, ""),
    ] {
        let mut client = app.http("POST", path).with_body(body.to_owned());
        if !kind.is_empty() {
            client = client.with_header("content-type", kind);
        }
        let response = client.get_response().await;
        assert_eq!(
            (response.status().as_u16(), &response.body()[..]),
            (status, text.as_bytes()),
            "{path} {body}"
        );
        if status == 400 {
            assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
            assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        }
    }
    let long = app.http("GET", "/long").get_response().await;
    assert_eq!(&long.body()[..], "é".repeat(512).as_bytes());
    let page = app.http("GET", "/").get_response().await;
    assert_eq!(
        (page.status(), &page.headers()["x"], &page.body()[..]),
        (StatusCode::CREATED, &"y".parse().unwrap(), &b"<p>"[..])
    );
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
}

/// Two requests over one connection: a body that must not be there would be read as the next response.
async fn raw(method: &str, path: &str) -> String {
    let (mut client, server) = duplex(1 << 16);
    let routes =
        Router::new().application("/{path:path}", exchange(answer)).application("/", exchange(answer));
    tokio::spawn(serve_connection(
        server,
        Protocols::new().requests(routes).into_service(MemoryLayer::default()),
    ));
    let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    let last = "GET /secret HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    client.write_all((head + last).as_bytes()).await.expect("the server reads");
    let mut all = String::new();
    client.read_to_string(&mut all).await.expect("the server closes");
    all
}

#[tokio::test(start_paused = true)]
async fn some_responses_have_no_body() {
    for (method, path, head, length) in [
        ("HEAD", "/", "201 Created", Some("content-length: 3")),
        ("HEAD", "/parts", "200 OK", None),
        ("HEAD", "/query", "400 Bad Request", Some("content-length: 24")),
        ("HEAD", "/empty", "204 No Content", None),
        ("GET", "/empty", "204 No Content", None),
        ("GET", "/unchanged", "304 Not Modified", None),
    ] {
        let answers = raw(method, path).await;
        let (first, rest) = answers.split_once("\r\n\r\n").unwrap();
        assert!(first.starts_with(&format!("HTTP/1.1 {head}")), "{method} {path}: {answers}");
        assert!(rest.starts_with("HTTP/1.1 500"), "{method} {path}: {answers}");
        match length {
            Some(length) => assert!(first.contains(length), "{method} {path}: {answers}"),
            None if head.starts_with("204") => assert!(!first.contains("content-length"), "{answers}"),
            None => {}
        }
    }
}

struct Prices;

impl HttpConsumer for Prices {
    type Event = Value;
    const GROUPS: &'static [&'static str] = &["prices"];

    async fn handle(&mut self, exchange: &mut Exchange, _: bytes::Bytes) -> Result<()> {
        let options = EventStreamOptions::default().with_retry(Duration::from_secs(3));
        exchange.event_stream(options).await?;
        if let Some(id) = exchange.scope().last_event_id() {
            let event = ServerSentEvent::new(format!("after\n{id}")).with_id("8");
            exchange.send_event(event).await?;
        }
        Ok(())
    }

    async fn event(&mut self, exchange: &mut Exchange, event: &Value) -> Result<()> {
        tokio::time::sleep(Duration::from_secs(20)).await; // the stream is kept alive meanwhile
        exchange.send_event(ServerSentEvent::json(&event["price"])?.with_name("price")).await
    }
}

#[tokio::test(start_paused = true)]
async fn event_streams_are_kept_alive() {
    let app = TestApp::new(ws_consumer::http_consumer(|| Prices));
    let mut client =
        app.http("GET", "/").with_header("last-event-id", "7").with_patience(Duration::from_secs(60));
    let head = client.get_headers().await;
    for (name, value) in
        [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
    {
        assert_eq!(head.headers[name], value);
    }
    let mut next = async || String::from_utf8(client.next_chunk().await.0.to_vec()).unwrap();
    assert_eq!(next().await, "retry: 3000\n:\n\n");
    assert_eq!(next().await, "id: 8\ndata: after\ndata: 7\n\n");
    let began = tokio::time::Instant::now();
    assert_eq!((next().await.as_str(), began.elapsed().as_secs()), (":\n\n", 15), "idle");
    let price = Message::new("price").with("price", 5);
    let _report = app.layer().group_send_message("prices", price).await.unwrap();
    assert_eq!((next().await.as_str(), began.elapsed().as_secs()), (":\n\n", 30), "in a hook");
    assert_eq!(next().await, "event: price\ndata: 5\n\n");
    client.disconnect().await;
}
