//! A tracing span for each connection.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{Instrument, field::display, info_span};

use super::{guard::Guard, request::GuardRequest, request_id::RequestId};
use crate::{
    application::Application,
    error::printable,
    socket::Context,
    wire::{Refuse, Running},
};

/// Puts everything that is logged on behalf of a connection into one span, with its path, its peer, the client's address and
/// its [`RequestId`], and logs how it ended: with the `status` of its refusal or response, or with the `code` of its close.
/// In front of other services, as a layer, it has no effect: tower-http has a layer for that.
///
/// The query stays out of it: it may hold secrets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traced;

impl Guard for Traced {
    async fn admit(&self, _: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        Ok(())
    }

    fn accompany(&self, context: Context, inner: &Arc<dyn Application>) -> Running {
        let scope = context.scope();
        let path: String = printable(scope.raw_path()).chars().take(256).collect();
        let id = scope.extensions.get::<RequestId>().map(|id| id.as_str().to_owned());
        let client = scope.client().map(display);
        let span = info_span!("socket", path, peer = ?scope.peer, client, request = id.unwrap_or_default());
        let (connection, inner, since) = (context.connection().clone(), inner.clone(), Instant::now());
        let life = async move {
            let outcome = inner.call(context).await;
            let seconds = since.elapsed().as_secs_f64();
            let status = connection.status(&outcome).map(|status| status.as_u16());
            let code = connection.closed().map(|close| close.code).filter(|_| status.is_none());
            match &outcome {
                Ok(()) => tracing::info!(seconds, status, code, "ended"),
                Err(error) => tracing::info!(seconds, status, code, error = %error.causes(), "ended"),
            }
            outcome
        };
        Box::pin(life.instrument(span))
    }
}
