//! An output that is not serializable, and a codec without a form for it.

use ws_consumer::{Codec, Decode, Frame, Json, NoEvents, Result, TypedConsumer};

struct Answer;

struct InJson;

impl TypedConsumer for InJson {
    type Codec = Json;
    type Input = String;
    type Output<'a> = Answer;
    type Event = NoEvents;
}

enum Layout {}

impl Codec for Layout {}

impl Decode<u8> for Layout {
    fn decode(frame: &Frame) -> Result<u8> {
        Ok(frame.bytes()?.len() as u8)
    }
}

struct InLayout;

impl TypedConsumer for InLayout {
    type Codec = Layout;
    type Input = u8;
    type Output<'a> = Answer;
    type Event = NoEvents;
}

fn main() {}
