//! Values into Rust types: `&Value` and `&Map` are deserializers.

use serde::{
    Deserializer,
    de::{DeserializeOwned, Expected, Visitor},
    forward_to_deserialize_any,
};

use super::{Map, Value, ValueError, access, depth::Levels};

/// Turns a value into any type that deserializes.
///
/// To read without giving the value away, or to borrow text and bytes from it, use `T::deserialize(&value)`;
/// the same works for a `&Map`.
///
/// # Errors
///
/// A [`ValueError`] when value and type do not fit. Integers are checked for range and never taken from
/// floats; floats are taken from integers; text and bytes are not taken for one another.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ValueError> {
    T::deserialize(&value)
}

/// Hands over [`Node`], which does the work: a bare reference has no room for the depth.
macro_rules! deserialize_by_node {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            Node::top(self).$method(visitor)
        })*
    };
}

/// Borrows text and bytes from the value and copies nothing.
impl<'de> Deserializer<'de> for &'de Value {
    type Error = ValueError;

    deserialize_by_node! {
        deserialize_any deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_identifier deserialize_option deserialize_ignored_any
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        Node::top(self).deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        Node::top(self).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 unit unit_struct seq tuple tuple_struct map
        struct
    }

    /// The counterpart of [`to_value`](fn@super::to_value).
    fn is_human_readable(&self) -> bool {
        true
    }
}

/// Reads a message without building a [`Value`] around it.
impl<'de> Deserializer<'de> for &'de Map {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        access::visit_map(self, Levels::ALL, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
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
        access::visit_tagged(self, Levels::ALL, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }

    /// The counterpart of [`to_value`](fn@super::to_value).
    fn is_human_readable(&self) -> bool {
        true
    }
}

/// A value and the levels that may be opened from it on.
#[derive(Clone, Copy)]
pub(super) struct Node<'de> {
    pub(super) value: &'de Value,
    pub(super) levels: Levels,
}

impl<'de> Node<'de> {
    fn top(value: &'de Value) -> Self {
        Self { value, levels: Levels::ALL }
    }

    /// Text only. Visitors of strings would take bytes too if they were offered.
    fn text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value {
            Value::Str(value) => visitor.visit_borrowed_str(value),
            other => Err(mismatch(other, &visitor)),
        }
    }

    /// Bytes, or a list of integers, which is how they come by JSON. Visitors of bytes would take text too.
    fn binary<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value {
            Value::Bytes(value) => visitor.visit_borrowed_bytes(value),
            Value::List(items) => access::visit_list(items, self.levels, visitor),
            other => Err(mismatch(other, &visitor)),
        }
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::I64(value) => match u64::try_from(*value) {
                // As JSON has it: some visitors know non-negative integers only as unsigned ones.
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i64(*value),
            },
            Value::U64(value) => visitor.visit_u64(*value),
            Value::F64(value) => visitor.visit_f64(*value),
            Value::Str(value) => visitor.visit_borrowed_str(value),
            Value::Bytes(value) => visitor.visit_borrowed_bytes(value),
            Value::List(items) => access::visit_list(items, self.levels, visitor),
            Value::Map(map) => access::visit_map(map, self.levels, visitor),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.text(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.text(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.binary(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.binary(visitor)
    }

    /// Text only: an integer here would choose a variant by its number.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.text(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
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
        match self.value {
            Value::Str(variant) => access::visit_unit_variant(variant, visitor),
            Value::Map(map) => access::visit_tagged(map, self.levels, visitor),
            other => Err(mismatch(other, &visitor)),
        }
    }

    /// What nobody wants is not walked.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 unit unit_struct seq tuple tuple_struct map
        struct
    }

    /// The counterpart of [`to_value`](fn@super::to_value).
    fn is_human_readable(&self) -> bool {
        true
    }
}

fn mismatch<'de>(found: &Value, wanted: &impl Visitor<'de>) -> ValueError {
    let wanted: &dyn Expected = wanted;
    ValueError::InvalidType { found: found.kind(), expected: wanted.to_string() }
}
