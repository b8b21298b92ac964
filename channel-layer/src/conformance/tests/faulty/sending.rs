//! Faults of `send` and `group_send`.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::{
    Fault, Faulty,
    content::{self, Kind},
    wire::FaultyBackbone,
};
use crate::{
    backbone::HubLayer,
    error::{Error, Result},
    layer::{Audience, ChannelLayer, Deliveries, Remote, SendReport},
    message::Message,
    name::{ChannelName, GroupName},
    sync::lock,
};

/// The size of a large message.
const LARGE: usize = 256 << 10;

/// The recipient of a message.
#[derive(Clone, Debug)]
pub(super) enum To {
    Channel(ChannelName),
    Groups(Audience),
}

/// The number of times that a message is sent, and the time.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Late,
    Never,
    Once,
    Twice,
}

impl To {
    fn kind(&self) -> Kind {
        match self {
            Self::Channel(channel) if channel.is_process_local() => Kind::Mailbox,
            Self::Channel(_) => Kind::Named,
            Self::Groups(audience) if audience.is_union() => Kind::Union,
            Self::Groups(_) => Kind::Group,
        }
    }
}

async fn deliver(layer: &HubLayer<FaultyBackbone>, to: &To, message: Message) -> Result<SendReport> {
    match to {
        To::Channel(channel) => layer.send(channel, message).await.map(|()| no_report()),
        To::Groups(audience) => layer.group_send(audience, message).await,
    }
}

fn no_report() -> SendReport {
    SendReport::new(Deliveries::default(), Remote::Unknown)
}

impl Faulty {
    pub(super) async fn send_to(&self, channel: &ChannelName, message: Message) -> Result<()> {
        let is_own = self.layer.hub().contains(channel);
        if !is_own {
            self.in_outage().await?;
        }
        let mut channel = channel.clone();
        let sends = {
            let mut state = self.world.state();
            let sends = state.sends.entry(channel.clone()).or_default();
            *sends += 1;
            *sends
        };
        match self.fault {
            Some(Fault::RefusesOwnMailboxes) if self.is_away() => {
                return Err(Error::Unavailable("it is away".into()));
            }
            Some(Fault::LosesSendsToPeers) if self.is_far(&channel) => return Ok(()),
            Some(Fault::FillsAllMailboxes) if self.world.state().any_full() => return Ok(()),
            Some(Fault::StaysFull | Fault::CountsExpiredMessages) if self.counts_as_full(&channel, sends) => {
                return Err(Error::ChannelFull { channel: channel.to_string() });
            }
            Some(Fault::StoresNone) if !channel.is_process_local() && !self.is_received(&channel) => {
                return Ok(());
            }
            Some(Fault::KeepsNamedAtHome) if !channel.is_process_local() => channel = self.at_home(&channel),
            Some(Fault::ConfusesMailboxes) => channel = self.confused(&channel, sends),
            Some(Fault::RefusesStrangers) if !self.world.state().is_open(&channel) => {
                return Err(Error::Backend("the channel is unknown".into()));
            }
            _ => {}
        }
        self.send_message(To::Channel(channel), message).await.map(drop)
    }

    /// Whether the number of messages that were ever sent, rather than of those that wait, is over the capacity.
    fn counts_as_full(&self, channel: &ChannelName, sends: usize) -> bool {
        let capacity = self.config.capacity_of(channel);
        let is_read = self.world.state().mailboxes.get(channel).is_some_and(|(sender, _)| {
            // Without a look at those that are read.
            sender.is_empty() && self.has(Fault::CountsExpiredMessages)
        });
        sends > capacity && !is_read
    }

    fn is_received(&self, channel: &ChannelName) -> bool {
        self.world.state().receivers.get(channel).is_some_and(|receivers| *receivers > 0)
    }

    /// A named channel of this process alone.
    pub(super) fn at_home(&self, channel: &ChannelName) -> ChannelName {
        format!("{channel}.{}", self.layer.process()).parse().expect("a valid name")
    }

    /// Another mailbox of the same process, for one message in ten.
    fn confused(&self, channel: &ChannelName, sends: usize) -> ChannelName {
        let state = self.world.state();
        let owner = |name: &ChannelName| name.as_str().split('!').next().map(str::to_owned);
        let mut others =
            state.mailboxes.keys().filter(|name| *name != channel && owner(name) == owner(channel));
        let other = if sends.is_multiple_of(10) { others.next() } else { None };
        other.unwrap_or(channel).clone()
    }

    pub(super) async fn send_to_groups(&self, to: &Audience, message: Message) -> Result<SendReport> {
        self.under_way.fetch_add(1, Relaxed);
        let report = self.send_to_groups_now(to, message).await;
        self.under_way.fetch_sub(1, Relaxed);
        report
    }

