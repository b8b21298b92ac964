//! [`NoIdentify`] as a guard.

use super::guard::{Guard, GuardRequest};
use crate::{socket::NoIdentify, wire::Refuse};

impl Guard for NoIdentify {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        request.extensions.insert(Self);
        Ok(())
    }
}
