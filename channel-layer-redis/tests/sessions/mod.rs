//! Browser sessions in Redis: what is stored, and what failures do to it.

use std::time::Duration;

use channel_layer::{ChannelLayer, Error as LayerError};
use channel_layer_redis::{RedisConfig, RedisSessionStore};
use serde_json::json;
use tokio::time::{sleep, timeout};
use tower_sessions_core::{
    SessionStore,
    session::{Id, Record},
    session_store::Error,
};

use crate::support::{
    PATIENCE, layer,
    proxy::{Manners, Proxy},
    server::Server,
    sessions::{HOUR, record, store},
    until,
};

#[tokio::test]
async fn sessions_are_stored() {
    let (one, two) = (Server::start(), Server::start());
    let address = format!("redis://127.0.0.1:{},127.0.0.1:{}/0?prefix=shop", one.port, two.port);
    let (writer, reader) = (store(&address).await, store(&address).await);
    for _ in 0..16 {
        let mut session = record(HOUR);
        writer.create(&mut session).await.unwrap();
        assert_eq!(reader.load(&session.id).await.unwrap().as_ref(), Some(&session));
        session.data.insert("user".to_owned(), json!("bob"));
        reader.save(&session).await.unwrap();
        assert_eq!(writer.load(&session.id).await.unwrap().as_ref(), Some(&session));
    }
    for server in [&one, &two] {
        let keys = server.cli(&["keys", "session:shop:*"]);
        assert!(!keys.is_empty() && server.cli(&["dbsize"]).parse() == Ok(keys.lines().count()));
        for key in keys.lines() {
            let left: u64 = server.cli(&["pttl", key]).parse().unwrap();
            assert!((1..=3_600_000).contains(&left), "{left}");
        }
    }
    assert_eq!(reader.load(&Id::default()).await.unwrap(), None);
}

#[tokio::test]
async fn sessions_expire() {
    let server = Server::start();
    let store = store(&server.address()).await;
    let mut brief = record(Duration::from_millis(50));
    store.create(&mut brief).await.unwrap();
    until("it expires", async || store.load(&brief.id).await.unwrap().is_none()).await;
    until("Redis removes it", async || server.cli(&["dbsize"]) == "0").await;
    for lifetime in [Duration::ZERO, Duration::from_secs(10_000 * 365 * 86_400 / 2)] {
        let mut session = record(lifetime);
        store.create(&mut session).await.unwrap();
        assert_eq!(store.load(&session.id).await.unwrap().is_some(), !lifetime.is_zero(), "{lifetime:?}");
    }
}

#[tokio::test]
async fn new_sessions_overwrite_none() {
    let server = Server::start();
    let store = store(&server.address()).await;
    let mut first = record(HOUR);
    store.create(&mut first).await.unwrap();
    let mut second = Record { data: Default::default(), ..first.clone() };
    store.create(&mut second).await.unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(store.load(&first.id).await.unwrap(), Some(first));
}

#[tokio::test]
async fn saving_revives_no_ended_session() {
    let server = Server::start();
    let store = store(&server.address()).await;
    let mut session = record(HOUR);
    store.create(&mut session).await.unwrap();
    store.delete(&session.id).await.unwrap();
    store.delete(&session.id).await.unwrap();
    let refused = store.save(&session).await.unwrap_err();
    assert!(matches!(&refused, Error::Backend(reason) if reason.contains("ended")), "{refused:?}");
    assert_eq!(store.load(&session.id).await.unwrap(), None);
}

#[tokio::test]
async fn large_and_foreign_records_are_errors() {
    let server = Server::start();
    let store = store(&server.address()).await.with_max_bytes(300);
    let mut large = record(HOUR);
    large.data.insert("page".to_owned(), json!("x".repeat(300)));
    assert!(matches!(store.create(&mut large).await, Err(Error::Encode(_))));
    let other = serde_json::to_string(&record(HOUR)).unwrap();
    for (n, text) in ["canary", "{}", "[1, 2]", &other, &"x".repeat(5000)].into_iter().enumerate() {
        let id = Id::default();
        assert_eq!(server.cli(&["set", &format!("session:asgi:{id}"), text]), "OK");
        let refused = store.load(&id).await.unwrap_err();
        assert!(matches!(&refused, Error::Decode(reason) if !reason.contains("canary")), "{refused:?}");
        assert_eq!(store.stats().unreadable, n as u64 + 1);
    }
    let id = Id::default();
    server.cli(&["lpush", &format!("session:asgi:{id}"), "x"]);
    assert!(matches!(store.load(&id).await, Err(Error::Backend(_))));
}

