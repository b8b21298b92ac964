//! Faults of memberships.

use std::future::pending;

use super::{Fault, Faulty};
use crate::{
    error::{Error, Result},
    layer::ChannelLayer,
    name::{ChannelName, GroupName},
    selection::{Selection, Tag},
};

impl Faulty {
    /// The group that this name stands for.
    pub(super) fn renamed(&self, group: &GroupName) -> GroupName {
        let name = group.as_str();
        let other = match self.fault {
            Some(Fault::IgnoresCase) => name.to_ascii_lowercase(),
            Some(Fault::ConfusesDots) => name.replace('.', "_"),
            Some(Fault::CutsNames) => name[..name.len().min(64)].to_owned(),
            Some(Fault::TrimsNames) => name.trim_matches('.').to_owned(),
            _ => return group.clone(),
        };
        other.parse().unwrap_or_else(|_| group.clone())
    }

    pub(super) async fn add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        let (is_far, is_away) = (self.is_far(channel), self.is_away());
        let key = (group.clone(), channel.clone());
        let (is_open, has_left) = {
            let mut state = self.world.state();
            let has_left = state.left.contains(&key);
            *state.joins.entry(key).or_default() += 1;
            (state.is_open(channel), has_left)
        };
        match self.fault {
            Some(Fault::LosesMembershipsOfOutages) if is_away => return Ok(()),
            Some(Fault::RefusesJoinsInOutages) if is_away => {
                return Err(Error::Unavailable("it is away".into()));
            }
            Some(Fault::HangsInOutages | Fault::HangsOnTheEve) if is_away || self.world.is_broken() => {
                pending().await
            }
            Some(Fault::IgnoresForeignJoins) if is_far => return Ok(()),
            Some(Fault::RefusesForeignJoins) if is_far => {
                return Err(Error::Unsupported("channels of other processes"));
            }
            Some(Fault::RefusesUnknownChannels) if is_far && !is_open => {
                return Err(Error::Backend("the channel is unknown".into()));
            }
            Some(Fault::WaitsForUnknownChannels) if is_far && !is_open => pending().await,
            Some(Fault::KeepsFiltersOfMembers) if self.layer.hub().members(group).contains(channel) => {
                return Ok(());
            }
            Some(Fault::JoinsOnce) if has_left => return Ok(()),
            Some(Fault::UnsubscribesUnderAJoin) => self.wire.subscribe_again(group).await,
            Some(Fault::ExpiresMailboxes) => self.leave_later(group, channel),
            Some(Fault::KeepsDroppedMembers) => self.keep_member(group).await?,
            _ => {}
        }
        let leak = self.has(Fault::StaysSubscribedForDroppedJoins).then(|| self.wire.leak(group.as_str()));
        self.layer.group_add(group, channel).await?;
        if let Some(leak) = leak {
            leak.end();
        }
        Ok(())
    }

    pub(super) async fn select(
        &self,
        group: &GroupName,
        channel: &ChannelName,
        selection: Selection,
    ) -> Result<()> {
        let is_mailbox = channel.is_process_local();
        match (self.fault, &selection) {
            (Some(Fault::IgnoresFilters), Selection::Where(_)) if is_mailbox && !self.is_far(channel) => {
                return self.layer.group_add(group, channel).await;
            }
            (Some(Fault::IgnoresPassive), Selection::Passive(_)) => {
                return self.layer.group_add(group, channel).await;
            }
            (Some(Fault::SilencesPassive), Selection::Passive(_)) => {
                let none = Tag::new("none").exists().try_into().expect("it is small");
                return self.layer.group_select(group, channel, Selection::Where(none)).await;
            }
            (Some(Fault::KeepsTheFirstFilter), Selection::Where(_)) if self.selected(group, channel) => {
                return Ok(());
            }
            (Some(Fault::SelectsNames), _) if !is_mailbox => return Ok(()),
            (Some(Fault::SelectsForStrangers), _) if self.is_far(channel) => return Ok(()),
            _ => {}
        }
        self.layer.group_select(group, channel, selection).await
    }

    /// Notes that a member has a filter. Returns whether it had one.
    fn selected(&self, group: &GroupName, channel: &ChannelName) -> bool {
        let key = (group.clone(), channel.clone());
        self.world.state().joins.insert(key, 1).is_some()
    }

    fn leave_later(&self, group: &GroupName, channel: &ChannelName) {
        let (layer, after) = (self.layer.clone(), self.config.group_expiry);
        let (group, channel) = (group.clone(), channel.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = layer.group_discard(&group, &channel).await;
        });
    }

    /// Adds a member that does not leave when a mailbox is dropped.
    async fn keep_member(&self, group: &GroupName) -> Result<()> {
        let kept = self.layer.open("kept".into()).await?;
        self.layer.group_add(group, kept.channel()).await?;
        std::mem::forget(kept);
        Ok(())
    }

    pub(super) async fn discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        let key = (group.clone(), channel.clone());
        let joins = {
            let mut state = self.world.state();
            let joins =
                state.joins.get_mut(&key).map(|joins| std::mem::replace(joins, joins.saturating_sub(1)));
            state.left.push(key.clone());
            if joins.unwrap_or(0) <= 1 || !self.has(Fault::CountsJoins) {
                state.joins.remove(&key);
            }
            joins.unwrap_or(0)
        };
        match self.fault {
            Some(Fault::LeavesAllForOne) => return self.layer.group_discard_all(channel).await,
            Some(Fault::IgnoresLeaving) => return Ok(()),
            Some(Fault::IgnoresLeavesInOutages) if self.is_away() => return Ok(()),
            Some(Fault::IgnoresForeignLeaves) if self.is_far(channel) => return Ok(()),
            Some(Fault::RefusesLeavingStrangers) if joins == 0 => {
                return Err(Error::Backend("it is not a member".into()));
            }
            Some(Fault::CountsJoins) if joins > 1 => return Ok(()),
            _ => {}
        }
        self.wire.may_unsubscribe(group);
        self.layer.group_discard(group, channel).await?;
        let is_empty = self.layer.hub().member_count(group) == 0;
        match self.fault {
            Some(Fault::UnsubscribesWithAnyMember) => self.wire.unsubscribe_now(group).await,
            Some(Fault::UnsubscribesForGood) if is_empty => self.wire.unsubscribe_now(group).await,
            Some(Fault::UnsubscribesUnderAJoin) if is_empty => {
                tokio::task::yield_now().await;
                self.wire.unsubscribe_now(group).await;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) async fn discard_all(&self, channel: &ChannelName) -> Result<()> {
        let groups: Vec<_> = {
            let state = self.world.state();
            let of_it = state.joins.keys().filter(|(_, member)| member == channel);
            of_it.map(|(group, _)| group.clone()).collect()
        };
        match self.fault {
            Some(Fault::IgnoresLeavingAll) => return Ok(()),
            Some(Fault::IgnoresLeavesInOutages) if self.is_away() => return Ok(()),
            Some(Fault::LeavesTheFirst) => {
                let Some(first) = groups.first() else { return Ok(()) };
                return self.layer.group_discard(first, channel).await;
            }
            _ => {}
        }
        self.world.state().joins.retain(|(_, member), _| member != channel);
        groups.iter().for_each(|group| self.wire.may_unsubscribe(group));
        self.layer.group_discard_all(channel).await
    }
}