    async fn send_to_groups_now(&self, to: &Audience, message: Message) -> Result<SendReport> {
        if !to.is_local_only() {
            self.in_outage().await?;
        }
        let Some(audience) = self.audience(to, &message).await? else { return Ok(no_report()) };
        if self.has(Fault::ReordersConcurrentCalls) {
            let turns = 7 - self.sent.fetch_add(1, Relaxed) % 7;
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        }
        let sent = self.send_message(To::Groups(audience.clone()), message.clone()).await;
        self.after_sending(&audience, message, &sent).await?;
        let report = sent?;
        match self.fault {
            Some(Fault::FailsForFullMembers) if report.local.full > 0 => {
                Err(Error::ChannelFull { channel: "a member".to_owned() })
            }
            _ => Ok(self.report(to, report)),
        }
    }

    /// The audience that is sent to instead, if any.
    async fn audience(&self, to: &Audience, message: &Message) -> Result<Option<Audience>> {
        let mut groups: Vec<_> = to.groups().map(|group| self.renamed(group)).collect();
        let (mut except, mut local_only) = (to.excepted().cloned(), to.is_local_only());
        let is_union = to.is_union();
        match self.fault {
            Some(Fault::LosesConcurrentCalls) if self.under_way.load(Relaxed) > 1 => return Ok(None),
            Some(Fault::LosesLocalMessages) if local_only => return Ok(None),
            Some(Fault::SilencesGroupsOfFullMembers) if self.has_full_member(&groups) => return Ok(None),
            Some(Fault::SendsToMembersOfAllGroups) if is_union => {
                self.send_to_common_members(&groups, except.as_ref(), message).await?;
                return Ok(None);
            }
            Some(Fault::RefusesLocalMessages) if local_only && self.is_away() => {
                return Err(Error::Unavailable("it is away".into()));
            }
            Some(Fault::RefusesEmptyGroups) if self.is_without_members(&groups) => {
                return Err(Error::Backend("the group is unknown".into()));
            }
            Some(Fault::IgnoresExceptions) => except = None,
            Some(Fault::IgnoresExceptionsOfUnions) if is_union => except = None,
            Some(Fault::ExceptsFromTheFirstGroup) => {
                let first =
                    (groups[0].clone(), except.clone().unwrap_or_else(|| "none".parse().expect("a name")));
                if !self.world.state().joins.contains_key(&first) {
                    except = None;
                }
            }
            Some(Fault::SendsToTheFirstGroup) => groups.truncate(1),
            Some(Fault::SendsToTheLastGroup) => groups = groups.split_off(groups.len() - 1),
            Some(Fault::LeaksLocalMessages) => local_only = false,
            Some(Fault::LeaksLocalUnions) if is_union => local_only = false,
            _ => {}
        }
        let mut audience = Audience::from(groups.remove(0));
        audience = groups.into_iter().fold(audience, Audience::and);
        audience = except.into_iter().fold(audience, Audience::except);
        Ok(Some(if local_only { audience.local_only() } else { audience }))
    }

    fn has_full_member(&self, groups: &[GroupName]) -> bool {
        let state = self.world.state();
        groups.iter().flat_map(|group| state.members(group)).any(|member| state.is_full(&member))
    }

    fn is_without_members(&self, groups: &[GroupName]) -> bool {
        let state = self.world.state();
        groups.iter().all(|group| state.members(group).is_empty())
    }

    async fn send_to_common_members(
        &self,
        groups: &[GroupName],
        except: Option<&ChannelName>,
        message: &Message,
    ) -> Result<()> {
        let mut members = self.world.state().members(&groups[0]);
        members.retain(|member| {
            let state = self.world.state();
            Some(member) != except && groups.iter().all(|group| state.members(group).contains(member))
        });
        for member in members {
            self.layer.send(&member, message.clone()).await?;
        }
        Ok(())
    }

