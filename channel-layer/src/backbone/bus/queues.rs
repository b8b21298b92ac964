//! The work queues of the bus.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    super::queues::{Changed, Push, Pushed, Queues, Taken, Taker, Wanted},
    state::{BusCondition, SharedBus, Stored},
};
use crate::{
    error::{Error, Result},
    name::ChannelName,
};

#[derive(Debug)]
pub(super) struct BusQueues {
    bus: Arc<SharedBus>,
    link: u64,
}

#[derive(Debug)]
struct BusTaker {
    bus: Arc<SharedBus>,
    link: u64,
}

impl BusQueues {
    pub(super) fn new(bus: Arc<SharedBus>, link: u64) -> Self {
        Self { bus, link }
    }
}

#[async_trait]
impl Queues for BusQueues {
    async fn push(&self, channel: &ChannelName, push: Push<'_>) -> Result<Pushed> {
        self.bus.thaw().await;
        let mut state = self.bus.state();
        state.check(self.link)?;
        if let Some(id) = push.once
            && !state.is_new(id)
        {
            return Ok(Pushed::Known);
        }
        let queue = state.queue(channel);
        if queue.len() >= push.capacity {
            return Err(Error::ChannelFull { channel: channel.to_string() });
        }
        let body = Bytes::copy_from_slice(push.body);
        queue.push(Stored { body, expires: Instant::now() + push.expiry });
        drop(state);
        self.bus.pushed.notify_waiters();
        Ok(Pushed::Stored)
    }

    async fn taker(&self) -> Result<Box<dyn Taker>> {
        Ok(Box::new(BusTaker { bus: self.bus.clone(), link: self.link }))
    }

    async fn give_back(&self, channel: &ChannelName, messages: &[Taken]) -> Result<()> {
        self.bus.thaw().await;
        let mut state = self.bus.state();
        state.check(self.link)?;
        let queue = state.queue(channel);
        for taken in messages.iter().rev() {
            let millis = taken.receipt.as_ref().try_into().map(u64::from_be_bytes).unwrap_or_default();
            let expires = Instant::now() + Duration::from_millis(millis);
            queue.insert(0, Stored { body: taken.body.clone(), expires });
        }
        drop(state);
        self.bus.pushed.notify_waiters();
        Ok(())
    }

    async fn clear(&self) -> Result<()> {
        self.bus.thaw().await;
        let mut state = self.bus.state();
        state.check(self.link)?;
        state.queues.clear();
        Ok(())
    }
}

#[async_trait]
impl Taker for BusTaker {
    async fn take(&mut self, wanted: &[Wanted], mut changed: Changed<'_>) -> Result<Vec<Taken>> {
        loop {
            let pushed = self.bus.pushed.notified();
            let broken = self.bus.changed.notified();
            tokio::pin!(pushed, broken);
            pushed.as_mut().enable(); // before the check, so that no message in between is missed
            broken.as_mut().enable();
            let taken = self.take_now(wanted)?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            tokio::select! {
                () = pushed => {}
                () = broken => {}
                () = changed.as_mut() => return Ok(Vec::new()),
            }
        }
    }
}

impl BusTaker {
    fn take_now(&self, wanted: &[Wanted]) -> Result<Vec<Taken>> {
        let mut state = self.bus.state();
        if state.condition == BusCondition::Frozen {
            return Ok(Vec::new());
        }
        state.check(self.link)?;
        let (mut all, now) = (Vec::new(), Instant::now());
        for Wanted { channel, count } in wanted {
            let queue = state.queue(channel);
            let taken = queue.drain(..queue.len().min(*count)).map(|Stored { body, expires }| {
                let left = u64::try_from((expires - now).as_millis()).unwrap_or(u64::MAX);
                let receipt = Bytes::copy_from_slice(&left.to_be_bytes());
                Taken { channel: channel.clone(), body, receipt }
            });
            all.extend(taken);
        }
        Ok(all)
    }
}
