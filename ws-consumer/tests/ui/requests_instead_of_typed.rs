//! A consumer with requests, registered as one without.

use ws_consumer::{Json, NoEvents, Result, Router, TypedConsumer, TypedRequests, TypedSocket};

#[derive(Default)]
struct Chat;

impl TypedConsumer for Chat {
    type Codec = Json;
    type Input = String;
    type Output<'a> = &'a str;
    type Event = NoEvents;
}

impl TypedRequests for Chat {
    type Request = String;
    type Reply<'a> = &'a str;

    async fn request(&mut self, _: &mut TypedSocket<'_, Self>, _: String) -> Result<&str> {
        Ok("pong")
    }
}

fn main() {
    let _ = Router::new().typed("/chat", Chat::default);
}
