//! Lists, structs and maps while [`to_value`](fn@super::to_value) fills them.

use serde::{
    Serialize,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};

use super::{Map, Value, ValueError, key::KeySerializer, to_value::ToValue};

pub(super) struct ListBuilder {
    pub(super) items: Vec<Value>,
    pub(super) inside: ToValue,
    /// Set when the list is the content of a variant.
    pub(super) variant: Option<&'static str>,
}

impl ListBuilder {
    fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), ValueError> {
        self.items.push(item.serialize(self.inside)?);
        Ok(())
    }

    fn finish(self) -> Value {
        tagged(self.variant, Value::List(self.items))
    }
}

pub(super) struct MapBuilder {
    pub(super) map: Map,
    /// The key of which the value has not come yet.
    pub(super) key: Option<String>,
    pub(super) inside: ToValue,
    /// Set when the map is the content of a variant.
    pub(super) variant: Option<&'static str>,
}

impl MapBuilder {
    fn set<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), ValueError> {
        self.map.insert(key, value.serialize(self.inside)?);
        Ok(())
    }

    fn finish(self) -> Value {
        tagged(self.variant, Value::Map(self.map))
    }
}

macro_rules! build_list {
    ($($kind:ident::$method:ident)*) => {
        $(impl $kind for ListBuilder {
            type Ok = Value;
            type Error = ValueError;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), ValueError> {
                self.push(item)
            }

            fn end(self) -> Result<Value, ValueError> {
                Ok(self.finish())
            }
        })*
    };
}

build_list! {
    SerializeSeq::serialize_element
    SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field
    SerializeTupleVariant::serialize_field
}

macro_rules! build_struct {
    ($($kind:ident)*) => {
        $(impl $kind for MapBuilder {
            type Ok = Value;
            type Error = ValueError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), ValueError> {
                self.set(key.to_owned(), value)
            }

            fn end(self) -> Result<Value, ValueError> {
                Ok(self.finish())
            }
        })*
    };
}

build_struct! { SerializeStruct SerializeStructVariant }

impl SerializeMap for MapBuilder {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueError> {
        self.key = Some(key.serialize(KeySerializer)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        let Some(key) = self.key.take() else {
            return Err(ValueError::Custom("map value without a key before it".to_owned()));
        };
        self.set(key, value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}

/// Wraps the content of a variant that is no unit.
pub(super) fn tagged(variant: Option<&'static str>, content: Value) -> Value {
    match variant {
        None => content,
        Some(variant) => Value::Map(Map::from([(variant, content)])),
    }
}
