//! Two paths for those who watch a server: is it alive, and does it take clients?

use std::{sync::Arc, time::Duration};

use channel_layer::ChannelLayer;
use http::StatusCode;
use tokio::time::timeout;

use crate::connections::Connections;

/// A layer that does not answer in this time is not ready. Below the usual probe timeouts of 1 s and more.
const PATIENCE: Duration = Duration::from_millis(800);

/// Where the checks are answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct HealthPaths {
    pub(super) alive: &'static str,
    pub(super) ready: &'static str,
}

pub(super) enum Check {
    Alive,
    Ready,
}

impl HealthPaths {
    pub(super) fn check(self, path: &str) -> Option<Check> {
        match path {
            path if path == self.alive => Some(Check::Alive),
            path if path == self.ready => Some(Check::Ready),
            _ => None,
        }
    }
}

/// The answer: 200 or 503, and one word.
pub(super) async fn answer(
    check: Check,
    connections: Connections,
    layer: Arc<dyn ChannelLayer>,
) -> (StatusCode, &'static str) {
    match check {
        Check::Alive => (StatusCode::OK, "alive"),
        Check::Ready if connections.is_closing() => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        Check::Ready => match timeout(PATIENCE, layer.health()).await {
            Ok(Ok(_)) => (StatusCode::OK, "ready"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "the channel layer does not answer"),
        },
    }
}
