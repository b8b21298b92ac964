//! A guard around a consumer's value.

use ws_consumer::{
    Consumer, NoEvents,
    middleware::{Guard, Traced},
};

struct Chat;

impl Consumer for Chat {
    type Event = NoEvents;
}

fn main() {
    let _ = Traced.around(Chat);
}
