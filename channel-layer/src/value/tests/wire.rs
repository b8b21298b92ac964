use super::{Map, Value, map};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn packed(value: &Value) -> String {
    let bytes = rmp_serde::to_vec_named(value).unwrap();
    assert_eq!(rmp_serde::from_slice::<Value>(&bytes).unwrap(), *value);
    hex(&bytes)
}

fn unpack(bytes: &[u8]) -> Result<Value, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

#[test]
fn msgpack_matches_python() {
    let small = map([("type", "a".into())]);
    assert_eq!(packed(&small.into()), "81a474797065a161");

    let inner = map([("d", Value::List(vec![]))]);
    let nested = map([("a", true.into()), ("b", Value::Null), ("c", inner.into())]);
    assert_eq!(packed(&nested.into()), "83a161c3a162c0a16381a16490");

    let kinds = map([
        ("n", Value::Null),
        ("t", true.into()),
        ("f", 1.0.into()),
        ("i", (-1).into()),
        ("s", "x".repeat(40).into()),
        ("l", Value::list([1, 2])),
        ("b", Value::bytes("ab")),
    ]);
    let text = "78".repeat(40);
    let expected = format!("87a16ec0a174c3a166cb3ff0000000000000a169ffa173d928{text}a16c920102a162c4026162");
    assert_eq!(packed(&kinds.into()), expected);
}

#[test]
fn integers_take_the_smallest_form() {
    let forms = [
        (Value::from(127), "7f"),
        (Value::from(128), "cc80"),
        (Value::from(256), "cd0100"),
        (Value::from(65_536), "ce00010000"),
        (Value::from(1_u64 << 32), "cf0000000100000000"),
        (Value::from(u64::MAX), "cfffffffffffffffff"),
        (Value::from(-32), "e0"),
        (Value::from(-33), "d0df"),
        (Value::from(-129), "d1ff7f"),
        (Value::from(i64::MIN), "d38000000000000000"),
    ];
    for (value, form) in forms {
        assert_eq!(packed(&value), form);
    }
}

#[test]
fn msgpack_keeps_key_order() {
    let bytes = rmp_serde::to_vec_named(&map([("z", 1.into()), ("a", 2.into())])).unwrap();
    assert_eq!(hex(&bytes), "82a17a01a16102");
    let back: Map = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(back.keys().collect::<Vec<_>>(), ["z", "a"]);
}

#[test]
fn msgpack_keeps_kinds_apart() {
    assert!(matches!(unpack(b"\xa2ab"), Ok(Value::Str(text)) if text == "ab"));
    assert!(matches!(unpack(b"\xc4\x02ab"), Ok(Value::Bytes(bytes)) if bytes == b"ab"));
    assert!(matches!(unpack(b"\x01"), Ok(Value::I64(1))));
    assert!(matches!(unpack(b"\xd3\0\0\0\0\0\0\0\x01"), Ok(Value::I64(1))));
    assert!(matches!(unpack(b"\xcf\0\0\0\0\0\0\0\x01"), Ok(Value::I64(1))));
    assert!(matches!(unpack(b"\xcb\x3f\xf0\0\0\0\0\0\0"), Ok(Value::F64(1.0))));
    assert!(matches!(unpack(b"\xca\x3f\x80\0\0"), Ok(Value::F64(1.0))));
    let nan = unpack(&rmp_serde::to_vec(&Value::F64(f64::NAN)).unwrap());
    assert!(matches!(nan, Ok(Value::F64(value)) if value.is_nan()));
}

#[test]
fn rejects_other_msgpack_keys() {
    let keys: [&[u8]; 4] = [b"\x81\x01\x02", b"\x81\xc4\x01a\x02", b"\x81\xc0\x02", b"\x81\x90\x02"];
    for bytes in keys {
        let value = unpack(bytes).unwrap_err().to_string();
        assert!(value.contains("expected string as map key"), "{value}");
        let map = rmp_serde::from_slice::<Map>(bytes).unwrap_err().to_string();
        assert!(map.contains("expected string as map key"), "{map}");
    }
}

#[test]
fn rejects_extension_types() {
    assert!(unpack(b"\xd4\x01\x00").is_err());
    assert!(unpack(b"\x91\xd6\xff\0\0\0\0").is_err());
}

#[test]
fn forged_lengths_allocate_nothing() {
    assert!(unpack(b"\xdd\xff\xff\xff\xff").is_err());
    assert!(unpack(b"\xdf\xff\xff\xff\xff").is_err());
    assert!(unpack(b"\xdb\xff\xff\xff\xff").is_err());
    assert!(unpack(b"\xc6\xff\xff\xff\xff").is_err());
}

#[test]
fn only_maps_read_as_maps() {
    assert!(rmp_serde::from_slice::<Map>(b"\x91\x01").is_err());
    assert!(rmp_serde::from_slice::<Map>(b"\xc0").is_err());
    assert!(serde_json::from_str::<Map>("[1]").is_err());
}

#[test]
fn repeated_keys_keep_the_last() {
    let map: Map = serde_json::from_str(r#"{"a": 1, "b": 2, "a": 3}"#).unwrap();
    assert_eq!(serde_json::to_string(&map).unwrap(), r#"{"a":3,"b":2}"#);
    let map: Map = rmp_serde::from_slice(b"\x82\xa1a\x01\xa1a\x02").unwrap();
    assert_eq!(map, super::map([("a", 2.into())]));
}

#[test]
fn json_round_trips() {
    let text = r#"{"z":null,"a":[true,-1,18446744073709551615,1.0,2.5],"m":{"é":"\"x\""},"e":{},"l":[]}"#;
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), text);
    assert!(matches!(value.as_map().unwrap()["a"].as_list().unwrap()[3], Value::F64(1.0)));
}

#[test]
fn bytes_become_a_json_list() {
    let text = serde_json::to_string(&Value::bytes("ab")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), Value::list([97, 98]));
}
