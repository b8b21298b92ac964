//! Conversion of map keys between Rust types and values. Keys are text, or types that serialize as text.

use serde::{
    Deserializer, Serialize, Serializer,
    de::{Visitor, value::BorrowedStrDeserializer},
    forward_to_deserialize_any,
    ser::Impossible,
};

use super::ValueError;

/// Serializes a key. Numbers are refused, because read back they would be text.
pub(super) struct KeySerializer;

macro_rules! refuse {
    ($($method:ident($from:ty) $found:literal,)*) => {
        $(fn $method(self, _: $from) -> Result<String, ValueError> {
            Err(ValueError::KeyNotAString { found: $found })
        })*
    };
}

macro_rules! refuse_compound {
    ($($method:ident($($arg:ty),*) -> $kind:ident $found:literal,)*) => {
        $(fn $method(self, $(_: $arg),*) -> Result<Self::$kind, ValueError> {
            Err(ValueError::KeyNotAString { found: $found })
        })*
    };
}

impl Serializer for KeySerializer {
    type Ok = String;
    type Error = ValueError;
    type SerializeSeq = Impossible<String, ValueError>;
    type SerializeTuple = Impossible<String, ValueError>;
    type SerializeTupleStruct = Impossible<String, ValueError>;
    type SerializeTupleVariant = Impossible<String, ValueError>;
    type SerializeMap = Impossible<String, ValueError>;
    type SerializeStruct = Impossible<String, ValueError>;
    type SerializeStructVariant = Impossible<String, ValueError>;

    fn serialize_str(self, key: &str) -> Result<String, ValueError> {
        Ok(key.to_owned())
    }

    fn serialize_char(self, key: char) -> Result<String, ValueError> {
        Ok(key.into())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<String, ValueError> {
        Ok(variant.to_owned())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        key: &T,
    ) -> Result<String, ValueError> {
        key.serialize(self)
    }

    refuse! {
        serialize_bool(bool) "boolean",
        serialize_i8(i8) "integer",
        serialize_i16(i16) "integer",
        serialize_i32(i32) "integer",
        serialize_i64(i64) "integer",
        serialize_i128(i128) "integer",
        serialize_u8(u8) "integer",
        serialize_u16(u16) "integer",
        serialize_u32(u32) "integer",
        serialize_u64(u64) "integer",
        serialize_u128(u128) "integer",
        serialize_f32(f32) "float",
        serialize_f64(f64) "float",
        serialize_bytes(&[u8]) "bytes",
        serialize_unit_struct(&'static str) "null",
    }

    refuse_compound! {
        serialize_none() -> Ok "null",
        serialize_unit() -> Ok "null",
        serialize_seq(Option<usize>) -> SerializeSeq "list",
        serialize_tuple(usize) -> SerializeTuple "list",
        serialize_tuple_struct(&'static str, usize) -> SerializeTupleStruct "list",
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> SerializeTupleVariant "map",
        serialize_map(Option<usize>) -> SerializeMap "map",
        serialize_struct(&'static str, usize) -> SerializeStruct "map",
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> SerializeStructVariant "map",
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<String, ValueError> {
        Err(ValueError::KeyNotAString { found: "option" })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<String, ValueError> {
        Err(ValueError::KeyNotAString { found: "map" })
    }

    /// Returns true, as for values: see the module.
    fn is_human_readable(&self) -> bool {
        true
    }
}

/// Deserializes a key.
#[derive(Clone, Copy)]
pub(super) struct KeyDeserializer<'de>(pub(super) &'de str);

impl<'de> Deserializer<'de> for KeyDeserializer<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_enum(BorrowedStrDeserializer::new(self.0))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }

    /// Returns true, as for values: see the module.
    fn is_human_readable(&self) -> bool {
        true
    }
}
