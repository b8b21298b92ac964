//! Values of the application that its consumers share.

use std::{any::type_name, error::Error as StdError, fmt};

use super::Scope;
use crate::error::{Error, Result};

/// A value was asked for that no router and no layer in front has set: a mistake of the server.
#[derive(Debug)]
pub struct MissingStateError {
    type_name: &'static str,
}

impl MissingStateError {
    /// The type of the value.
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }
}

impl fmt::Display for MissingStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.type_name;
        write!(f, "no state of type `{name}`: set it with `Router::with_state`, or with a layer in front")
    }
}

impl StdError for MissingStateError {}

impl Scope {
    /// Returns a value of the application: the one set by [`Router::with_state`](crate::Router::with_state), or in the
    /// request's [`extensions`](Self::extensions) by a layer in front, such as axum's `Extension`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ws_consumer::{Consumer, Frame, NoEvents, Result, Router, Socket};
    ///
    /// struct Prices; // a pool of connections to the database
    /// impl Prices { async fn of(&self, _: &str) -> Result<u32> { Ok(7) } }
    ///
    /// #[derive(Default)]
    /// struct Ticker;
    ///
    /// impl Consumer for Ticker {
    ///     type Event = NoEvents;
    ///     async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
    ///         let price = socket.scope().state::<Arc<Prices>>()?.of(frame.text()?).await?;
    ///         socket.send_json(&price).await
    ///     }
    /// }
    ///
    /// let router = Router::new().consumer("/ticker", Ticker::default).with_state(Arc::new(Prices));
    /// ```
    ///
    /// # Errors
    /// [`Other`](Error::Other) with a [`MissingStateError`], which names the type.
    pub fn state<T: Send + Sync + 'static>(&self) -> Result<&T> {
        let missing = || Error::other(MissingStateError { type_name: type_name::<T>() });
        self.extensions.get().ok_or_else(missing)
    }
}
