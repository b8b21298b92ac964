//! The JavaScript client in every script context of a real browser, and on pages that are left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use channel_layer::MemoryLayer;
use channels_tests::{Browser, within};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use ws_consumer::{
    Close, Consumer, Exchange, Frame, Head, HttpConsumer, NoEvents, Protocols, Result, Resume, Router,
    Socket, client::ClientFiles, serve,
};

/// Echoes. The present connections are counted.
struct Echo(watch::Sender<usize>);

impl Consumer for Echo {
    type Event = NoEvents;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.0.send_modify(|count| *count += 1);
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        socket.send(frame).await
    }

    async fn disconnect(&mut self, _: &mut Socket, _: Close) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A page or a script. The client itself comes from the crate.
struct File(String);

impl HttpConsumer for File {
    type Event = NoEvents;

    async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
        let path = exchange.scope().param("path")?;
        let (kind, text) = match path {
            "contexts" => ("text/html", include_str!("contexts.html").to_owned()),
            "passing" => ("text/html", include_str!("passing.html").to_owned()),
            "context.js" => ("text/javascript", include_str!("context.js").replace("ORIGIN", &self.0)),
            _ => return exchange.send_response(StatusCode::NOT_FOUND, "").await,
        };
        let mut head = Head::from(StatusCode::OK);
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        exchange.send_headers(head).await?;
        exchange.send_body(text, false).await
    }
}

/// Starts a server, and returns its address, the number of connections, and its task, which ends with the set.
async fn start() -> (SocketAddr, watch::Receiver<usize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("the port is known");
    let (count, counted) = watch::channel(0);
    let sockets = Router::new().consumer("/ws/echo/", move || Echo(count.clone()));
    let files = Router::new().http("/{path}", move || File(format!("http://{address}")));
    let protocols = Protocols::new().websocket(sockets).requests(files).resume(Resume::default());
    let protocols = protocols.http(ClientFiles::new());
    let service = protocols.into_service(Arc::new(MemoryLayer::default()));
    let mut serving = JoinSet::new();
    serving.spawn(async move { serve(listener, service).await.expect("it serves") });
    (address, counted, serving)
}

/// Shorter than the half minute after which a session without a client ends.
async fn nobody_is_left(counted: &mut watch::Receiver<usize>) {
    let is_empty = timeout(Duration::from_secs(15), counted.wait_for(|count| *count == 0)).await.is_ok();
    assert!(is_empty, "ghosts: {}", *counted.borrow());
}

#[tokio::test]
async fn pages_and_workers_use_all_transports() {
    let (address, mut counted, _serving) = start().await;
    let browser = Browser::start().await;
    for page in [format!("http://{address}/contexts"), format!("http://me:secret@{address}/contexts")] {
        let tab = browser.open(&page).await;
        tab.until("all are asked", "return window.isComplete === true").await;
        tab.until("all answer", "return Object.keys(window.told).length === window.asked").await;
        let told = tab.eval("return window.told", Vec::new()).await;
        let told = told.as_object().expect("an object");
        assert_eq!(told.len(), 18, "{told:?}");
        for (place, told) in told {
            let expected = json!(["{\"message\":\"\u{fffd}\"}", 4000, "é".repeat(61)]);
            assert_eq!(told, &expected, "{place} of {page}");
        }
        nobody_is_left(&mut counted).await;
    }
}

#[tokio::test]
async fn leaving_a_page_ends_its_session() {
    let (address, mut counted, _serving) = start().await;
    let browser = Browser::start().await;
    let tab = browser.open(&format!("http://{address}/passing")).await;
    tab.until("it has been reloaded often", "return window.isOver === true").await;
    within("sessions", counted.wait_for(|count| *count >= 3)).await.expect("the server counts");
    tab.close().await;
    nobody_is_left(&mut counted).await;
}
