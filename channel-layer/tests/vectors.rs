//! The vectors of `vectors/message.json`, both ways.

#![allow(clippy::unwrap_used)] // all of it is a test

use channel_layer::{Error, Map, Message, Value, value::DecodeError};
use serde_json::Value as Json;

fn vectors(kind: &str) -> Vec<Json> {
    let file: Json = serde_json::from_str(include_str!("../vectors/message.json")).unwrap();
    let vectors = file[kind].as_array().unwrap();
    assert!(vectors.len() >= 10, "{kind}: only {}", vectors.len());
    vectors.clone()
}

fn unhex(text: &Json) -> Vec<u8> {
    let digits = text.as_str().unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn value(json: &Json) -> Value {
    let tagged = json.as_object().and_then(|tagged| tagged.iter().next());
    match (json, tagged.map(|(tag, content)| (tag.as_str(), content))) {
        (Json::Null, _) => Value::Null,
        (Json::Bool(value), _) => (*value).into(),
        (Json::String(text), _) => text.clone().into(),
        (Json::Array(items), _) => Value::list(items.iter().map(value)),
        (_, Some(("map", entries))) => map(entries).into(),
        (_, Some(("bytes", bytes))) => Value::bytes(unhex(bytes)),
        (_, Some(("float", bits))) => f64::from_be_bytes(unhex(bits).try_into().unwrap()).into(),
        (_, Some(("nested", levels))) => nested(levels.as_u64().unwrap()),
        (_, Some(("int", digits))) => integer(digits.as_str().unwrap()),
        _ => panic!("no value: {json}"),
    }
}

fn map(entries: &Json) -> Map {
    entries.as_array().unwrap().iter().map(|entry| (entry[0].as_str().unwrap(), value(&entry[1]))).collect()
}

fn integer(digits: &str) -> Value {
    digits.parse::<i64>().map_or_else(|_| digits.parse::<u64>().unwrap().into(), Value::from)
}

fn nested(levels: u64) -> Value {
    (1..levels).fold(Value::List(Vec::new()), |inside, _| Value::List(vec![inside]))
}

fn message(vector: &Json) -> Message {
    match value(&vector["value"]) {
        Value::Map(map) => Message::try_from(map).unwrap(),
        other => panic!("no message: {other:?}"),
    }
}

/// Compares as bytes, since no NaN is equal to itself.
#[test]
fn messages_match_their_vectors() {
    for vector in vectors("both") {
        let bytes = unhex(&vector["hex"]);
        assert_eq!(message(&vector).to_bytes().unwrap(), bytes, "{vector}");
        let read = Message::from_bytes(&bytes).unwrap();
        assert_eq!(read.to_bytes().unwrap(), bytes, "{vector}");
    }
}

#[test]
fn reads_other_forms() {
    for vector in vectors("read") {
        let bytes = unhex(&vector["hex"]);
        let read = Message::from_bytes(&bytes).unwrap();
        assert_eq!(read.to_bytes().unwrap(), message(&vector).to_bytes().unwrap(), "{vector}");
        assert_ne!(read.to_bytes().unwrap(), bytes, "{vector}");
    }
}

#[test]
fn rejects_other_bytes() {
    for vector in vectors("refused") {
        let refused = Message::from_bytes(&unhex(&vector["hex"]));
        let Err(Error::InvalidMessage(source)) = refused else { panic!("{vector}: {refused:?}") };
        let why = match source.downcast_ref().unwrap() {
            DecodeError::Extension { .. } => "extension",
            DecodeError::InvalidUtf8 => "utf-8",
            DecodeError::KeyNotAString { .. } => "key",
            DecodeError::NotAMap { .. } => "not a map",
            DecodeError::Reserved => "reserved byte",
            DecodeError::ReservedKey => "reserved key",
            DecodeError::TooDeep => "depth",
            DecodeError::TrailingBytes { .. } => "trailing",
            DecodeError::Truncated => "truncated",
            other => panic!("{vector}: {other}"),
        };
        assert_eq!(vector["why"], why, "{vector}");
    }
}
