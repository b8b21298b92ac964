use proptest::{
    collection::{btree_map, vec},
    num::f64,
    prelude::*,
};

use super::{Map, Value, from_value, to_value};

/// Any value but a NaN, which equals nothing.
pub(super) fn values() -> impl Strategy<Value = Value> {
    let floats = f64::POSITIVE | f64::NEGATIVE | f64::NORMAL | f64::SUBNORMAL | f64::ZERO | f64::INFINITE;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        (0..300_u64).prop_map(Value::U64),
        floats.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        vec(any::<u8>(), 0..40).prop_map(Value::bytes),
    ];
    leaf.prop_recursive(6, 64, 20, |inside| {
        prop_oneof![
            vec(inside.clone(), 0..20).prop_map(Value::from),
            btree_map(any::<String>(), inside, 0..20).prop_map(|map| Value::from(Map::from_iter(map))),
        ]
    })
}

/// Whether every integer has its one form, which equality does not tell.
fn canonical(value: &Value) -> bool {
    match value {
        Value::U64(value) => i64::try_from(*value).is_err(),
        Value::List(items) => items.iter().all(canonical),
        Value::Map(map) => map.values().all(canonical),
        _ => true,
    }
}

proptest! {
    #[test]
    fn msgpack_round_trips(value in values()) {
        let bytes = rmp_serde::to_vec_named(&value).unwrap();
        let back: Value = rmp_serde::from_slice(&bytes).unwrap();
        prop_assert_eq!(&back, &value);
        prop_assert!(canonical(&back));
        prop_assert_eq!(rmp_serde::to_vec_named(&back).unwrap(), bytes);
    }

    #[test]
    fn size_is_the_msgpack_length(value in values()) {
        prop_assert_eq!(value.size(), rmp_serde::to_vec(&value).unwrap().len());
    }

    #[test]
    fn conversion_round_trips(value in values()) {
        let converted = to_value(&value).unwrap();
        prop_assert_eq!(&converted, &value);
        prop_assert!(canonical(&converted));
        let back: Value = from_value(converted).unwrap();
        prop_assert!(canonical(&back));
        prop_assert_eq!(rmp_serde::to_vec(&back).unwrap(), rmp_serde::to_vec(&value).unwrap());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(value) = rmp_serde::from_slice::<Value>(&bytes) {
            prop_assert!(canonical(&value));
        }
    }
}
