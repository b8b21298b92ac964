//! Deserialization of values from any self-describing format of serde.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use super::{
    Map, Value,
    depth::{Levels, cautious},
};

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ReadValue(Levels::ALL).deserialize(deserializer)
    }
}

/// Keys must be text. Of a repeated key, the last value and the first position are kept, as in Python.
impl<'de> Deserialize<'de> for Map {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReadMap)
    }
}

/// A seed that counts the depth. Formats have other limits: msgpack's is 1024.
#[derive(Clone, Copy)]
struct ReadValue(Levels);

impl ReadValue {
    fn inside<E: Error>(self) -> Result<Self, E> {
        self.0.enter().map(Self).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for ReadValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Implements no `visit_newtype_struct`, so that msgpack's extension types, which come by it, are refused.
impl<'de> Visitor<'de> for ReadValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, boolean, number, string, bytes, list or map")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.inside::<D::Error>()?.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::F64(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Str(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::bytes(value))
    }

    fn visit_byte_buf<E>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let inside = self.inside::<A::Error>()?;
        let mut items = Vec::with_capacity(cautious(source.size_hint()));
        while let Some(item) = source.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, source: A) -> Result<Value, A::Error> {
        read_map(source, self).map(Value::Map)
    }
}

struct ReadMap;

impl<'de> Visitor<'de> for ReadMap {
    type Value = Map;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("map with strings as keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, source: A) -> Result<Map, A::Error> {
        read_map(source, ReadValue(Levels::ALL))
    }
}

fn read_map<'de, A: MapAccess<'de>>(mut source: A, here: ReadValue) -> Result<Map, A::Error> {
    let inside = here.inside::<A::Error>()?;
    let mut map = Map::with_capacity(cautious(source.size_hint()));
    while let Some(key) = source.next_key_seed(ReadKey)? {
        map.insert(key, source.next_value_seed(inside)?);
    }
    Ok(map)
}

/// A seed for keys. Unlike `String`, it takes no bytes, not even valid UTF-8.
struct ReadKey;

impl<'de> DeserializeSeed<'de> for ReadKey {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for ReadKey {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("string as map key")
    }

    fn visit_str<E>(self, key: &str) -> Result<String, E> {
        Ok(key.to_owned())
    }

    fn visit_string<E>(self, key: String) -> Result<String, E> {
        Ok(key)
    }
}
