//! Guards that admit every client and store a setting for the guards and applications behind them.

use super::{guard::Guard, proxy::TrustedProxies, request::GuardRequest};
use crate::{socket::NoIdentify, wire::Refuse};

/// Stores the proxies for everything behind.
impl Guard for TrustedProxies {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        request.extensions.insert(self.clone());
        Ok(())
    }
}

/// Keeps the connection from being identified as its user's.
impl Guard for NoIdentify {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        request.extensions.insert(Self);
        Ok(())
    }
}
