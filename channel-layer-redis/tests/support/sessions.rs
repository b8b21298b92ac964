//! Browser sessions for the tests of their store.

use std::time::{Duration, SystemTime};

use channel_layer_redis::RedisSessionStore;
use serde_json::json;
use tower_sessions_core::{
    SessionStore,
    session::{Id, Record},
};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn record(lifetime: Duration) -> Record {
    let data = [("user".to_owned(), json!("ann")), ("count".to_owned(), json!(0.1))].into();
    Record { id: Id::default(), data, expiry_date: (SystemTime::now() + lifetime).into() }
}

pub(crate) async fn store(address: &str) -> RedisSessionStore {
    RedisSessionStore::connect(address).await.expect("Redis is up")
}

/// Checks that a session can be created, saved, loaded and deleted.
pub(crate) async fn check_session(store: &RedisSessionStore) {
    let mut session = record(HOUR);
    store.create(&mut session).await.expect("it is created");
    session.data.insert("user".to_owned(), json!("bob"));
    store.save(&session).await.expect("it is saved");
    assert_eq!(store.load(&session.id).await.expect("it is loaded").as_ref(), Some(&session));
    store.delete(&session.id).await.expect("it is deleted");
    assert_eq!(store.load(&session.id).await.expect("a reply"), None);
}
