//! A consumer of hooks that run at the same time, where one of hooks in order is asked for.

use ws_consumer::{ConcurrentConsumer, NoEvents, Router};

#[derive(Default)]
struct Chat;

impl ConcurrentConsumer for Chat {
    type Event = NoEvents;
}

fn main() {
    let _ = Router::new().consumer("/chat", Chat::default);
}
