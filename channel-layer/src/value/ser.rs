//! Serialization of values to any format of serde.

use serde::{
    Serialize, Serializer,
    ser::{Error as _, SerializeMap, SerializeSeq},
};

use super::{Map, Value, depth::Levels};

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Counted { value: self, levels: Levels::ALL }.serialize(serializer)
    }
}

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_map(self, Levels::ALL, serializer)
    }
}

/// A value with its depth. Nesting that no peer would read is not written either.
struct Counted<'a> {
    value: &'a Value,
    levels: Levels,
}

impl Serialize for Counted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I64(value) => serializer.serialize_i64(*value),
            Value::U64(value) => serializer.serialize_u64(*value),
            Value::F64(value) => serializer.serialize_f64(*value),
            Value::Str(value) => serializer.serialize_str(value),
            Value::Bytes(value) => serializer.serialize_bytes(value),
            Value::List(items) => serialize_list(items, self.levels, serializer),
            Value::Map(map) => serialize_map(map, self.levels, serializer),
        }
    }
}

fn serialize_list<S: Serializer>(items: &[Value], levels: Levels, serializer: S) -> Result<S::Ok, S::Error> {
    // The serializer goes first: this module's counts too, and its error is the typed one.
    let mut list = serializer.serialize_seq(Some(items.len()))?;
    let levels = levels.enter().map_err(S::Error::custom)?;
    for value in items {
        list.serialize_element(&Counted { value, levels })?;
    }
    list.end()
}

fn serialize_map<S: Serializer>(map: &Map, levels: Levels, serializer: S) -> Result<S::Ok, S::Error> {
    let mut entries = serializer.serialize_map(Some(map.len()))?;
    let levels = levels.enter().map_err(S::Error::custom)?;
    for (key, value) in map {
        entries.serialize_entry(key, &Counted { value, levels })?;
    }
    entries.end()
}