    /// Sends additional messages of a fault.
    async fn after_sending(&self, to: &Audience, message: Message, sent: &Result<SendReport>) -> Result<()> {
        let mut groups: Vec<_> = to.groups().cloned().collect();
        match self.fault {
            Some(Fault::DeliversForEachGroup) if to.is_union() => {
                groups.sort_unstable();
                groups.dedup();
                for group in groups.split_off(1) {
                    let _ = self.layer.group_send(&group.into(), message.clone()).await?;
                }
            }
            Some(Fault::CountsGroupsNamedTwice) => {
                let named = groups.len();
                groups.sort_unstable();
                groups.dedup();
                if groups.len() < named {
                    let _ = self.layer.group_send(&groups[0].clone().into(), message).await?;
                }
            }
            Some(Fault::HearsForEachJoin) => {
                let twice: Vec<_> = {
                    let state = self.world.state();
                    let of_these = state.joins.iter().filter(|((group, _), _)| groups.contains(group));
                    of_these
                        .filter(|(_, joins)| **joins > 1)
                        .map(|((_, channel), _)| channel.clone())
                        .collect()
                };
                for channel in twice {
                    self.layer.send(&channel, message.clone()).await?;
                }
            }
            Some(Fault::CountsGroupsOfNamed) => {
                let members: Vec<_> =
                    groups.iter().flat_map(|group| self.world.state().members(group)).collect();
                let is_again = |at: usize| members[..at].contains(&members[at]);
                let again = (0..members.len()).filter(|at| is_again(*at)).map(|at| &members[at]);
                for channel in again.filter(|channel| !channel.is_process_local()) {
                    self.layer.send(channel, message.clone()).await?;
                }
            }
            Some(Fault::DeliversWhatItRefuses) if sent.is_err() => {
                let _ = self.layer.group_send(&to.clone().local_only(), message).await;
            }
            Some(Fault::KeepsNamedMembers) => {
                let left = self.world.state().left.clone();
                for (group, channel) in left {
                    if groups.contains(&group) && !channel.is_process_local() {
                        self.layer.send(&channel, message.clone()).await?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn report(&self, to: &Audience, report: SendReport) -> SendReport {
        let SendReport { mut local, mut remote } = report;
        match self.fault {
            Some(Fault::ReportsZero) => return no_report(),
            Some(Fault::CountsItself) => {
                if let Remote::Processes(processes) = &mut remote {
                    *processes += 1;
                }
            }
            Some(Fault::ReportsNoPeers) => remote = Remote::None,
            Some(Fault::CountsRemoteMembers) => {
                let members: usize = to.groups().map(|group| self.world.state().members(group).len()).sum();
                remote = Remote::Processes(members.saturating_sub(local.matched));
            }
            Some(Fault::CountsFullAsDelivered) => local.delivered += std::mem::take(&mut local.full),
            Some(Fault::OmitsFull) => local.matched -= std::mem::take(&mut local.full),
            Some(Fault::CountsExcepted) if to.excepted().is_some_and(|one| !self.is_far(one)) => {
                (local.matched, local.delivered) = (local.matched + 1, local.delivered + 1);
            }
            Some(Fault::CountsForEachGroup) => {
                let count: usize = to.groups().map(|group| self.layer.hub().member_count(group)).sum();
                (local.matched, local.delivered) = (count, count);
            }
            Some(Fault::ReportsPeersForLocal) if to.is_local_only() => remote = Remote::Processes(0),
            _ => {}
        }
        SendReport::new(local, remote)
    }

    async fn send_message(&self, to: To, message: Message) -> Result<SendReport> {
        let number = self.sent.fetch_add(1, Relaxed);
        self.is_busy();
        let message = content::change(self.fault, to.kind(), message);
        if let Some(refused) = self.by_size(&to, &message) {
            return refused.map(|()| no_report());
        }
        match self.fate(to.kind(), number, &to) {
            Fate::Never => Ok(no_report()),
            Fate::Once => self.send_once(to, message).await,
            Fate::Twice => {
                let report = deliver(&self.layer, &to, message.clone()).await?;
                deliver(&self.layer, &to, message).await.map(|_| report)
            }
            Fate::Late => {
                self.later(Duration::from_millis(1), to, message);
                Ok(no_report())
            }
        }
    }

    /// Sends a message so late that the next one overtakes it.
    fn later(&self, after: Duration, to: To, message: Message) {
        let layer = Arc::downgrade(&self.layer);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if let Some(layer) = layer.upgrade() {
                let _ = deliver(&layer, &to, message).await;
            }
        });
    }

    async fn send_once(&self, to: To, message: Message) -> Result<SendReport> {
        if self.has(Fault::HoldsTheLastBack) {
            let before = lock(&self.held).replace((to, message));
            return match before {
                Some((to, message)) => deliver(&self.layer, &to, message).await,
                None => Ok(no_report()),
            };
        }
        if let (Some(Fault::DelaysOneMember), To::Groups(audience)) = (self.fault, &to) {
            return self.send_with_delay(audience, message).await;
        }
        let sent = deliver(&self.layer, &to, message.clone()).await;
        match (self.fault, sent) {
            (Some(Fault::RepeatsUncertainCalls), Err(error)) if error.is_uncertain() => {
                // The first one may have reached its receivers: here, it does so together with the second one.
                self.when_back(to.clone(), message.clone());
                self.when_back(to, message);
                Err(error)
            }
            (Some(Fault::SendsAfterRefusing), Err(error)) => {
                self.when_back(to, message);
                Err(error)
            }
            (Some(Fault::BuffersInOutages), Err(Error::Unavailable(_))) => {
                self.when_back(to, message);
                Ok(no_report())
            }
            (Some(Fault::HidesFull), Err(Error::ChannelFull { .. })) => Ok(no_report()),
            (Some(Fault::NamesAnotherChannel), Err(Error::ChannelFull { .. })) => {
                Err(Error::ChannelFull { channel: "another".to_owned() })
            }
            (_, sent) => sent,
        }
    }

    /// Delivers to the first member of each group later than to the others.
    async fn send_with_delay(&self, to: &Audience, message: Message) -> Result<SendReport> {
        let first = to.groups().find_map(|group| self.world.state().members(group).into_iter().next());
        let Some(first) = first.filter(|_| to.excepted().is_none()) else {
            return self.layer.group_send(to, message).await;
        };
        let report = self.layer.group_send(&to.clone().except(&first), message.clone()).await;
        self.later(Duration::from_millis(1 + self.sent.load(Relaxed) % 3), To::Channel(first), message);
        report
    }

    /// Sends a message after the outage.
    fn when_back(&self, to: To, message: Message) {
        let layer = self.layer.clone();
        tokio::spawn(async move {
            while layer.events().state().is_away() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let _ = deliver(&layer, &to, message).await;
        });
    }

    /// The outcome of a message that its size determines.
    fn by_size(&self, to: &To, message: &Message) -> Option<Result<()>> {
        let (size, limit) = (message.size(), super::harness::LIMIT);
        let is_group_send = matches!(to, To::Groups(_));
        match self.fault? {
            Fault::LosesLargeMessages if size > LARGE => Some(Ok(())),
            Fault::LosesLargeGroupSends if size > LARGE && is_group_send => Some(Ok(())),
            Fault::LosesLargeNamed if size > LARGE && to.kind() == Kind::Named => Some(Ok(())),
            Fault::LosesOversized if size > limit => Some(Ok(())),
            Fault::ReportsSizeAsFailure if size > limit => Some(Err(Error::Backend("too large".into()))),
            Fault::HidesSizes if size > limit => Some(Err(Error::InvalidMessage("too large".into()))),
            Fault::RefusesLargeMessages if size > limit - LARGE => {
                Some(Err(Error::InvalidMessage(format!("{size} bytes, and {limit} is the limit").into())))
            }
            Fault::IgnoresTheSizeLimitOfGroupSends if size > limit && !is_group_send => {
                Some(Err(Error::InvalidMessage(format!("{size} bytes, and {limit} is the limit").into())))
            }
            Fault::BreaksOnOversized if size > limit => {
                self.wire.break_link();
                None
            }
            _ => None,
        }
    }

    fn fate(&self, kind: Kind, number: u64, to: &To) -> Fate {
        use Fault as F;
        let Some(fault) = self.fault else { return Fate::Once };
        let every = |count: u64| number % count == count - 1;
        let is_excepting = matches!(to, To::Groups(audience) if audience.excepted().is_some());
        match (fault, kind) {
            (F::LosesOneInThirty, _)
            | (F::LosesOneSendInThirty, Kind::Mailbox)
            | (F::LosesOneNamedInThirty, Kind::Named)
            | (F::LosesOneGroupSendInThirty, Kind::Group)
            | (F::LosesOneUnionInThirty, Kind::Union)
                if every(30) =>
            {
                Fate::Never
            }
            (F::LosesTheFirst, _) if number == 0 => Fate::Never,
            (F::LosesTheThousandth, _) if number == 999 => Fate::Never,
            (F::DeliversTwice, _)
            | (F::DeliversSendsTwice, Kind::Mailbox)
            | (F::DeliversNamedTwice, Kind::Named)
            | (F::DeliversUnionsTwice, Kind::Union) => Fate::Twice,
            (F::DeliversOneInFiftyTwice, _) if every(50) => Fate::Twice,
            (F::DeliversTwiceAfterAnOutage, _) if self.world.outages() > 0 => Fate::Twice,
            (F::ReordersSends, Kind::Mailbox)
            | (F::ReordersNamed, Kind::Named)
            | (F::ReordersGroupSends, Kind::Group)
            | (F::ReordersUnions, Kind::Union)
                if every(10) =>
            {
                Fate::Late
            }
            (F::ReordersExceptions, _) if is_excepting => Fate::Late,
            _ => Fate::Once,
        }
    }
}
