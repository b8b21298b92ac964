//! The live parts of the pages: a socket per open lot, and a stream of the changes of all lots.

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};
use ws_consumer::{
    Error, EventStreamOptions, Exchange, HttpConsumer, Json, Result, TypedConsumer, TypedRequests,
    TypedSocket,
};

use crate::{
    house::{ALL_LOTS, HouseEvent, Lot, LotEvent, ask, group},
    pages::Bidder,
};

/// A viewer of one lot, who may bid.
#[derive(Default)]
pub(crate) struct LotViewer {
    lot: u32,
    end: Option<Instant>,
}

/// A frame to a viewer. It borrows, and each change is encoded once for all viewers.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum LotFrame<'a> {
    Countdown {
        seconds: u64,
    },
    Joined {
        user: &'a str,
    },
    #[serde(untagged)]
    Event(&'a LotEvent),
}

/// A viewer's request. Its reply is the lot.
#[derive(Deserialize)]
pub(crate) struct BidRequest {
    amount: u64,
}

impl LotViewer {
    fn watch(&mut self, lot: &Lot) {
        self.end = Some(Instant::now() + Duration::from_millis(lot.ends_in_ms));
    }

    /// Tells the time left each second, until there is none.
    async fn tick(&mut self, socket: &mut TypedSocket<'_, Self>) -> Result<()> {
        let left = self.end.map_or(Duration::ZERO, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Ok(());
        }
        socket.send_after(Duration::from_secs(1), &LotEvent::Tick)?;
        socket.send(&LotFrame::Countdown { seconds: left.as_secs() }).await
    }
}

impl TypedConsumer for LotViewer {
    type Codec = Json;
    /// Clients send requests only.
    type Input = ();
    type Output<'a> = LotFrame<'a>;
    type Event = LotEvent;

    async fn connect(&mut self, socket: &mut TypedSocket<'_, Self>) -> Result<()> {
        self.lot = socket.scope().params()?;
        // Before the question, so that no change falls between the two.
        socket.group_add(group(self.lot)).await?;
        let lots = ask(socket.layer(), &HouseEvent::Lots).await?;
        let lot = lots.into_iter().find(|lot| lot.id == self.lot);
        let lot = lot.ok_or(Error::Refused(StatusCode::NOT_FOUND))?;
        socket.accept().await?;
        self.watch(&lot);
        socket.send(&LotFrame::Event(&LotEvent::Changed { lot })).await?;
        self.tick(socket).await?;
        let Some(user) = socket.scope().user::<Bidder>().cloned() else { return Ok(()) };
        socket.broadcast(group(self.lot), &LotFrame::Joined { user: &user.0 }).await
    }

    async fn event(&mut self, socket: &mut TypedSocket<'_, Self>, event: &LotEvent) -> Result<()> {
        let LotEvent::Changed { lot } = event else { return self.tick(socket).await };
        self.watch(lot);
        socket.send_shared(event, LotFrame::Event).await
    }
}

impl TypedRequests for LotViewer {
    type Request = BidRequest;
    type Reply<'a> = Lot;

    async fn request(&mut self, socket: &mut TypedSocket<'_, Self>, bid: BidRequest) -> Result<Lot> {
        let user = socket.scope().user::<Bidder>().ok_or_else(|| Error::bad_input("log in to bid"))?;
        let bid = HouseEvent::Bid { lot: self.lot, amount: bid.amount, bidder: user.0.clone() };
        let changed = ask(socket.layer(), &bid).await?;
        changed.into_iter().next().ok_or_else(|| Error::other("a bid is about one lot"))
    }
}

/// The event stream of all lots, for the first page: each lot once, and then each change.
pub(crate) struct LotStream;

impl HttpConsumer for LotStream {
    type Event = LotEvent;
    const GROUPS: &'static [&'static str] = &[ALL_LOTS];

    async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
        let lots = ask(exchange.layer(), &HouseEvent::Lots).await?;
        exchange.event_stream(EventStreamOptions::default()).await?;
        for lot in lots {
            self.event(exchange, &LotEvent::Changed { lot }).await?;
        }
        Ok(())
    }

    async fn event(&mut self, exchange: &mut Exchange, event: &LotEvent) -> Result<()> {
        let LotEvent::Changed { lot } = event else { return Ok(()) };
        exchange.send_event(serde_json::to_string(lot).map_err(Error::other)?).await
    }
}
