//! Sessions of plain requests that applications answer: saved when the response is sent.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use channel_layer::{ChannelLayer, MemoryLayer, Message};
use http::{Extensions, StatusCode};
use tokio::time::{Instant, sleep};
use tower_sessions_core::{
    session::{Id, Record},
    session_store,
};
use ws_consumer::{
    Error, Exchange, HttpConsumer, NoEvents, Protocols, Result, Router, exchange,
    middleware::{Guard, GuardRequest, MemoryStore, SessionStore, Sessions},
    testing::TestApp,
};

use crate::support::{Server, raw};

/// Changes the session, and answers as the request asks.
#[derive(Default)]
struct Page;

impl HttpConsumer for Page {
    type Event = NoEvents;

    async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
        exchange.scope().session()?.insert("n", 1).await?;
        match exchange.scope().path() {
            "/whole" => exchange.send_response(StatusCode::OK, "ok").await,
            "/parts" => {
                exchange.send_headers(StatusCode::OK).await?;
                exchange.send_body("o", true).await?;
                exchange.send_body("k", false).await
            }
            "/late" => {
                exchange.send_headers(StatusCode::OK).await?;
                exchange.scope().session()?.insert("n", 2).await?;
                exchange.scope().save_session().await?;
                exchange.send_body("ok", false).await
            }
            "/pushed" => exchange.group_add("page").await,
            "/missing" => Err(Error::Refused(StatusCode::NOT_FOUND)),
            "/bad" => Err(Error::bad_input("as asked")),
            "/fails" => Err(Error::other("as asked")),
            "/panics" => panic!("as asked"),
            "/unavailable" => exchange.send_response(StatusCode::SERVICE_UNAVAILABLE, "").await,
            _ => Ok(()),
        }
    }
}

/// A plain application.
async fn bare(mut exchange: Exchange) -> Result<()> {
    exchange.scope().session()?.insert("n", 1).await?;
    if exchange.scope().uri.query() == Some("error") {
        return Err(Error::Refused(StatusCode::GONE));
    }
    exchange.send_response(StatusCode::OK, "ok").await
}

fn pages() -> Router {
    Router::new().http("/{rest:path}", Page::default)
}

#[tokio::test(start_paused = true)]
async fn changed_sessions_are_saved() {
    for (path, status, kept) in [
        ("/whole", 200, 1),
        ("/parts", 200, 1),
        ("/late", 200, 1),
        ("/missing", 404, 1),
        ("/bad", 400, 1),
        ("/fails", 500, 0),
        ("/panics", 500, 0),
        ("/nothing", 500, 0),
        ("/unavailable", 503, 0),
    ] {
        let store = MemoryStore::default();
        let app = TestApp::new(Sessions::new(store.clone()).around(pages()));
        let response = app.http("GET", path).get_response().await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers().contains_key("set-cookie"), kept == 1, "{path}");
        assert_eq!(store.len(), kept, "{path}");
        if status == 200 {
            assert_eq!(response.body(), "ok", "{path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_save_without_a_consumer() {
    for (query, status) in [("", 200), ("?error", 410)] {
        let store = MemoryStore::default();
        let layer = Arc::new(MemoryLayer::default());
        let sockets = Protocols::new().requests(Sessions::new(store.clone()).around(exchange(bare)));
        let service = sockets.into_service(layer.clone() as Arc<dyn ChannelLayer>);
        let request = format!("GET /{query} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        let answer = raw(&Server { layer, service }, request.as_bytes()).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("set-cookie: channels_session="), "{answer}");
        assert_eq!(store.len(), 1);
    }
}

/// Begins the response by a message on the frame lane.
#[tokio::test(start_paused = true)]
async fn foreign_answers_save_too() {
    let store = MemoryStore::default();
    let app = TestApp::new(Sessions::new(store.clone()).around(pages()));
    let mut client = app.http("GET", "/pushed");
    assert!(client.receive_nothing(Duration::from_secs(1)).await);
    let group: channel_layer::GroupName = "page".parse().unwrap();
    let _report =
        app.layer().group_send(&channel_layer::Audience::from(group), Message::websocket_text("x")).await;
    let head = client.get_headers().await;
    assert!(head.headers.contains_key("set-cookie"));
    assert_eq!(store.len(), 1);
    assert_eq!(client.next_chunk().await, (Bytes::from("x"), true));
}

/// Guards are asked from the inside out, once, and the answer waits for them.
#[tokio::test(start_paused = true)]
async fn answers_wait_for_guards() {
    #[derive(Clone)]
    struct Slow(&'static str, u64, Arc<Mutex<Vec<String>>>);
    impl Guard for Slow {
        async fn admit(&self, _: &mut GuardRequest<'_>) -> Result<(), ws_consumer::Refuse> {
            Ok(())
        }
        async fn finish(&self, _: &Extensions, status: StatusCode) {
            sleep(Duration::from_secs(self.1)).await;
            self.2.lock().unwrap().push(format!("{} {}", self.0, status.as_u16()));
        }
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let guards = Slow("outer", 2, told.clone()).and(Slow("inner", 3, told.clone()));
    let guards = guards.and(Slow("never", 1000, told.clone()));
    let app = TestApp::new(guards.around(exchange(bare)));
    let began = Instant::now();
    let mut client = app.http("GET", "/").with_patience(Duration::from_secs(60));
    assert_eq!(client.get_response().await.status(), 500, "there is no session");
    assert_eq!(began.elapsed(), Duration::from_secs(15));
    assert_eq!(*told.lock().unwrap(), ["inner 500", "outer 500"]);
    client.wait().await.unwrap_err();
}

/// Changes the session after its client has left: the change is saved.
#[tokio::test(start_paused = true)]
async fn leaving_undoes_nothing() {
    #[derive(Clone, Debug, Default)]
    struct SlowStore(MemoryStore);
    #[async_trait]
    impl SessionStore for SlowStore {
        async fn create(&self, record: &mut Record) -> session_store::Result<()> {
            sleep(Duration::from_secs(1)).await;
            self.0.create(record).await
        }
        async fn save(&self, record: &Record) -> session_store::Result<()> {
            self.0.save(record).await
        }
        async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
            self.0.load(id).await
        }
        async fn delete(&self, id: &Id) -> session_store::Result<()> {
            self.0.delete(id).await
        }
    }
    let store = SlowStore::default();
    let app = TestApp::new(Sessions::new(store.clone()).around(pages()));
    let mut client = app.http("GET", "/whole");
    assert!(client.receive_nothing(Duration::from_millis(100)).await, "it waits for the store");
    client.disconnect().await;
    assert_eq!(store.0.len(), 1);
}
