//! The channel layers of a service's connections, and whether they have their backends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use channel_layer::{ChannelLayer, LayerEvent, LayerEvents, LayerState};

use crate::wire::LayerNumber;

/// The layers of a service: its own first, then those of [options](crate::ConnectionOptions).
pub(super) struct ServedLayers(Vec<ServedLayer>);

struct ServedLayer {
    layer: Arc<dyn ChannelLayer>,
    /// The layer's own view of its backend.
    state: LayerState,
    /// Whether it has lost its backend, by its events. Relaxed: a hint.
    cut_off: AtomicBool,
}

impl ServedLayers {
    /// Takes each layer once. Returns the events of each as well.
    pub(super) fn new(layers: Vec<Arc<dyn ChannelLayer>>) -> (Self, Vec<LayerEvents>) {
        let mut served = Self(Vec::new());
        let mut events = Vec::new();
        for layer in layers {
            if served.number(&layer).is_none() {
                let from = layer.events();
                let (state, cut_off) = (from.state(), AtomicBool::default());
                served.0.push(ServedLayer { layer, state, cut_off });
                events.push(from);
            }
        }
        assert!(served.0.len() <= 1 << u8::BITS, "a service has at most 256 channel layers");
        (served, events)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<dyn ChannelLayer>> {
        self.0.iter().map(|served| &served.layer)
    }

    /// The number of a layer, if the service has it.
    pub(super) fn number(&self, layer: &Arc<dyn ChannelLayer>) -> Option<LayerNumber> {
        let at = self.0.iter().position(|served| Arc::ptr_eq(&served.layer, layer))?;
        u8::try_from(at).ok().map(LayerNumber)
    }

    fn get(&self, number: LayerNumber) -> Option<&ServedLayer> {
        self.0.get(usize::from(number.0))
    }

    /// Whether a layer is known to have lost its backend.
    pub(super) fn is_cut_off(&self, number: LayerNumber) -> bool {
        self.get(number).is_some_and(|served| served.cut_off.load(Relaxed) || served.state.is_away())
    }

    /// Records whether a layer has its backend.
    pub(super) fn record(&self, number: LayerNumber, event: LayerEvent) {
        let Some(served) = self.get(number) else { return };
        match event {
            LayerEvent::Disconnected => served.cut_off.store(true, Relaxed),
            LayerEvent::Reconnected { .. } => served.cut_off.store(false, Relaxed),
            _ => {}
        }
    }
}
