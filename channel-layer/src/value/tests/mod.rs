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

/// So many lists inside one another. Made and unmade level by level, so that it may be of any depth.
fn nested(levels: usize) -> Value {
    (1..levels).fold(Value::List(vec![]), |inside, _| Value::List(vec![inside]))
}
