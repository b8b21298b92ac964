//! Health checks: whether the process lives, and whether it accepts clients.

use std::time::Duration;

use futures_util::future::try_join_all;
use http::StatusCode;
use tokio::time::timeout;

use crate::connections::Connections;

/// The time in which a ready layer answers. Below the usual probe timeouts of 1 s and more.
const LAYER_TIMEOUT: Duration = Duration::from_millis(800);

/// The paths of the checks.
#[derive(Clone, Copy, Debug)]
pub(super) struct HealthPaths {
    pub(super) alive: &'static str,
    pub(super) ready: &'static str,
}

pub(super) enum HealthCheck {
    Alive,
    Ready,
}

impl HealthPaths {
    pub(super) fn check(self, path: &str) -> Option<HealthCheck> {
        match path {
            path if path == self.alive => Some(HealthCheck::Alive),
            path if path == self.ready => Some(HealthCheck::Ready),
            _ => None,
        }
    }
}

/// Answers a check with 200 or 503, and a short text.
pub(super) async fn answer(check: HealthCheck, connections: Connections) -> (StatusCode, &'static str) {
    match check {
        HealthCheck::Alive => (StatusCode::OK, "alive"),
        HealthCheck::Ready if connections.is_closing() => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        HealthCheck::Ready => {
            let layers = connections.layers();
            let asked = try_join_all(layers.iter().map(|layer| layer.health()));
            match timeout(LAYER_TIMEOUT, asked).await {
                Ok(Ok(_)) => (StatusCode::OK, "ready"),
                _ => (StatusCode::SERVICE_UNAVAILABLE, "the channel layer does not answer"),
            }
        }
    }
}
