mod basics;
mod depth;
mod derived;
mod errors;
mod msgpack;
mod properties;
mod wire;

use super::{MAX_DEPTH, Map, Value, ValueError, from_value, to_value};

fn map<const N: usize>(entries: [(&str, Value); N]) -> Map {
    Map::from(entries)
}

/// Nested lists of this depth. Built and dropped level by level, so that any depth is possible.
fn nested(levels: usize) -> Value {
    (1..levels).fold(Value::List(vec![]), |inside, _| Value::List(vec![inside]))
}
