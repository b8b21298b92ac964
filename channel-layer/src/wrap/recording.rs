//! A layer that records sends and memberships.

use std::sync::Arc;

use super::{Call, Wrap};
use crate::{
    error::Result,
    layer::Audience,
    message::Message,
    name::{ChannelName, GroupName},
    selection::Selection,
    sync::{Mutex, MutexGuard, lock},
};

/// Records the calls that change a layer, in order. Clones share the record, so keep one. For tests.
#[derive(Clone, Debug, Default)]
pub struct Recording(Arc<Mutex<Vec<Recorded>>>);

/// A recorded call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the fields are the arguments of the methods that the variants are named after"
)]
pub enum Recorded {
    GroupAdd { group: GroupName, channel: ChannelName },
    GroupDiscard { group: GroupName, channel: ChannelName },
    GroupDiscardAll { channel: ChannelName },
    GroupSelect { group: GroupName, channel: ChannelName, selection: Selection },
    GroupSend { to: Audience, message: Message },
    Send { channel: ChannelName, message: Message },
}

impl Recording {
    /// Takes the calls since the last time.
    pub fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut *self.calls())
    }

    fn calls(&self) -> MutexGuard<'_, Vec<Recorded>> {
        lock(&self.0)
    }
}

impl Wrap for Recording {
    async fn around<T: Send>(
        &self,
        call: Call<'_>,
        forward: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.calls().extend(Recorded::from_call(call));
        forward.await
    }
}

impl Recorded {
    fn from_call(call: Call<'_>) -> Option<Self> {
        Some(match call {
            Call::GroupAdd { group, channel } => {
                Self::GroupAdd { group: group.into(), channel: channel.into() }
            }
            Call::GroupDiscard { group, channel } => {
                Self::GroupDiscard { group: group.into(), channel: channel.into() }
            }
            Call::GroupDiscardAll { channel } => Self::GroupDiscardAll { channel: channel.into() },
            Call::GroupSelect { group, channel, selection } => Self::GroupSelect {
                group: group.into(),
                channel: channel.into(),
                selection: selection.clone(),
            },
            Call::GroupSend { to, message } => Self::GroupSend { to: to.clone(), message: message.clone() },
            Call::Send { channel, message } => {
                Self::Send { channel: channel.into(), message: message.clone() }
            }
            Call::Close | Call::Flush | Call::Health | Call::Open { .. } | Call::Receive { .. } => {
                return None;
            }
        })
    }
}
