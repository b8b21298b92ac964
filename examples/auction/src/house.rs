//! The auction house: one worker keeps the lots and decides on the bids, in whichever process it runs.

use std::sync::{Arc, Mutex, PoisonError};

use channel_layer::{ChannelLayer, ChannelLayerExt, Message};
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};
use ws_consumer::{
    Error, Result,
    worker::{Job, RetryPolicy, Scheduler, Worker, Workers},
};

/// The channel that the house serves.
const HOUSE: &str = "house";
/// The group that gets the changes of all lots.
pub(crate) const ALL_LOTS: &str = "lots";
/// The least difference between two bids, and the highest bid, in euros.
const STEP: u64 = 5;
const MOST: u64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(5);

/// A lot, as clients see it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Lot {
    pub(crate) id: u32,
    pub(crate) title: String,
    pub(crate) price: u64,
    pub(crate) leader: Option<String>,
    pub(crate) bids: u32,
    /// The time left, when this was sent.
    pub(crate) ends_in_ms: u64,
    pub(crate) is_over: bool,
}

/// An event of a lot, to the members of its group. A `Tick` is from a connection's own timer.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum LotEvent {
    Changed { lot: Lot },
    Tick,
}

/// A message to the house. The scheduler sends `Close` at the end of a lot.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum HouseEvent {
    Bid { lot: u32, amount: u64, bidder: String },
    Lots,
    Close { lot: u32 },
}

/// The answer of the house: the lots that the message is about, or the reason for a refusal.
type Decision = Result<Vec<Lot>, String>;

/// The group of a lot's page.
pub(crate) fn group(lot: u32) -> String {
    format!("lot_{lot}")
}

/// Asks the house. A refusal is bad input.
pub(crate) async fn ask(layer: &Arc<dyn ChannelLayer>, event: &HouseEvent) -> Result<Vec<Lot>> {
    let reply = ChannelLayerExt::request(layer, HOUSE, Message::encode(event)?, PATIENCE).await?;
    reply.decode::<Decision>()?.map_err(Error::bad_input)
}

/// Opens a lot for each title and price, ends them one `interval` apart, and works until the stop.
pub(crate) async fn run(
    layer: Arc<dyn ChannelLayer>,
    wares: &[(&str, u64)],
    interval: Duration,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let (scheduler, mut lots) = (Scheduler::new(layer.clone()), Vec::new());
    for (id, &(title, price)) in (1..).zip(wares) {
        let (title, lasts) = (title.to_owned(), interval * id);
        scheduler.send_after(lasts, HOUSE, &HouseEvent::Close { lot: id })?;
        let lot = Lot { id, title, price, leader: None, bids: 0, ends_in_ms: 0, is_over: false };
        lots.push((lot, Instant::now() + lasts));
    }
    let workers = Workers::new(layer).channel(HOUSE, House(Mutex::new(lots)), RetryPolicy::default())?;
    workers.run_until(stop).await;
    scheduler.close().await;
    Ok(())
}

/// The worker: the lots, each with its end.
struct House(Mutex<Vec<(Lot, Instant)>>);

impl House {
    fn decide(&self, event: HouseEvent) -> Decision {
        let mut lots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, bid) = match event {
            HouseEvent::Lots => return Ok(lots.iter().map(now).collect()),
            HouseEvent::Bid { lot, amount, bidder } => (lot, Some((amount, bidder))),
            HouseEvent::Close { lot } => (lot, None),
        };
        let lot = lots.iter_mut().find(|(lot, _)| lot.id == id).ok_or("there is no such lot")?;
        match bid {
            Some((amount, bidder)) => lot.0.bid(amount, bidder)?,
            None => lot.0.is_over = true,
        }
        Ok(vec![now(lot)])
    }
}

fn now((lot, end): &(Lot, Instant)) -> Lot {
    let left = end.saturating_duration_since(Instant::now()).as_millis();
    Lot { ends_in_ms: u64::try_from(left).unwrap_or(u64::MAX), ..lot.clone() }
}

impl Lot {
    fn bid(&mut self, amount: u64, bidder: String) -> Result<(), String> {
        let least = self.price + STEP;
        match amount {
            // A worker's message may come twice.
            _ if amount == self.price && self.leader.as_ref() == Some(&bidder) => return Ok(()),
            _ if self.is_over => return Err("the lot is closed".to_owned()),
            _ if amount < least => return Err(format!("the next bid is at least {least}")),
            _ if amount > MOST => return Err(format!("a bid is at most {MOST}")),
            _ => (self.price, self.leader, self.bids) = (amount, Some(bidder), self.bids + 1),
        }
        Ok(())
    }
}

impl Worker for House {
    type Event = HouseEvent;

    async fn handle(&self, job: &Job, event: HouseEvent) -> Result<()> {
        let is_change = !matches!(event, HouseEvent::Lots);
        let decision = self.decide(event);
        for lot in decision.iter().flatten().filter(|_| is_change) {
            let event = LotEvent::Changed { lot: lot.clone() };
            for group in [group(lot.id), ALL_LOTS.to_owned()] {
                // A member that is full misses this change, and gets the next one.
                let _report = job.layer().group_send_event(group, &event).await?;
            }
        }
        // The scheduler waits for no answer.
        job.progress(&decision).await
    }
}
