//! Faults of work queues.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Fault, YEAR,
    wire::{Wire, no_queues},
};
use crate::{
    backbone::{BackboneLink, Changed, Push, Pushed, Queues, Taken, Taker, Wanted},
    error::Result,
    name::ChannelName,
};

#[derive(Debug)]
pub(super) struct FaultyQueues {
    link: Arc<dyn BackboneLink>,
    wire: Arc<Wire>,
}

#[derive(Debug)]
struct FaultyTaker {
    inner: Box<dyn Taker>,
    link: Arc<dyn BackboneLink>,
    wire: Arc<Wire>,
}

impl FaultyQueues {
    pub(super) fn new(link: Arc<dyn BackboneLink>, wire: Arc<Wire>) -> Self {
        Self { link, wire }
    }

    fn inner(&self) -> Result<&dyn Queues> {
        self.link.queues().ok_or_else(no_queues)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Queues for FaultyQueues {
    async fn push(&self, channel: &ChannelName, mut push: Push<'_>) -> Result<Pushed> {
        match self.wire.fault {
            Some(Fault::IgnoresExpiryOfNamed) => push.expiry = YEAR,
            Some(Fault::HalvesExpiryOfNamed) => push.expiry /= 2,
            Some(Fault::SkipsNamedMembers) if push.once.is_some() => return Ok(Pushed::Stored),
            Some(Fault::ForwardsFromEachProcess) => push.once = None,
            _ => {}
        }
        self.inner()?.push(channel, push).await
    }

    async fn taker(&self) -> Result<Box<dyn Taker>> {
        let inner = self.inner()?.taker().await?;
        Ok(Box::new(FaultyTaker { inner, link: self.link.clone(), wire: self.wire.clone() }))
    }

    async fn give_back(&self, channel: &ChannelName, messages: &[Taken]) -> Result<()> {
        match self.wire.fault {
            Some(Fault::LosesWhatIsCancelled) => Ok(()),
            _ => self.inner()?.give_back(channel, messages).await,
        }
    }

    async fn clear(&self) -> Result<()> {
        match self.wire.fault {
            Some(Fault::FlushKeepsNamed) => Ok(()),
            _ => self.inner()?.clear().await,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Taker for FaultyTaker {
    async fn take(&mut self, wanted: &[Wanted], changed: Changed<'_>) -> Result<Vec<Taken>> {
        let several: Vec<_> = wanted.iter().map(|one| Wanted { count: 2, ..one.clone() }).collect();
        let reverses = self.wire.has(Fault::ReversesQueues);
        let mut taken = self.inner.take(if reverses { &several } else { wanted }, changed).await?;
        match self.wire.fault {
            Some(Fault::ReversesQueues) => {
                taken.reverse();
                let rest = taken.split_off(taken.len().min(1));
                for message in rest {
                    let queues = self.link.queues().ok_or_else(no_queues)?;
                    queues.give_back(&message.channel, std::slice::from_ref(&message)).await?;
                }
            }
            Some(Fault::TakesTwice) if !taken.is_empty() && self.wire.every(30) => {
                let queues = self.link.queues().ok_or_else(no_queues)?;
                queues.give_back(&taken[0].channel, &taken[..1]).await?;
            }
            _ => {}
        }
        Ok(taken)
    }

    fn grace(&self) -> std::time::Duration {
        self.inner.grace()
    }
}
