use serde::{Deserialize, Serialize};

use super::{MAX_DEPTH, Map, Value, ValueError, from_value, map, nested, to_value};

/// Deep enough to exhaust any stack, if it were walked.
const ABYSS: usize = 200_000;

fn packed_lists(levels: usize) -> Vec<u8> {
    let mut bytes = vec![0x91; levels - 1];
    bytes.push(0x90);
    bytes
}

/// Lets go of a value that is too deep to be dropped.
fn unmake(mut value: Value) {
    while let Value::List(mut items) = value {
        value = items.pop().unwrap_or_default();
    }
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Tree(Vec<Tree>);

fn tree(levels: usize) -> Tree {
    (1..levels).fold(Tree(vec![]), |inside, _| Tree(vec![inside]))
}

#[test]
fn msgpack_reads_to_the_limit() {
    let deepest = rmp_serde::from_slice::<Value>(&packed_lists(MAX_DEPTH)).unwrap();
    assert_eq!(deepest, nested(MAX_DEPTH));
    let error = rmp_serde::from_slice::<Value>(&packed_lists(MAX_DEPTH + 1)).unwrap_err();
    assert!(error.to_string().contains("nested deeper than 128 levels"), "{error}");
}

#[test]
fn the_outer_map_is_a_level() {
    let with = |levels| [b"\x81\xa1a".as_slice(), &packed_lists(levels)].concat();
    assert!(rmp_serde::from_slice::<Map>(&with(MAX_DEPTH - 1)).is_ok());
    assert!(rmp_serde::from_slice::<Map>(&with(MAX_DEPTH)).is_err());
}

#[test]
fn every_format_bounds_depth() {
    assert!(rmp_serde::from_slice::<Value>(&packed_lists(ABYSS)).is_err());
    assert!(rmp_serde::from_slice::<Value>(&b"\x81\xa1a".repeat(ABYSS)).is_err());
    assert!(rmp_serde::from_slice::<Map>(&b"\x81\xa1a".repeat(ABYSS)).is_err());
    assert!(serde_json::from_str::<Value>(&"[".repeat(ABYSS)).is_err());
    assert!(serde_json::from_str::<Value>(&r#"{"a":"#.repeat(ABYSS)).is_err());
    assert!(serde_json::from_str::<Map>(&r#"{"a":"#.repeat(ABYSS)).is_err());
}

#[test]
fn writes_to_the_limit() {
    assert_eq!(rmp_serde::to_vec(&nested(MAX_DEPTH)).unwrap(), packed_lists(MAX_DEPTH));
    assert!(serde_json::to_string(&nested(MAX_DEPTH)).is_ok());
    let too_deep = nested(MAX_DEPTH + 1);
    assert!(rmp_serde::to_vec(&too_deep).is_err());
    assert!(serde_json::to_string(&too_deep).is_err());
    assert!(serde_json::to_string(&map([("a", nested(MAX_DEPTH))])).is_err());
}

#[test]
fn to_value_stops_at_the_limit() {
    assert_eq!(to_value(&tree(MAX_DEPTH)).unwrap(), nested(MAX_DEPTH));
    assert_eq!(to_value(&tree(MAX_DEPTH + 1)), Err(ValueError::TooDeep));
    assert_eq!(from_value::<Tree>(nested(MAX_DEPTH)).unwrap(), tree(MAX_DEPTH));
    assert_eq!(from_value::<Tree>(nested(MAX_DEPTH + 1)), Err(ValueError::TooDeep));
}

#[test]
fn from_value_stops_at_the_limit() {
    assert_eq!(to_value(&nested(MAX_DEPTH)).unwrap(), nested(MAX_DEPTH));
    assert_eq!(to_value(&nested(MAX_DEPTH + 1)), Err(ValueError::TooDeep));
    assert_eq!(from_value::<Value>(nested(MAX_DEPTH)).unwrap(), nested(MAX_DEPTH));
    assert_eq!(from_value::<Value>(nested(MAX_DEPTH + 1)), Err(ValueError::TooDeep));
    let around = map([("a", nested(MAX_DEPTH))]);
    assert_eq!(Map::deserialize(&around), Err(ValueError::TooDeep));
    assert_eq!(to_value(&around), Err(ValueError::TooDeep));
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
enum Peel {
    Core,
    Newtype(Box<Peel>),
    Struct { inside: Box<Peel> },
    Tuple(Box<Peel>, u8),
}

#[track_caller]
fn peels_to(most: usize, layer: impl Fn(Box<Peel>) -> Peel) {
    let onion = |layers| (0..layers).fold(Peel::Core, |inside, _| layer(Box::new(inside)));
    let deepest = to_value(&onion(most)).unwrap();
    assert_eq!(Peel::deserialize(&deepest).unwrap(), onion(most));
    let deeper = map([("Newtype", deepest)]);
    assert_eq!(Peel::deserialize(&deeper), Err(ValueError::TooDeep));
    assert_eq!(from_value::<Peel>(deeper.into()), Err(ValueError::TooDeep));
    assert_eq!(to_value(&onion(most + 1)), Err(ValueError::TooDeep));
}

#[test]
fn variants_count_as_levels() {
    peels_to(MAX_DEPTH, Peel::Newtype);
    // A struct or tuple variant is a map or list inside the map that names it.
    peels_to(MAX_DEPTH / 2, |inside| Peel::Struct { inside });
    peels_to(MAX_DEPTH / 2, |inside| Peel::Tuple(inside, 0));
}

#[test]
fn buffered_enums_read_to_the_limit() {
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(untagged)]
    enum Any {
        List(Vec<Any>),
    }
    let deepest = (1..MAX_DEPTH).fold(Any::List(vec![]), |inside, _| Any::List(vec![inside]));
    assert_eq!(from_value::<Any>(nested(MAX_DEPTH)).unwrap(), deepest);
    assert_eq!(from_value::<Any>(nested(MAX_DEPTH + 1)), Err(ValueError::TooDeep));
}

#[test]
fn rejects_deep_handmade_values() {
    let abyss = nested(ABYSS);
    assert_eq!(to_value(&abyss), Err(ValueError::TooDeep));
    assert_eq!(Value::deserialize(&abyss), Err(ValueError::TooDeep));
    assert_eq!(Tree::deserialize(&abyss), Err(ValueError::TooDeep));
    assert!(rmp_serde::to_vec(&abyss).is_err());
    unmake(abyss);
}
