//! Faults of events, `health`, `flush` and `close`.

use std::{
    future::pending,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::future::join_all;

use super::{Fault, Faulty, world::World};
use crate::{
    error::{Error, Result},
    events::{EventSource, Health, LayerEvent, LayerEvents},
    layer::ChannelLayer,
};

/// The events that a layer with this fault raises, instead of its own.
pub(super) fn events_of(fault: Option<Fault>, events: LayerEvents) -> Option<Arc<EventSource>> {
    use Fault as F;
    let fault = fault?;
    let is_about_events = matches!(
        fault,
        F::RaisesNoEvents
            | F::HidesDisconnected
            | F::HidesReconnected
            | F::RaisesEventsTwice
            | F::TellsTheFirstOutage
            | F::ReportsNoGap
            | F::ReportsALongGap
            | F::RaisesEventsWhenBusy
            | F::RaisesEventsForPeers
            | F::KeepsEventsOpen
            | F::IsNeverAway
            | F::IsAlwaysAway
    );
    if !is_about_events {
        return None;
    }
    let source = Arc::new(EventSource::new(1));
    if fault != F::IsAlwaysAway {
        source.up();
    }
    tokio::spawn(relay(events, source.clone(), fault));
    Some(source)
}

async fn relay(mut events: LayerEvents, source: Arc<EventSource>, fault: Fault) {
    let mut outages = 0;
    while let Some(event) = events.next().await {
        match event {
            LayerEvent::Disconnected => {
                outages += 1;
                if fault != Fault::IsNeverAway {
                    source.down();
                }
            }
            LayerEvent::Reconnected { .. } if fault != Fault::IsAlwaysAway => source.up(),
            _ => {}
        }
        told(fault, event, outages).into_iter().for_each(|event| source.raise(event));
    }
    if fault != Fault::KeepsEventsOpen {
        source.end();
    }
}

fn told(fault: Fault, event: LayerEvent, outages: usize) -> Vec<LayerEvent> {
    match (fault, event) {
        (Fault::RaisesNoEvents, _)
        | (Fault::HidesDisconnected, LayerEvent::Disconnected)
        | (Fault::HidesReconnected, LayerEvent::Reconnected { .. }) => Vec::new(),
        (Fault::TellsTheFirstOutage, _) if outages > 1 => Vec::new(),
        (Fault::RaisesEventsTwice, _) => vec![event, event],
        (Fault::ReportsNoGap, LayerEvent::Reconnected { .. }) => {
            vec![LayerEvent::Reconnected { gap: Duration::ZERO }]
        }
        (Fault::ReportsALongGap, LayerEvent::Reconnected { .. }) => {
            vec![LayerEvent::Reconnected { gap: Duration::from_secs(3600) }]
        }
        _ => vec![event],
    }
}

impl Faulty {
    pub(super) async fn check_health(&self) -> Result<Health> {
        self.in_outage().await?;
        let health = self.layer.health().await;
        match self.fault {
            Some(Fault::IsHealthyInOutages) if health.is_err() && self.is_away() => Ok(Health::default()),
            Some(Fault::CountsNoMailboxes) => health.map(|health| Health::new(health.round_trip, 0, 0)),
            Some(Fault::IsNeverHealthy) => Err(Error::Unavailable("it is never healthy".into())),
            _ => health,
        }
    }

    pub(super) async fn flush_all(&self) -> Result<()> {
        self.in_outage().await?;
        let hub = self.layer.hub();
        match self.fault {
            Some(Fault::FlushesAlone) => {
                hub.leave_all();
                hub.discard_messages();
                Ok(())
            }
            Some(Fault::FlushesMessagesOnly) => {
                hub.discard_messages();
                self.wire.clear_queues().await
            }
            Some(Fault::FlushesMembershipsOnly) => {
                hub.leave_all();
                Ok(())
            }
            Some(Fault::FlushClosesMailboxes) => {
                let mailboxes: Vec<_> = self.world.state().mailboxes.values().cloned().collect();
                mailboxes.iter().for_each(|(mailbox, _)| mailbox.close());
                self.layer.flush().await
            }
            _ => self.layer.flush().await,
        }
    }

    pub(super) async fn end(&self) -> Result<()> {
        let again = self.closed.load(Relaxed);
        let close = async |faulty: &Self| {
            faulty.closed.store(true, Relaxed);
            faulty.layer.close().await
        };
        match self.fault {
            Some(Fault::IgnoresClose) => Ok(()),
            Some(Fault::HangsAtClose) => pending().await,
            Some(Fault::HangsAtCloseInOutages) if self.is_away() => pending().await,
            Some(Fault::RefusesASecondClose) if again => Err(Error::Closed),
            Some(Fault::EmptiesMailboxesAtClose) => {
                self.layer.hub().discard_messages();
                close(self).await
            }
            Some(Fault::ClosesPeers) => {
                let layers = self.world.state().layers.clone();
                join_all(layers.iter().map(|layer| layer.close())).await;
                close(self).await
            }
            Some(Fault::KeepsConnections) => {
                self.wire.keep_connection().await;
                close(self).await
            }
            Some(Fault::RaisesEventsForPeers) => {
                raise_outage(&self.world);
                close(self).await
            }
            _ => close(self).await,
        }
    }

    /// Raises the events of an outage after a hundred messages, if the fault is about that.
    pub(super) fn is_busy(&self) {
        if self.has(Fault::RaisesEventsWhenBusy) && self.sent.load(Relaxed) == 100 {
            raise_outage(&self.world);
        }
    }
}

fn raise_outage(world: &World) {
    for events in &world.state().events {
        events.raise(LayerEvent::Disconnected);
        events.raise(LayerEvent::Reconnected { gap: Duration::from_millis(1) });
    }
}
