use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::IpAddr,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::{ByteBuf, Bytes};

use super::{Map, Value, ValueError, from_value, map, to_value};

#[track_caller]
fn round_trip<T>(item: T, expected: impl Into<Value>)
where
    T: DeserializeOwned + Serialize + PartialEq + fmt::Debug,
{
    let value = to_value(&item).unwrap();
    assert_eq!(value, expected.into());
    if let Value::Map(map) = &value {
        assert_eq!(T::deserialize(map).unwrap(), item, "by reference to the map");
    }
    assert_eq!(T::deserialize(&value).unwrap(), item, "by reference");
    assert_eq!(from_value::<T>(value).unwrap(), item);
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Unit;

#[derive(Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
struct Newtype(String);

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Pair(u8, String);

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Named {
    id: u64,
    ratio: f32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[test]
fn scalars() {
    round_trip(true, true);
    round_trip(i8::MIN, i64::from(i8::MIN));
    round_trip(i64::MIN, i64::MIN);
    round_trip(u64::MAX, u64::MAX);
    round_trip(i64::MAX as u64, Value::I64(i64::MAX));
    round_trip(5_u64, Value::I64(5));
    round_trip(-7_i128, -7);
    round_trip(u128::from(u64::MAX), u64::MAX);
    round_trip(1.5_f32, 1.5);
    round_trip(1.0_f64, Value::F64(1.0));
    round_trip('é', "é");
    round_trip("text".to_owned(), "text");
    round_trip((), Value::Null);
    round_trip(None::<u8>, Value::Null);
    round_trip(Some(3_u8), 3);
}

#[test]
fn structs_and_collections() {
    round_trip(Unit, Value::Null);
    round_trip(Newtype("a".into()), "a");
    round_trip(Pair(1, "b".into()), Value::list([Value::from(1), "b".into()]));
    round_trip((1_u8, -1_i8), Value::list([1, -1]));
    round_trip(vec![1_u8, 2], Value::list([1, 2]));
    round_trip([Some(1_u8), None], Value::list([Some(1), None]));
    let named = Named { id: 1, ratio: 0.5, note: None };
    round_trip(named, map([("id", 1.into()), ("ratio", 0.5.into())]));
    let named = Named { id: 1, ratio: 0.5, note: Some("n".into()) };
    round_trip(named, map([("id", 1.into()), ("ratio", 0.5.into()), ("note", "n".into())]));
}

#[test]
fn fields_keep_their_order() {
    let Value::Map(map) = to_value(&Named { id: 1, ratio: 0.5, note: Some("n".into()) }).unwrap() else {
        panic!("a struct is a map");
    };
    assert_eq!(map.keys().collect::<Vec<_>>(), ["id", "ratio", "note"]);
}

#[test]
fn structs_read_from_lists() {
    let list = Value::list([Value::from(1), 0.5.into(), "n".into()]);
    assert_eq!(from_value(list), Ok(Named { id: 1, ratio: 0.5, note: Some("n".into()) }));
}

#[test]
fn bytes_stay_bytes() {
    round_trip(ByteBuf::from("ab"), Value::bytes("ab"));
    let value = Value::bytes("ab");
    let borrowed: &Bytes = Deserialize::deserialize(&value).unwrap();
    assert_eq!(borrowed.as_ptr(), value.as_bytes().unwrap().as_ptr());
    // The way of JSON, which has none.
    assert_eq!(from_value::<ByteBuf>(Value::list([97, 98])), Ok(ByteBuf::from("ab")));
}

#[test]
fn text_like_keys() {
    #[derive(Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
    enum Colour {
        Red,
    }
    let expected = || map([("k", 1.into())]);
    round_trip(HashMap::from([("k".to_owned(), 1)]), expected());
    round_trip(BTreeMap::from([('k', 1)]), expected());
    round_trip(BTreeMap::from([(Newtype("k".into()), 1)]), expected());
    round_trip(BTreeMap::from([(Colour::Red, 1)]), map([("Red", 1.into())]));
}

#[test]
fn two_form_types_use_text() {
    round_trip("192.0.2.1".parse::<IpAddr>().unwrap(), "192.0.2.1");
    round_trip(BTreeMap::from([("::1".parse::<IpAddr>().unwrap(), 1)]), map([("::1", 1.into())]));
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
enum External {
    Unit,
    Newtype(u8),
    Tuple(u8, String),
    Struct { a: Option<u8>, b: Vec<u8> },
}

#[test]
fn externally_tagged_enums() {
    round_trip(External::Unit, "Unit");
    round_trip(External::Newtype(1), map([("Newtype", 1.into())]));
    let tuple = Value::list([Value::from(1), "x".into()]);
    round_trip(External::Tuple(1, "x".into()), map([("Tuple", tuple)]));
    let fields = map([("a", Value::Null), ("b", Value::list([2]))]);
    round_trip(External::Struct { a: None, b: vec![2] }, map([("Struct", fields.into())]));
    assert_eq!(from_value(map([("Unit", Value::Null)]).into()), Ok(External::Unit));
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type")]
enum Internal {
    #[serde(rename = "chat.leave")]
    Unit,
    #[serde(rename = "chat.raw")]
    Newtype(Named),
    #[serde(rename = "chat.message")]
    Struct { n: i64, big: u64, data: ByteBuf, extra: Value },
}

#[test]
fn internally_tagged_enums() {
    round_trip(Internal::Unit, map([("type", "chat.leave".into())]));
    let named = Named { id: 1, ratio: 2.0, note: None };
    let fields = map([("type", "chat.raw".into()), ("id", 1.into()), ("ratio", 2.0.into())]);
    round_trip(Internal::Newtype(named), fields);
    let extra = Value::from(map([("deep", Value::list([Value::Null, 1.0.into()]))]));
    let message = Internal::Struct { n: -1, big: u64::MAX, data: ByteBuf::from("ab"), extra: extra.clone() };
    let fields = map([
        ("type", "chat.message".into()),
        ("n", (-1).into()),
        ("big", u64::MAX.into()),
        ("data", Value::bytes("ab")),
        ("extra", extra),
    ]);
    round_trip(message, fields);
}

#[test]
fn the_tag_may_be_anywhere() {
    let message = map([("who", "me".into()), ("note", "n".into()), ("type", "chat.leave".into())]);
    assert_eq!(Internal::deserialize(&message), Ok(Internal::Unit));
    let message =
        map([("ratio", 1.into()), ("more", 0.into()), ("id", 2.into()), ("type", "chat.raw".into())]);
    let named = Named { id: 2, ratio: 1.0, note: None };
    assert_eq!(Internal::deserialize(&message), Ok(Internal::Newtype(named)));
}

#[test]
fn adjacent_and_untagged_enums() {
    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    #[serde(tag = "t", content = "c")]
    enum Adjacent {
        Unit,
        Newtype(String),
        Tuple(u8, u8),
        Struct { a: bool },
    }
    round_trip(Adjacent::Unit, map([("t", "Unit".into())]));
    round_trip(Adjacent::Newtype("x".into()), map([("t", "Newtype".into()), ("c", "x".into())]));
    round_trip(Adjacent::Tuple(1, 2), map([("t", "Tuple".into()), ("c", Value::list([1, 2]))]));
    let fields = map([("a", true.into())]);
    round_trip(Adjacent::Struct { a: true }, map([("t", "Struct".into()), ("c", fields.into())]));

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    #[serde(untagged)]
    enum Untagged {
        Integer(i64),
        Float(f64),
        Text(String),
        Bytes(ByteBuf),
        Struct { a: bool },
        Unit,
    }
    round_trip(Untagged::Integer(1), 1);
    round_trip(Untagged::Float(1.0), 1.0);
    round_trip(Untagged::Text("x".into()), "x");
    round_trip(Untagged::Bytes(ByteBuf::from([0xff])), Value::bytes([0xff]));
    round_trip(Untagged::Struct { a: true }, map([("a", true.into())]));
    round_trip(Untagged::Unit, Value::Null);
}

#[test]
fn flattens_into_a_map() {
    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Open {
        r#type: String,
        #[serde(flatten)]
        rest: Map,
    }
    let message = map([("type", "a".into()), ("x", Value::bytes("b")), ("y", Value::list([1.0]))]);
    let rest = map([("x", Value::bytes("b")), ("y", Value::list([1.0]))]);
    round_trip(Open { r#type: "a".into(), rest }, message);
}

#[test]
fn tagged_enums_borrow() {
    #[derive(Deserialize)]
    #[serde(tag = "type")]
    enum Event<'a> {
        #[serde(rename = "chat.message")]
        Message { text: &'a str, data: &'a [u8] },
    }
    let message =
        map([("type", "chat.message".into()), ("text", "hi".into()), ("data", Value::bytes([1, 2]))]);
    let Event::Message { text, data } = Event::deserialize(&message).unwrap();
    assert_eq!(text.as_ptr(), message["text"].as_str().unwrap().as_ptr());
    assert_eq!(data.as_ptr(), message["data"].as_bytes().unwrap().as_ptr());
}

#[test]
fn map_references_read_as_enums() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Wrapped(Option<External>);
    let message = map([("Newtype", 7.into())]);
    assert_eq!(Wrapped::deserialize(&message), Ok(Wrapped(Some(External::Newtype(7)))));
    assert_eq!(Map::deserialize(&message).unwrap(), message);
    assert_eq!(Value::deserialize(&message).unwrap(), message.into());
    assert!(matches!(String::deserialize(&map([])), Err(ValueError::InvalidType { found: "map", .. })));
}

#[test]
fn floats_read_from_integers() {
    assert_eq!(from_value(1.into()), Ok(1.0_f64));
    assert_eq!(from_value(u64::MAX.into()), Ok(u64::MAX as f64));
    assert_eq!(from_value((-1).into()), Ok(-1.0_f32));
}

#[test]
fn integers_cross_signedness() {
    assert_eq!(from_value(Value::U64(5)), Ok(5_i8));
    assert_eq!(from_value(Value::I64(5)), Ok(5_u64));
    assert!(matches!(to_value(&Value::U64(5)), Ok(Value::I64(5))));
}
