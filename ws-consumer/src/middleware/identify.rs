//! [`NoIdentify`] as a guard.

use super::guard::{Guard, Visit};
use crate::{socket::NoIdentify, wire::Refuse};

impl Guard for NoIdentify {
    async fn admit(&self, visit: &mut Visit<'_>) -> Result<(), Refuse> {
        visit.extensions.insert(Self);
        Ok(())
    }
}
