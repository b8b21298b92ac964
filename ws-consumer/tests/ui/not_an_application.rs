//! A consumer's value where an application is asked for.

use ws_consumer::{Consumer, NoEvents, Protocols};

struct Chat;

impl Consumer for Chat {
    type Event = NoEvents;
}

fn main() {
    let _ = Protocols::new().websocket(Chat);
}
