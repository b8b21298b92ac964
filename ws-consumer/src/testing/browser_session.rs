//! A browser session in a store.

use std::{collections::HashMap, sync::Arc};

use cookie::time::{Duration, OffsetDateTime};
use futures_util::FutureExt;
use http::Extensions;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower_sessions_core::{
    SessionStore,
    session::{Id, Record},
};

use crate::middleware::{MemoryStore, Session, enter_session};

/// A browser session in a store in memory, for [clients](super::WebsocketCommunicator::with_session). Clones are the same
/// session.
///
/// ```
/// # use serde_json::json;
/// # use ws_consumer::{Result, Socket, testing::{BrowserSession, TestApp}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let visits = |mut socket: Socket| async move {
///     let session = socket.scope().session()?.clone();
///     let visits = session.get::<u32>("visits").await?.unwrap_or(0) + 1;
///     session.insert("visits", visits).await?;
///     socket.scope().save_session().await?;
///     socket.accept().await
/// };
/// let browser = BrowserSession::new(json!({ "visits": 4 }));
/// let mut client = TestApp::new(visits).websocket("/").with_session(browser.clone());
/// client.connect().await.unwrap();
/// assert_eq!(browser.get::<u32>("visits"), Some(5));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BrowserSession {
    store: Arc<MemoryStore>,
    id: Id,
}

impl BrowserSession {
    /// Creates a session with these values: a JSON object.
    ///
    /// # Panics
    /// When `values` is no object.
    pub fn new(values: Value) -> Self {
        let Value::Object(values) = values else { panic!("a session has named values, not {values}") };
        let store = MemoryStore::default();
        let mut record = Record {
            id: Id::default(),
            data: values.into_iter().collect::<HashMap<_, _>>(),
            expiry_date: OffsetDateTime::now_utc() + Duration::days(1),
        };
        store.create(&mut record).now_or_never().expect("memory is ready").expect("it is the first session");
        Self { store: Arc::new(store), id: record.id }
    }

    /// A saved value; `None` if there is none, or the session has ended.
    ///
    /// # Panics
    /// When the value is of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let record = self.load()?;
        let value = record.data.get(name)?;
        let read = serde_json::from_value(value.clone());
        Some(read.unwrap_or_else(|fault| panic!("`{name}` is {value}: {fault}")))
    }

    /// Whether the session has ended: no longer is in the store.
    pub fn has_ended(&self) -> bool {
        self.load().is_none()
    }

    fn load(&self) -> Option<Record> {
        self.store.load(&self.id).now_or_never().expect("memory is ready").expect("memory does not fail")
    }

    /// Stores the session in the extensions of a scope, as the guard does.
    pub(super) fn enter(&self, extensions: &mut Extensions) {
        let session = Session::new(Some(self.id), self.store.clone(), None);
        enter_session(extensions, session, self.store.clone(), Some(self.id));
    }
}

impl From<Value> for BrowserSession {
    fn from(values: Value) -> Self {
        Self::new(values)
    }
}
