use super::{Map, Value, map};

#[test]
fn integers_are_canonical() {
    assert!(matches!(Value::from(5_u64), Value::I64(5)));
    assert!(matches!(Value::from(5_usize), Value::I64(5)));
    assert!(matches!(Value::from(i64::MAX as u64), Value::I64(i64::MAX)));
    assert!(matches!(Value::from(i64::MAX as u64 + 1), Value::U64(_)));
    assert!(matches!(Value::from(-1_i8), Value::I64(-1)));
}

#[test]
fn integers_compare_by_value() {
    assert_eq!(Value::U64(5), Value::I64(5));
    assert_eq!(Value::I64(5), Value::U64(5));
    assert_ne!(Value::I64(-1), Value::U64(u64::MAX));
    assert_ne!(Value::U64(u64::MAX), Value::I64(-1));
    assert_eq!(Value::U64(5).as_i64(), Some(5));
}

#[test]
fn kinds_are_never_equal() {
    let kinds = [
        Value::Null,
        Value::from(false),
        Value::from(0),
        Value::from(0.0),
        Value::from(""),
        Value::bytes(""),
        Value::List(vec![]),
        Value::from(Map::new()),
    ];
    for (i, a) in kinds.iter().enumerate() {
        for (j, b) in kinds.iter().enumerate() {
            assert_eq!(a == b, i == j, "{} and {}", a.kind(), b.kind());
        }
    }
}

#[test]
fn accessors_check_the_kind() {
    assert_eq!(Value::from("a").as_str(), Some("a"));
    assert_eq!(Value::from("a").as_bytes(), None);
    assert_eq!(Value::bytes("a").as_bytes(), Some(&b"a"[..]));
    assert_eq!(Value::bytes("a").as_str(), None);
    assert_eq!(Value::from(true).as_bool(), Some(true));
    assert_eq!(Value::from(1).as_bool(), None);
    assert_eq!(Value::from(1).as_f64(), Some(1.0));
    assert_eq!(Value::from(1.0).as_i64(), None);
    assert_eq!(Value::from(1.0).as_u64(), None);
    assert_eq!(Value::from(-1).as_u64(), None);
    assert_eq!(Value::from(u64::MAX).as_i64(), None);
    assert_eq!(Value::from(u64::MAX).as_u64(), Some(u64::MAX));
    assert_eq!(Value::list([1, 2]).as_list(), Some(&[Value::from(1), Value::from(2)][..]));
    assert_eq!(Value::list([1]).as_map(), None);
    assert_eq!(Value::from(map([])).as_map(), Some(&Map::new()));
    assert!(Value::from(None::<&str>).is_null());
    assert_eq!(Value::from(Some("a")), Value::from("a"));
}

#[test]
fn maps_keep_insertion_order() {
    let mut map = map([("z", 1.into()), ("a", 2.into()), ("m", 3.into())]);
    assert_eq!(map.insert("z", 4), Some(1.into()));
    assert_eq!(map.insert("b", 5), None);
    assert_eq!(map.keys().collect::<Vec<_>>(), ["z", "a", "m", "b"]);
    assert_eq!(map.remove("a"), Some(2.into()));
    assert_eq!(map.remove("a"), None);
    assert_eq!(map.keys().collect::<Vec<_>>(), ["z", "m", "b"]);
    map.extend([("c", 6)]);
    assert_eq!(map.values().filter_map(Value::as_i64).collect::<Vec<_>>(), [4, 3, 5, 6]);
    assert_eq!(map.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["z", "m", "b", "c"]);
}

#[test]
fn map_equality_ignores_order() {
    assert_eq!(map([("a", 1.into()), ("b", 2.into())]), map([("b", 2.into()), ("a", 1.into())]));
    assert_ne!(map([("a", 1.into())]), map([("a", 2.into())]));
    assert_ne!(map([("a", 1.into())]), map([("a", 1.into()), ("b", 2.into())]));
}

#[test]
fn maps_change_in_place() {
    let mut map = map([("a", 1.into()), ("b", 2.into())]);
    *map.get_mut("a").unwrap() = Value::Null;
    assert!(map.get_mut("c").is_none());
    for (key, value) in map.iter_mut() {
        if key == "b" {
            *value = 3.into();
        }
    }
    assert!(map.contains_key("a") && map["a"].is_null());
    assert_eq!(map["b"], Value::from(3));
}

#[test]
fn absent_keys_read_as_null() {
    let map = Map::new();
    assert!(map["absent"].is_null());
    assert_eq!(map.get("absent"), None);
    assert!(!map.contains_key("absent"));
    assert!(map.is_empty());
}

#[test]
fn debug_shows_a_map() {
    assert_eq!(format!("{:?}", map([("a", true.into())])), r#"{"a": Bool(true)}"#);
}

#[test]
fn size_matches_msgpack_headers() {
    let lengths = [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536];
    let edges = [1_i64 << 5, 1 << 7, 1 << 8, 1 << 15, 1 << 16, 1 << 31, 1 << 32, i64::MAX];
    let strings = lengths.iter().map(|len| Value::from("x".repeat(*len)));
    let bytes = lengths.iter().map(|len| Value::bytes(vec![0; *len]));
    let lists = lengths.iter().map(|len| Value::list(vec![true; *len]));
    let maps = lengths.iter().map(|len| Value::from(Map::from_iter((0..*len).map(|i| (i.to_string(), i)))));
    let integers = edges.iter().flat_map(|n| [*n, n - 1, -n, -n - 1]).chain([0, i64::MIN]).map(Value::from);
    let others = [Value::Null, true.into(), 1.5.into(), u64::MAX.into(), (i64::MAX as u64 + 1).into()];
    for value in strings.chain(bytes).chain(lists).chain(maps).chain(integers).chain(others) {
        assert_eq!(value.size(), rmp_serde::to_vec(&value).unwrap().len(), "{}", value.kind());
    }
}
