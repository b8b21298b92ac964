//! An event without `Deserialize`, and one that borrows.

use serde::Deserialize;
use ws_consumer::Consumer;

struct Plain;

struct One;

impl Consumer for One {
    type Event = Plain;
}

#[derive(Deserialize)]
struct Borrowed<'a> {
    text: &'a str,
}

struct Other;

impl Consumer for Other {
    type Event = Borrowed<'static>;
}

fn main() {}
