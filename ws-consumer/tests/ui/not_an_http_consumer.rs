//! A WebSocket's consumer where one of requests is asked for.

use ws_consumer::{Consumer, NoEvents, Router};

#[derive(Default)]
struct Chat;

impl Consumer for Chat {
    type Event = NoEvents;
}

fn main() {
    let _ = Router::new().http("/chat", Chat::default);
}