#[tokio::test]
async fn layers_flush_no_sessions() {
    let server = Server::start();
    let store = store(&server.address()).await;
    let mut session = record(HOUR);
    store.create(&mut session).await.unwrap();
    for mode in ["core", "native", "pubsub"] {
        layer(&format!("{}?mode={mode}", server.address())).await.flush().await.unwrap();
        assert!(store.load(&session.id).await.unwrap().is_some(), "{mode}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Outage {
    Cut,
    Frozen,
    Killed,
    Refused,
    Swallowed,
}

impl Outage {
    fn begin(self, server: &mut Server, proxy: &Proxy) {
        match self {
            Self::Cut => _ = server.cli(&["client", "kill", "type", "normal"]),
            Self::Frozen => server.freeze(),
            Self::Killed => server.kill(),
            Self::Refused => proxy.set(Manners::Refuse),
            Self::Swallowed => proxy.set(Manners::Swallow),
        }
    }

    fn end(self, server: &mut Server, proxy: &Proxy) {
        match self {
            Self::Cut => {}
            Self::Frozen => server.thaw(),
            Self::Killed => server.restart(),
            Self::Refused | Self::Swallowed => proxy.set(Manners::Pass),
        }
    }
}

/// Every call ends in an outage, with an error that is no refusal of the session, and works again after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_survive_outages() {
    use Outage::{Cut, Frozen, Killed, Refused, Swallowed};
    let outages = [Cut, Frozen, Killed, Refused, Swallowed].map(|outage| async move {
        let mut server = Server::start();
        let proxy = Proxy::to(server.port).await;
        let store = store(&format!("{}?timeout=200ms&heartbeat=50ms", proxy.address())).await;
        let mut session = record(HOUR);
        store.create(&mut session).await.unwrap();
        tokio::task::block_in_place(|| outage.begin(&mut server, &proxy));
        for _ in 0..20 {
            let mut new = record(HOUR);
            let calls = async {
                let (load, delete) = (store.load(&session.id).await.map(drop), store.delete(&Id(1)).await);
                [load, store.save(&session).await, store.create(&mut new).await, delete]
            };
            for result in timeout(PATIENCE, calls).await.expect("every call ends") {
                match (outage, result) {
                    (Cut, Ok(())) | (_, Err(Error::Backend(_))) => {}
                    (_, other) => panic!("{outage:?}: {other:?}"),
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
        tokio::task::block_in_place(|| outage.end(&mut server, &proxy));
        until("the store works again", async || store.load(&session.id).await.is_ok()).await;
        let kept = store.load(&session.id).await.unwrap().is_some();
        assert_eq!(kept, !matches!(outage, Killed), "{outage:?}: this server keeps nothing on disk");
        store.create(&mut record(HOUR)).await.unwrap();
    });
    futures_util::future::join_all(outages).await;
}

#[tokio::test]
async fn a_store_needs_its_commands() {
    let server = Server::start();
    let page = include_str!("../../src/docs/operations.md");
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER channels-sessions ")).unwrap();
    let line = line.replace("PREFIX", "shop").replace("PASSWORD", "secret");
    let words: Vec<_> = line.split(' ').collect();
    let address = format!("redis://channels-sessions:secret@127.0.0.1:{}/0?prefix=shop", server.port);
    assert_eq!(server.cli(&words), "OK");
    let config: RedisConfig = address.parse().unwrap();
    let store = RedisSessionStore::open(config.with_heartbeat(Duration::from_millis(50))).await.unwrap();
    let mut session = record(HOUR);
    store.create(&mut session).await.unwrap();
    store.save(&session).await.unwrap();
    assert!(store.load(&session.id).await.unwrap().is_some());
    store.delete(&session.id).await.unwrap();
    sleep(Duration::from_millis(200)).await; // some heartbeats
    assert_eq!(server.cli(&["acl", "log"]), "");
    let shown = format!("{store:?}");
    assert!(shown.contains("127.0.0.1") && !shown.contains("secret"), "{shown}");
    for command in ["set", "getrange", "del"] {
        let without = format!("-{command}");
        let words: Vec<_> = words.iter().copied().chain([without.as_str()]).collect();
        assert_eq!(server.cli(&words), "OK");
        let error = RedisSessionStore::connect(&address).await.unwrap_err();
        let LayerError::Backend(reason) = &error else { panic!("{error:?}") };
        let named = format!("a store of sessions needs {}", command.to_uppercase());
        assert!(reason.to_string().contains(&named), "{reason}");
    }
    let unknown = RedisSessionStore::connect("nats://h").await.unwrap_err();
    assert!(matches!(unknown, LayerError::Config(_)), "{unknown:?}");
    let away = RedisSessionStore::start("redis://127.0.0.1:1".parse().unwrap());
    assert!(!away.is_connected() && matches!(away.load(&Id(1)).await, Err(Error::Backend(_))));
}
