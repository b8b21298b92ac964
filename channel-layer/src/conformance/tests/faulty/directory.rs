//! A directory of both processes, which the engine has not.

use async_trait::async_trait;

use super::{Fault, Faulty};
use crate::{
    error::Result,
    layer::GroupDirectory,
    name::{ChannelName, GroupName},
};

impl Faulty {
    /// The names that the hubs of all processes give, each once.
    fn collect<T: Ord>(&self, names: impl Fn(&crate::hub::Hub) -> Vec<T>) -> Vec<T> {
        let layers = self.world.state().layers.clone();
        let mut all: Vec<_> = layers.iter().flat_map(|layer| names(layer.hub())).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

#[async_trait]
impl GroupDirectory for Faulty {
    async fn groups(&self) -> Result<Vec<GroupName>> {
        if self.has(Fault::ListsNoGroups) {
            return Ok(Vec::new());
        }
        Ok(self.collect(|hub| hub.groups()))
    }

    async fn groups_of(&self, channel: &ChannelName) -> Result<Vec<GroupName>> {
        Ok(self.collect(|hub| hub.groups_of(channel)))
    }

    async fn members(&self, group: &GroupName) -> Result<Vec<ChannelName>> {
        Ok(self.collect(|hub| hub.members(group)))
    }

    async fn member_count(&self, group: &GroupName) -> Result<usize> {
        Ok(self.members(group).await?.len())
    }
}
