use proptest::{collection::vec, prelude::*, sample::Index};

use super::{super::DecodeError, MAX_DEPTH, Map, Value, ValueError, map, nested, properties::values};

fn written(map: &Map) -> Vec<u8> {
    let mut bytes = Vec::new();
    map.write_msgpack(&mut bytes).unwrap();
    bytes
}

#[test]
fn each_fault_has_its_error() {
    use DecodeError::*;
    let faults: [(&[u8], DecodeError); 26] = [
        (b"", Truncated),
        (b"\x81", Truncated),
        (b"\x81\xa1a", Truncated),
        (b"\x81\xa2a", Truncated),
        (b"\x81\xa1a\xcb\0\0\0", Truncated),
        (b"\x81\xa1a\xd9", Truncated),
        (b"\x81\xa1a\xc4\x02a", Truncated),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", Truncated),
        (b"\x81\xa1a\xdf\xff\xff\xff\xff", Truncated),
        (b"\x81\xa1a\xdb\xff\xff\xff\xff", Truncated),
        (b"\x81\xa1a\xc6\xff\xff\xff\xff", Truncated),
        (b"\xdf\xff\xff\xff\xff", Truncated),
        (b"\x80\x80\0", TrailingBytes { len: 2 }),
        (b"\x91\xa1a", NotAMap { found: "list" }),
        (b"\xc0", NotAMap { found: "null" }),
        (b"\x07", NotAMap { found: "integer" }),
        (b"\x81\x01\xa1x", KeyNotAString { found: "integer" }),
        (b"\x81\xa1a\x81\xc3\xa1x", KeyNotAString { found: "boolean" }),
        (b"\x81\xc4\x01a\xa1x", KeyNotAString { found: "bytes" }),
        (b"\x81\x90\xa1x", KeyNotAString { found: "list" }),
        (b"\x81\xa1a\xa3\xed\xa0\xbd", InvalidUtf8), // half a pair, as Python's `surrogatepass` writes it
        (b"\x81\xa1\xff\xc0", InvalidUtf8),
        (b"\x81\xa1a\xd6\xff\0\0\0\x01", Extension { kind: -1 }), // a timestamp
        (b"\x81\xd4\x05\0\xc0", Extension { kind: 5 }),
        (b"\x81\xa1a\xc8\0\x01\x07\0", Extension { kind: 7 }),
        (b"\x81\xa1a\xc1", Reserved),
    ];
    for (bytes, error) in faults {
        assert_eq!(Map::from_msgpack(bytes), Err(error), "{bytes:x?}");
    }
}

#[test]
fn reads_every_form() {
    let forms: [(&[u8], Value); 18] = [
        (b"\xcc\x05", 5.into()),
        (b"\xcd\0\x05", 5.into()),
        (b"\xce\0\0\0\x05", 5.into()),
        (b"\xcf\0\0\0\0\0\0\0\x05", 5.into()),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", u64::MAX.into()),
        (b"\xd0\x05", 5.into()),
        (b"\xd1\xff\xfb", (-5).into()),
        (b"\xd2\xff\xff\xff\xfb", (-5).into()),
        (b"\xd3\xff\xff\xff\xff\xff\xff\xff\xfb", (-5).into()),
        (b"\xca\x3f\xc0\0\0", 1.5.into()),
        (b"\xd9\x01x", "x".into()),
        (b"\xda\0\x01x", "x".into()),
        (b"\xdb\0\0\0\x01x", "x".into()),
        (b"\xc5\0\x01x", Value::bytes("x")),
        (b"\xc6\0\0\0\x01x", Value::bytes("x")),
        (b"\xdc\0\x01\xc3", Value::list([true])),
        (b"\xdd\0\0\0\x01\xc3", Value::list([true])),
        (b"\xde\0\x01\xa1k\xc2", map([("k", false.into())]).into()),
    ];
    for (bytes, value) in forms {
        let read = Map::from_msgpack(&[b"\x81\xa1v", bytes].concat()).unwrap();
        assert_eq!(read["v"], value, "{bytes:x?}");
        let canonical = !matches!(read["v"], Value::U64(number) if i64::try_from(number).is_ok());
        assert!(canonical, "{bytes:x?}");
    }
}

#[test]
fn nests_to_the_limit() {
    let with = |levels: usize| [b"\x81\xa1a".as_slice(), &vec![0x91; levels - 1], b"\x90"].concat();
    let deepest = map([("a", nested(MAX_DEPTH - 1))]);
    assert_eq!(Map::from_msgpack(&with(MAX_DEPTH - 1)).as_ref(), Ok(&deepest));
    assert_eq!(written(&deepest), with(MAX_DEPTH - 1));
    for levels in [MAX_DEPTH, 100_000] {
        assert_eq!(Map::from_msgpack(&with(levels)), Err(DecodeError::TooDeep));
    }
    assert_eq!(Map::from_msgpack(&b"\x81\xa1a".repeat(100_000)), Err(DecodeError::TooDeep));
    let mut bytes = b"before".to_vec();
    let too_deep = map([("a", nested(MAX_DEPTH))]);
    assert_eq!(too_deep.write_msgpack(&mut bytes), Err(ValueError::TooDeep));
    assert_eq!(bytes, b"before");
}

/// The items of an outer list count against the bytes that an inner one announces.
#[test]
fn lengths_must_fit_the_input() {
    let nest =
        |outer: u8, rest: &[u8]| Map::from_msgpack(&[&[0x81, 0xa1, b'a', 0x90 | outer], rest].concat());
    assert!(nest(2, b"\x91\xc0\xc0").is_ok());
    assert_eq!(nest(3, b"\x92\xc0\xc0\xc0"), Err(DecodeError::Truncated));
    assert!(nest(3, b"\x92\xc0\xc0\xc0\xc0").is_ok());
    assert!(nest(2, b"\x81\xa0\xc0\xc0").is_ok());
    assert_eq!(nest(2, b"\x81\xa0\xc0"), Err(DecodeError::Truncated));
}

#[test]
fn repeated_keys_keep_the_last() {
    let read = Map::from_msgpack(b"\x83\xa1a\x01\xa1b\x02\xa1a\x03").unwrap();
    assert_eq!(written(&read), b"\x82\xa1a\x03\xa1b\x02");
}

proptest! {
    #[test]
    fn writes_like_serde(value in values()) {
        let map = map([("v", value)]);
        let bytes = written(&map);
        prop_assert_eq!(&bytes, &rmp_serde::to_vec(&map).unwrap());
        prop_assert_eq!(bytes.len(), map.size());
        prop_assert_eq!(Map::from_msgpack(&bytes), Ok(map));
    }

    #[test]
    fn rejects_cut_input(value in values(), cut in any::<Index>()) {
        let bytes = written(&map([("v", value)]));
        let end = cut.index(bytes.len());
        prop_assert_eq!(Map::from_msgpack(&bytes[..end]), Err(DecodeError::Truncated));
    }

    /// Compares with serde, apart from input that only this decoder refuses.
    #[test]
    fn reads_changed_bytes_like_serde(value in values(), at in any::<Index>(), byte in any::<u8>()) {
        let mut bytes = written(&map([("v", value)]));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(map) = Map::from_msgpack(&bytes) {
            let theirs = rmp_serde::from_slice::<Map>(&bytes).unwrap();
            prop_assert_eq!(written(&map), written(&theirs));
        }
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(map) = Map::from_msgpack(&[b"\x81\xa1v", &bytes[..]].concat()) {
            prop_assert_eq!(map.len(), 1);
        }
    }
}
