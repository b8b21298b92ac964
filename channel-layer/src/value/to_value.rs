//! Conversion of Rust types into values: the serializer behind [`to_value`].

use serde::{
    Serialize, Serializer,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};

use super::{
    Map, Value, ValueError,
    depth::{Levels, cautious},
    key::KeySerializer,
};

/// Converts a type that serializes into a value.
///
/// Structs become maps, as in JSON, unit variants become strings, and other variants become maps with one entry,
/// unless the type is tagged in another way. `Vec<u8>` becomes a list, as in every serde format. Use `serde_bytes` for
/// a byte string.
///
/// # Errors
///
/// - [`ValueError::KeyNotAString`] for maps with keys other than text, characters, unit variants, or newtypes of these.
/// - [`ValueError::NumberOutOfRange`] for integers of 128 bits that do not fit in 64.
/// - [`ValueError::TooDeep`] beyond [`MAX_DEPTH`](super::MAX_DEPTH).
/// - [`ValueError::Custom`] for errors of the type.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, ValueError> {
    value.serialize(ValueSerializer(Levels::ALL))
}

#[derive(Clone, Copy)]
struct ValueSerializer(Levels);

impl ValueSerializer {
    fn inside(self) -> Result<Self, ValueError> {
        Ok(Self(self.0.enter()?))
    }

    fn list(self, len: Option<usize>) -> Result<ListBuilder, ValueError> {
        let items = Vec::with_capacity(cautious(len));
        Ok(ListBuilder { items, inside: self.inside()?, variant: None })
    }

    fn map(self, len: Option<usize>) -> Result<MapBuilder, ValueError> {
        let map = Map::with_capacity(cautious(len));
        Ok(MapBuilder { map, key: None, inside: self.inside()?, variant: None })
    }
}

macro_rules! serialize_as_is {
    ($($method:ident: $from:ty,)*) => {
        $(fn $method(self, value: $from) -> Result<Value, ValueError> {
            Ok(Value::from(value))
        })*
    };
}

impl Serializer for ValueSerializer {
    type Ok = Value;
    type Error = ValueError;
    type SerializeSeq = ListBuilder;
    type SerializeTuple = ListBuilder;
    type SerializeTupleStruct = ListBuilder;
    type SerializeTupleVariant = ListBuilder;
    type SerializeMap = MapBuilder;
    type SerializeStruct = MapBuilder;
    type SerializeStructVariant = MapBuilder;

    serialize_as_is! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_str: &str,
    }

    fn serialize_i128(self, value: i128) -> Result<Value, ValueError> {
        match i64::try_from(value) {
            Ok(value) => Ok(Value::I64(value)),
            Err(_) => u64::try_from(value).map(Value::from).map_err(|_| ValueError::NumberOutOfRange),
        }
    }

    fn serialize_u128(self, value: u128) -> Result<Value, ValueError> {
        u64::try_from(value).map(Value::from).map_err(|_| ValueError::NumberOutOfRange)
    }

    fn serialize_char(self, value: char) -> Result<Value, ValueError> {
        Ok(Value::Str(value.into()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Value, ValueError> {
        Ok(Value::bytes(value))
    }

    fn serialize_none(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, ValueError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, ValueError> {
        Ok(Value::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        Ok(tagged(Some(variant), value.serialize(self.inside()?)?))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ListBuilder, ValueError> {
        self.list(len)
    }

    fn serialize_tuple(self, len: usize) -> Result<ListBuilder, ValueError> {
        self.list(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<ListBuilder, ValueError> {
        self.list(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<ListBuilder, ValueError> {
        Ok(ListBuilder { variant: Some(variant), ..self.inside()?.list(Some(len))? })
    }

    fn serialize_map(self, len: Option<usize>) -> Result<MapBuilder, ValueError> {
        self.map(len)
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<MapBuilder, ValueError> {
        self.map(Some(len))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<MapBuilder, ValueError> {
        Ok(MapBuilder { variant: Some(variant), ..self.inside()?.map(Some(len))? })
    }

    /// Returns true: types with two forms then become text, which peers in other languages can read.
    fn is_human_readable(&self) -> bool {
        true
    }
}

struct ListBuilder {
    items: Vec<Value>,
    inside: ValueSerializer,
    /// The variant whose content the list is.
    variant: Option<&'static str>,
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

struct MapBuilder {
    map: Map,
    /// The key whose value is still missing.
    key: Option<String>,
    inside: ValueSerializer,
    /// The variant whose content the map is.
    variant: Option<&'static str>,
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
            return Err(ValueError::Custom("map value before its key".to_owned()));
        };
        self.set(key, value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}

/// Wraps the content of a variant that is not a unit.
fn tagged(variant: Option<&'static str>, content: Value) -> Value {
    match variant {
        None => content,
        Some(variant) => Value::Map(Map::from([(variant, content)])),
    }
}
