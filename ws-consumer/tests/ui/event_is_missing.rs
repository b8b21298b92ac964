//! A consumer that does not name its events.

use ws_consumer::Consumer;

struct Chat;

impl Consumer for Chat {}

fn main() {}
