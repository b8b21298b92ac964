//! A typed consumer where a plain one is asked for.

use ws_consumer::{Json, NoEvents, Router, TypedConsumer};

#[derive(Default)]
struct Chat;

impl TypedConsumer for Chat {
    type Codec = Json;
    type Input = String;
    type Output<'a> = &'a str;
    type Event = NoEvents;
}

fn main() {
    let _ = Router::new().consumer("/chat", Chat::default);
}
