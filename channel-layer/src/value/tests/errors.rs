use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, Error},
};
use serde_bytes::{ByteBuf, Bytes};

use super::{Map, Value, ValueError, from_value, map, to_value};

/// A text in place of user input, which no error may repeat.
const SECRET: &str = "secret";

#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "type")]
enum Event {
    #[serde(rename = "chat.message")]
    Message { text: String },
    #[serde(rename = "chat.leave")]
    Leave,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Strict {
    #[serde(alias = "also")]
    id: u8,
}

fn error<T: DeserializeOwned + fmt::Debug>(value: impl Into<Value>) -> ValueError {
    from_value::<T>(value.into()).unwrap_err()
}

#[track_caller]
fn wrong_type<T: DeserializeOwned + fmt::Debug>(value: impl Into<Value>, found: &str) {
    match error::<T>(value) {
        ValueError::InvalidType { found: kind, .. } => assert_eq!(kind, found),
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_types_are_named() {
    let unknown = ValueError::UnknownVariant {
        variant: "chat_message".into(),
        expected: &["chat.message", "chat.leave"],
    };
    let message = map([("text", "hi".into()), ("type", "chat_message".into())]);
    assert_eq!(Event::deserialize(&message), Err(unknown.clone()));
    assert_eq!(Event::deserialize(&Value::from(message.clone())), Err(unknown.clone()));
    assert_eq!(from_value::<Event>(message.into()), Err(unknown.clone()));
    assert_eq!(
        unknown.to_string(),
        r#"variant "chat_message" is unknown, expected `chat.message`, `chat.leave`"#
    );
}

#[test]
fn unknown_variants_are_named() {
    #[derive(Debug, Deserialize)]
    enum External {
        A,
    }
    #[derive(Debug, Deserialize)]
    #[serde(tag = "t", content = "c")]
    enum Adjacent {
        A,
    }
    let unknown = ValueError::UnknownVariant { variant: "B".into(), expected: &["A"] };
    assert!(matches!(from_value("A".into()), Ok(External::A)));
    assert!(matches!(from_value(map([("t", "A".into())]).into()), Ok(Adjacent::A)));
    assert_eq!(error::<External>("B"), unknown);
    assert_eq!(error::<External>(map([("B", 1.into())])), unknown);
    assert_eq!(error::<Adjacent>(map([("t", "B".into())])), unknown);
}

#[test]
fn rejects_types_other_than_text() {
    assert_eq!(error::<Event>(map([])), ValueError::MissingField { field: "type" });
    wrong_type::<Event>(map([("type", 0.into())]), "integer");
    wrong_type::<Event>(map([("type", Value::bytes("chat.leave"))]), "bytes");
    wrong_type::<Event>(map([("type", Value::Null)]), "null");
}

#[test]
fn rejects_other_kinds() {
    wrong_type::<u8>(1.0, "float");
    wrong_type::<i64>("1", "string");
    wrong_type::<i64>(true, "boolean");
    wrong_type::<f64>("1.0", "string");
    wrong_type::<bool>(1, "integer");
    wrong_type::<String>(Value::bytes("a"), "bytes");
    wrong_type::<String>(1, "integer");
    wrong_type::<char>(Value::bytes("a"), "bytes");
    wrong_type::<ByteBuf>("a", "string");
    wrong_type::<Vec<u8>>(Value::bytes("a"), "bytes");
    wrong_type::<Vec<u8>>("a", "string");
    wrong_type::<()>(0, "integer");
    wrong_type::<String>(Value::Null, "null");
    wrong_type::<Strict>(Value::Null, "null");
    wrong_type::<BTreeMap<String, u8>>(Value::list([1]), "list");
    wrong_type::<Vec<u8>>(map([]), "map");
    wrong_type::<Map>(Value::list([1]), "list");
}

#[test]
fn checks_integer_range() {
    let out_of_range = |error| matches!(error, ValueError::InvalidValue { found: "integer", .. });
    assert!(out_of_range(error::<u8>(256)));
    assert!(out_of_range(error::<u64>(-1)));
    assert!(out_of_range(error::<i64>(u64::MAX)));
    assert!(out_of_range(error::<i8>(-129)));
    assert_eq!(error::<u8>(256).to_string(), "expected u8, found another integer");
}

#[test]
fn rejects_large_128_bit_integers() {
    assert_eq!(to_value(&(i128::from(u64::MAX))), Ok(u64::MAX.into()));
    assert_eq!(to_value(&(i128::from(u64::MAX) + 1)), Err(ValueError::NumberOutOfRange));
    assert_eq!(to_value(&(i128::from(i64::MIN))), Ok(i64::MIN.into()));
    assert_eq!(to_value(&(i128::from(i64::MIN) - 1)), Err(ValueError::NumberOutOfRange));
    assert_eq!(to_value(&u128::MAX), Err(ValueError::NumberOutOfRange));
}

#[test]
fn rejects_keys_other_than_text() {
    #[derive(Eq, Ord, PartialEq, PartialOrd, Serialize)]
    struct Id(u32);
    fn found<K: Serialize + Ord>(key: K) -> &'static str {
        match to_value(&BTreeMap::from([(key, 1)])) {
            Err(ValueError::KeyNotAString { found }) => found,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(found(1_u8), "integer");
    assert_eq!(found(-1_i64), "integer");
    assert_eq!(found(Id(1)), "integer");
    assert_eq!(found(true), "boolean");
    assert_eq!(found(()), "null");
    assert_eq!(found(Some("a")), "option");
    assert_eq!(found(None::<&str>), "null");
    assert_eq!(found(["a"]), "list");
    assert_eq!(found(Bytes::new(b"a")), "bytes");
    let error = ValueError::KeyNotAString { found: "integer" };
    assert_eq!(error.to_string(), "map keys must be strings, found integer");
}

#[test]
fn number_keys_are_not_parsed() {
    assert!(matches!(
        error::<BTreeMap<u8, u8>>(map([("1", 1.into())])),
        ValueError::InvalidType { found: "string", .. }
    ));
}

#[test]
fn fields_are_named() {
    assert_eq!(error::<Strict>(map([])), ValueError::MissingField { field: "id" });
    let twice = map([("id", 1.into()), ("also", 2.into())]);
    assert_eq!(error::<Strict>(twice), ValueError::DuplicateField { field: "id" });
    let unknown = error::<Strict>(map([("nope", 1.into())]));
    assert_eq!(unknown.to_string(), r#"field "nope" is unknown, expected `also`, `id`"#);
}

#[test]
fn lengths_must_fit() {
    let length = |value: Value| match error::<(u8, u8)>(value) {
        ValueError::InvalidLength { len, expected } => (len, expected),
        other => panic!("{other:?}"),
    };
    assert_eq!(length(Value::list([1])), (1, "a tuple of size 2".into()));
    assert_eq!(length(Value::list([1, 2, 3])), (3, "only 2".into()));
}

#[test]
fn variants_need_their_content() {
    #[derive(Debug, Deserialize, PartialEq)]
    enum Shape {
        Point,
        Circle(u8),
        Pair(u8, u8),
        Rect { w: u8 },
    }
    assert_eq!(from_value(map([("Circle", 1.into())]).into()), Ok(Shape::Circle(1)));
    assert_eq!(from_value(map([("Pair", Value::list([1, 2]))]).into()), Ok(Shape::Pair(1, 2)));
    assert_eq!(from_value(map([("Rect", map([("w", 1.into())]).into())]).into()), Ok(Shape::Rect { w: 1 }));
    assert_eq!(from_value("Point".into()), Ok(Shape::Point));
    for bare in ["Circle", "Pair", "Rect"] {
        wrong_type::<Shape>(bare, "unit variant");
    }
    wrong_type::<Shape>(map([("Point", 1.into())]), "integer");
    wrong_type::<Shape>(map([("Pair", map([]).into())]), "map");
    wrong_type::<Shape>(1, "integer");
    let two = error::<Shape>(map([("Circle", 1.into()), ("Point", Value::Null)]));
    assert_eq!(two, ValueError::InvalidLength { len: 2, expected: "map with a single key".into() });
    assert!(matches!(error::<Shape>(map([])), ValueError::InvalidLength { len: 0, .. }));
}

#[test]
fn errors_hide_contents() {
    let secrets = [Value::from(SECRET), Value::bytes(SECRET), Value::from(map([("text", SECRET.into())]))];
    for secret in secrets {
        let field = map([("type", "chat.message".into()), ("text", Value::list([secret.clone()]))]);
        let errors = [
            error::<u8>(secret.clone()),
            error::<(u8, u8)>(secret.clone()),
            error::<char>(secret.clone()),
            error::<Option<bool>>(secret.clone()),
            error::<Vec<u8>>(Value::list([secret])),
            error::<Event>(field),
        ];
        for error in errors {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(SECRET), "{shown}");
        }
    }
    let numbers = [error::<u8>(123_456), error::<bool>(123_456.5), error::<i32>(-123_456_000_000_i64)];
    for error in numbers {
        assert!(!format!("{error} {error:?}").contains("123456"));
    }
}

#[test]
fn errors_escape_and_cut_names() {
    let shown = error::<Event>(map([("type", "a\nERROR forged".into())])).to_string();
    assert!(shown.starts_with(r#"variant "a\nERROR forged" is"#), "{shown}");
    let long = error::<Event>(map([("type", "é".repeat(1000).into())]));
    assert!(long.to_string().contains(&format!("\"{}\"...", "é".repeat(64))));
    let ValueError::UnknownVariant { variant, .. } = long else { panic!("{long:?}") };
    assert_eq!(variant.chars().count(), 1000);
}

#[test]
fn custom_errors_keep_their_text() {
    #[derive(Debug)]
    struct Picky;
    impl<'de> Deserialize<'de> for Picky {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(D::Error::custom("not today"))
        }
    }
    assert_eq!(error::<Picky>(1), ValueError::Custom("not today".into()));
}

#[test]
fn values_and_errors_are_send() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Value>();
    crosses::<ValueError>();
}
