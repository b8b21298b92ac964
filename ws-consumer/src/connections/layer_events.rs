//! The events of the channel layers' backends, on their way to the connections.

use std::sync::{Arc, Mutex, OnceLock};

use channel_layer::{ChannelLayer, LayerEvent, LayerEvents};
use futures_util::FutureExt;
use tokio_util::task::AbortOnDropHandle;

use super::{Connections, layers::ServedLayers};
use crate::{sync::lock, wire::LayerNumber};

impl Connections {
    /// Sets the channel layers, before the first connection. The first one is the service's own.
    pub(crate) fn set_layers(&self, layers: Vec<Arc<dyn ChannelLayer>>) -> EventForwarding {
        let (layers, events) = ServedLayers::new(layers);
        let _set_before = self.0.layers.set(layers);
        EventForwarding { events: Mutex::new(events), tasks: OnceLock::new() }
    }

    /// Returns the channel layers.
    pub(crate) fn layers(&self) -> Vec<Arc<dyn ChannelLayer>> {
        self.0.layers.get().into_iter().flat_map(ServedLayers::all).cloned().collect()
    }

    /// Returns the number of a layer. That of the service itself for an unknown one.
    pub(crate) fn layer_number(&self, layer: &Arc<dyn ChannelLayer>) -> LayerNumber {
        self.0.layers.get().and_then(|layers| layers.number(layer)).unwrap_or_default()
    }

    /// Returns whether a layer is known to have lost its backend. New clients would then get no messages from others.
    pub(crate) fn is_cut_off(&self, layer: &Arc<dyn ChannelLayer>) -> bool {
        let number = self.layer_number(layer);
        self.0.layers.get().is_some_and(|layers| layers.is_cut_off(number))
    }

    /// Records whether a layer has its backend.
    fn record(&self, layer: LayerNumber, event: LayerEvent) {
        if let Some(layers) = self.0.layers.get() {
            layers.record(layer, event);
        }
    }

    /// Records an event of a layer, and passes it to the connections that use the layer.
    fn notify(&self, layer: LayerNumber, event: LayerEvent) {
        self.record(layer, event);
        let connections: Vec<_> = self.open().connections.values().cloned().collect();
        let using = connections.iter().filter(|connection| connection.profile().layer == layer);
        using.for_each(|connection| connection.push_layer_event(event));
    }
}

/// Forwards the events of a service's layers, from the first connection until it is dropped.
pub(crate) struct EventForwarding {
    /// The events from the beginning, until tasks forward them. Locked once.
    events: Mutex<Vec<LayerEvents>>,
    tasks: OnceLock<Vec<AbortOnDropHandle<()>>>,
}

impl EventForwarding {
    /// Starts to forward, unless it has begun. Events before that only set the state.
    pub(crate) fn start(&self, connections: &Connections) {
        self.tasks.get_or_init(|| {
            let events = std::mem::take(&mut *lock(&self.events));
            let numbered = (0..=u8::MAX).map(LayerNumber).zip(events);
            numbered.map(|(number, events)| forward(connections.clone(), number, events)).collect()
        });
    }
}

fn forward(connections: Connections, number: LayerNumber, mut events: LayerEvents) -> AbortOnDropHandle<()> {
    while let Some(Some(event)) = events.next().now_or_never() {
        connections.record(number, event);
    }
    AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(event) = events.next().await {
            connections.notify(number, event);
        }
    }))
}
