//! A plain consumer where a typed one is asked for.

use ws_consumer::{Consumer, NoEvents, Router};

#[derive(Default)]
struct Chat;

impl Consumer for Chat {
    type Event = NoEvents;
}

fn main() {
    let _ = Router::new().typed("/chat", Chat::default);
}
