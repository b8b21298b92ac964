//! A shared output that is made of the consumer's state.

use ws_consumer::{Json, Result, TypedConsumer, TypedSocket};

struct Chat {
    name: String,
}

impl TypedConsumer for Chat {
    type Codec = Json;
    type Input = String;
    type Output<'a> = String;
    type Event = String;

    async fn event(&mut self, socket: &mut TypedSocket<'_, Self>, event: &String) -> Result<()> {
        socket.send_shared(event, |event| format!("{}: {event}", self.name)).await
    }
}

fn main() {}
