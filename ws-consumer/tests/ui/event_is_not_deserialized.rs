//! An event that cannot be decoded.

use ws_consumer::Consumer;

struct Chat;

struct Message {
    text: String,
}

impl Consumer for Chat {
    type Event = Message;
}

fn main() {}
