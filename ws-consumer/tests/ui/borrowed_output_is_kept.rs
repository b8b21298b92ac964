//! A borrowed output, kept for longer than what it borrows from.

use serde::Deserialize;
use ws_consumer::{Json, Result, TypedConsumer, TypedSocket};

#[derive(Deserialize)]
struct Said {
    text: String,
}

#[derive(Default)]
struct Chat {
    last: Option<&'static str>,
}

impl TypedConsumer for Chat {
    type Codec = Json;
    type Input = String;
    type Output<'a> = &'a str;
    type Event = Said;

    async fn event(&mut self, socket: &mut TypedSocket<'_, Self>, event: &Said) -> Result<()> {
        self.last = Some(&event.text);
        socket.send(&event.text.as_str()).await
    }
}

fn main() {}
