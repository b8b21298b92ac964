//! The admission of clients that resume: guards are asked again, the consumer is not.
//!
//! An application other than a consumer runs until its decision.

use std::{future::poll_fn, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use super::carrier::CARRIER;
use crate::{
    transport::websocket::poll_decision,
    wire::{Profile, Refuse, Wire},
};

/// The profile of a connection that only runs the guards in front of the application.
pub(super) const ADMISSION: Profile = Profile { decides_only: true, ..CARRIER };

/// A client that was admitted again.
pub(super) struct AdmittedClient {
    pub(super) user: Option<Arc<str>>,
    /// Headers for the answer.
    pub(super) headers: HeaderMap,
}

/// Runs an application with the profile [`ADMISSION`] until its decision.
pub(super) async fn admit(mut wire: Wire, limit: Duration) -> Result<AdmittedClient, Refuse> {
    let connection = wire.connection().clone();
    match timeout(limit, poll_fn(|cx| poll_decision(&mut wire, cx))).await {
        Ok(Ok(accept)) => Ok(AdmittedClient { user: connection.user(), headers: accept.headers }),
        Ok(Err(refuse)) => Err(refuse),
        _ => Err(StatusCode::SERVICE_UNAVAILABLE.into()),
    }
}
