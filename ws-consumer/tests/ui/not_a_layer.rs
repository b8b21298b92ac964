//! Values that are no channel layer.

use std::sync::Arc;

use channel_layer::{ChannelLayer, MemoryLayer};
use ws_consumer::Protocols;

fn main() {
    let shared: Arc<dyn ChannelLayer> = Arc::new(MemoryLayer::default());
    let _ = Protocols::new().into_service(&shared);
    let _ = Protocols::new().into_service("memory://");
}
