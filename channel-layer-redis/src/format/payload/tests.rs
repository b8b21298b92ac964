use channel_layer::{RESERVED_KEY, value::MAX_DEPTH};
use proptest::prelude::*;

use super::{
    super::serializer::{MessageSerializer, Serializer},
    *,
};

fn plain(serializer: Serializer) -> PayloadFormat {
    PayloadFormat {
        codec: MessageCodec::BuiltIn(serializer),
        keys: Keyring::default(),
        random_prefix: 0,
        lifetime: None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn message(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Message {
    Message::try_from(Map::from_iter(entries)).unwrap()
}

#[test]
fn msgpack_equals_pythons() {
    let msgpack = |entries: Vec<(&'static str, Value)>| {
        hex(&plain(Serializer::Msgpack).encode(&message(entries), None).unwrap())
    };
    assert_eq!(msgpack(vec![("type", "a".into())]), "81a474797065a161");
    let nested = vec![
        ("a", true.into()),
        ("b", Value::Null),
        ("c", Map::from([("d", Value::List(Vec::new()))]).into()),
    ];
    assert_eq!(msgpack(nested), "83a161c3a162c0a16381a16490");
    let all = vec![
        ("n", Value::Null),
        ("t", true.into()),
        ("f", 1.0.into()),
        ("i", (-1).into()),
        ("s", "x".repeat(40).into()),
        ("l", Value::list([1, 2])),
        ("b", Value::bytes(*b"ab")),
    ];
    let xs = "78".repeat(40);
    assert_eq!(
        msgpack(all),
        format!("87a16ec0a174c3a166cb3ff0000000000000a169ffa173d928{xs}a16c920102a162c4026162")
    );
}

#[test]
fn json_equals_pythons() {
    let message = message([("type", "t".into()), ("s", "é".into())]);
    let bytes = plain(Serializer::Json).encode(&message, None).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), r#"{"type": "t", "s": "\u00e9"}"#);
}

#[test]
fn a_recorded_send_is_equal() {
    let channel = "specific.d8fbca3e8d8c41cea5224f8254444cb0!8c79000677f04de6936f20d6e2eadb92";
    let message = Message::new("x");
    let to = (RESERVED_KEY, &Value::from(channel));
    let sent = plain(Serializer::Msgpack).encode(&message, Some(to)).unwrap();
    let recorded = [b"\x82\xa4type\xa1x\xb0__asgi_channel__\xd9J".as_slice(), channel.as_bytes()].concat();
    assert_eq!(sent, recorded);
    let json = plain(Serializer::Json).encode(&message, Some(to)).unwrap();
    assert_eq!(json, format!(r#"{{"type": "x", "__asgi_channel__": "{channel}"}}"#).into_bytes());
}

#[test]
fn recorded_group_sends_are_equal() {
    let names = [
        "specific.d8fbca3e8d8c41cea5224f8254444cb0!8c79000677f04de6936f20d6e2eadb92",
        "specific.d8fbca3e8d8c41cea5224f8254444cb0!e0968291d9774c9988631ce83348d147",
    ];
    let message = Message::new("m").with("t", "hi");
    let encode = |names: &[&str]| {
        let names = Value::list(names.iter().copied());
        plain(Serializer::Msgpack).encode(&message, Some((RESERVED_KEY, &names))).unwrap()
    };
    let head = b"\x83\xa4type\xa1m\xa1t\xa2hi\xb0__asgi_channel__".as_slice();
    let [one, two] = names.map(str::as_bytes);
    assert_eq!(encode(&names), [head, b"\x92\xd9J", one, b"\xd9J", two].concat());
    assert_eq!(encode(&["general"]), [head, b"\x91\xa7general"].concat());
}

#[test]
fn an_entry_is_added_at_any_size() {
    for count in [0, 1, 15, 16, 17, 65_535, 65_536] {
        let map: Map = (0..count).map(|n| (n.to_string(), Value::from(n))).collect();
        let message = Message::try_from(map.clone()).unwrap();
        for serializer in [Serializer::Json, Serializer::Msgpack] {
            let extra = Value::list(["a", "b"]);
            let bytes = plain(serializer).encode(&message, Some((RESERVED_KEY, &extra))).unwrap();
            let mut read = plain(serializer).decode(&bytes).unwrap();
            assert_eq!(read.remove(RESERVED_KEY), Some(extra), "{count}");
            assert_eq!(read, map);
        }
    }
}

#[test]
fn the_prefix_is_not_encrypted() {
    let keys = Keyring::new(["key"]);
    let payload = PayloadFormat { keys: keys.clone(), random_prefix: 8, ..plain(Serializer::Json) };
    let bytes = payload.encode(&Message::new("x"), None).unwrap();
    assert_eq!(keys.decrypt(&bytes[8..], None).unwrap(), br#"{"type": "x"}"#);
    assert_eq!(payload.decode(&bytes).unwrap(), *Message::new("x").map());
    assert_ne!(bytes, payload.encode(&Message::new("x"), None).unwrap());
    assert!(payload.decode(&bytes[..7]).is_err());
}

#[test]
fn values_round_trip() {
    let deepest = (2..MAX_DEPTH).fold(Value::list([1]), |inner, _| Value::List(vec![inner]));
    let values = [
        f64::NAN.into(),
        f64::INFINITY.into(),
        f64::NEG_INFINITY.into(),
        f64::MIN_POSITIVE.into(),
        (-0.0).into(),
        i64::MIN.into(),
        u64::MAX.into(),
        "\u{fffd}\u{10ffff}\0\u{7f}\u{2028}".into(),
        Value::Map(Map::from([("", Value::Null), ("\"\\é", Value::List(Vec::new()))])),
        deepest,
    ];
    for value in values {
        let message = message([("v", value)]);
        for serializer in [Serializer::Json, Serializer::Msgpack] {
            let payload = plain(serializer);
            let bytes = payload.encode(&message, Some((RESERVED_KEY, &"to".into()))).unwrap();
            let mut read = payload.decode(&bytes).unwrap();
            read.remove(RESERVED_KEY);
            // As text, since no NaN is equal to itself.
            assert_eq!(format!("{read:?}"), format!("{:?}", message.map()));
        }
    }
}

/// JSON, reversed. Refuses messages with an entry `secret`.
struct Reversed;

impl MessageSerializer for Reversed {
    fn encode(&self, message: &Map) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        if message.contains_key("secret") {
            return Err("a secret".into());
        }
        Ok(message.to_json()?.bytes().rev().collect())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Map, Box<dyn std::error::Error + Send + Sync>> {
        let bytes: Vec<_> = bytes.iter().rev().copied().collect();
        Ok(Map::from_json(&bytes)?)
    }
}

#[test]
fn custom_encodings_are_wrapped_alike() {
    let keys = Keyring::new(["key"]);
    let codec = MessageCodec::Custom(std::sync::Arc::new(Reversed));
    let payload = PayloadFormat { random_prefix: 8, ..PayloadFormat::new(codec, keys.clone()) };
    let (message, to) = (Message::new("x"), (RESERVED_KEY, &Value::from("to")));
    let bytes = payload.encode(&message, Some(to)).unwrap();
    let plain = keys.decrypt(&bytes[8..], None).unwrap();
    assert_eq!(plain, br#"}"ot" :"__lennahc_igsa__" ,"x" :"epyt"{"#);
    let mut read = payload.decode(&bytes).unwrap();
    assert_eq!(read.remove(RESERVED_KEY), Some("to".into()));
    assert_eq!(read, *message.map());
    let refused = payload.encode(&Message::new("x").with("secret", 1), None);
    assert!(matches!(refused, Err(Error::InvalidMessage(_))), "{refused:?}");
    let unreadable = payload.decode(&[&[0; 8], &keys.encrypt(b"x").unwrap()[..]].concat());
    assert!(matches!(unreadable, Err(PayloadError::Message(MessageError::Custom(_)))), "{unreadable:?}");
}

#[test]
fn odd_msgpack_is_an_error() {
    for odd in [
        &b"\x81\x01\xa1x"[..],          // {1: "x"}
        b"\x81\xa1a\x81\xc3\xa1x",      // {"a": {True: "x"}}
        b"\x81\xc4\x01a\xa1x",          // {b"a": "x"}
        b"\x81\xa1a\xa3\xed\xa0\xbd",   // half a pair, as `surrogatepass` writes it
        b"\x81\xa1a\xa1\xff",           // no UTF-8
        b"\x81\xa1a\xd6\xff\0\0\0\x01", // a timestamp
        b"\x91\xa1a",                   // no map
        b"\x81\xa1a",                   // cut
        b"\x80\x80",                    // more behind it
        b"",
    ] {
        let read = plain(Serializer::Msgpack).decode(odd);
        assert!(matches!(read, Err(PayloadError::Message(_))), "{odd:?}");
    }
}

#[test]
fn json_cannot_hold_bytes() {
    let message = message([("b", Value::bytes([1]))]);
    assert!(matches!(plain(Serializer::Json).encode(&message, None), Err(Error::InvalidMessage(_))));
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for serializer in [Serializer::Json, Serializer::Msgpack] {
            let _ = plain(serializer).decode(&bytes);
            let keyed = PayloadFormat { keys: Keyring::new(["k"]), random_prefix: 3, ..plain(serializer) };
            let _ = keyed.decode(&bytes);
        }
    }

    /// Compares all bits: Python writes the shortest digits that restore a float.
    #[test]
    fn floats_round_trip(bits in any::<u64>()) {
        let float = f64::from_bits(bits);
        prop_assume!(float.is_finite());
        for serializer in [Serializer::Json, Serializer::Msgpack] {
            let payload = plain(serializer);
            let map = payload.decode(&payload.encode(&message([("f", float.into())]), None).unwrap()).unwrap();
            prop_assert_eq!(map["f"].as_f64().map(f64::to_bits), Some(bits));
        }
    }
}
