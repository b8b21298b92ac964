//! May this client have a new leg? What stands in front of the application is asked, the application itself only if it is
//! no consumer.

use std::{future::poll_fn, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use crate::{
    transport::websocket::{Decision, poll_decision},
    wire::{Refuse, Wire},
};

/// A client that may.
pub(super) struct Screened {
    pub(super) user: Option<Arc<str>>,
    /// For the answer.
    pub(super) headers: HeaderMap,
}

/// Runs an application that was started to see whom it lets in, as far as its decision.
pub(super) async fn screen(mut wire: Wire, limit: Duration) -> Result<Screened, Refuse> {
    let link = wire.link().clone();
    match timeout(limit, poll_fn(|cx| poll_decision(&mut wire, cx))).await {
        Ok(Decision::Accept(accept)) => Ok(Screened { user: link.user(), headers: accept.headers }),
        Ok(Decision::Refuse(refuse)) => Err(refuse),
        _ => Err(StatusCode::SERVICE_UNAVAILABLE.into()),
    }
}
