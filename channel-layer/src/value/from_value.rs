//! Conversion of values into Rust types: `&Value` and `&Map` are deserializers.

use std::slice;

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, EnumAccess, Error, Expected, MapAccess, SeqAccess, Unexpected,
        VariantAccess, Visitor,
    },
    forward_to_deserialize_any,
};

use super::{Map, Value, ValueError, depth::Levels, key::KeyDeserializer, model::Iter};

/// Converts a value into any type that deserializes.
///
/// To keep the value, or to borrow text and bytes from it, use `T::deserialize(&value)`, which also works for a `&Map`.
///
/// # Errors
///
/// A [`ValueError`] when value and type do not fit. Integers are checked for range and never read from floats. Floats
/// are read from integers. Text is never read as bytes, nor bytes as text.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ValueError> {
    T::deserialize(&value)
}

/// Delegates to [`ValueDeserializer`], because a reference cannot hold the depth.
macro_rules! deserialize_at_top {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            ValueDeserializer::top(self).$method(visitor)
        })*
    };
}

/// Borrows text and bytes from the value, without copying.
impl<'de> Deserializer<'de> for &'de Value {
    type Error = ValueError;

    deserialize_at_top! {
        deserialize_any deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_identifier deserialize_option deserialize_ignored_any
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        ValueDeserializer::top(self).deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        ValueDeserializer::top(self).deserialize_enum(name, variants, visitor)
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
        visit_map(self, Levels::ALL, visitor)
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
        visit_tagged(self, Levels::ALL, visitor)
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

/// A value, and the levels that may be opened from it.
#[derive(Clone, Copy)]
struct ValueDeserializer<'de> {
    value: &'de Value,
    levels: Levels,
}

impl<'de> ValueDeserializer<'de> {
    fn top(value: &'de Value) -> Self {
        Self { value, levels: Levels::ALL }
    }

    /// Visits text. Bytes are refused, although visitors of strings would take them.
    fn text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value {
            Value::Str(value) => visitor.visit_borrowed_str(value),
            other => Err(mismatch(other, &visitor)),
        }
    }

    /// Visits bytes, or a list of integers, the form of bytes in JSON. Text is refused, although visitors of bytes
    /// would take it.
    fn binary<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value {
            Value::Bytes(value) => visitor.visit_borrowed_bytes(value),
            Value::List(items) => visit_list(items, self.levels, visitor),
            other => Err(mismatch(other, &visitor)),
        }
    }
}

impl<'de> Deserializer<'de> for ValueDeserializer<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::I64(value) => match u64::try_from(*value) {
                // As in JSON: some visitors take non-negative integers only as unsigned ones.
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i64(*value),
            },
            Value::U64(value) => visitor.visit_u64(*value),
            Value::F64(value) => visitor.visit_f64(*value),
            Value::Str(value) => visitor.visit_borrowed_str(value),
            Value::Bytes(value) => visitor.visit_borrowed_bytes(value),
            Value::List(items) => visit_list(items, self.levels, visitor),
            Value::Map(map) => visit_map(map, self.levels, visitor),
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

    /// Visits text only: an integer here would select a variant by its number.
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
            Value::Str(variant) => visit_unit_variant(variant, visitor),
            Value::Map(map) => visit_tagged(map, self.levels, visitor),
            other => Err(mismatch(other, &visitor)),
        }
    }

    /// Skips the value without visiting its contents.
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

fn visit_list<'de, V: Visitor<'de>>(
    items: &'de [Value],
    levels: Levels,
    visitor: V,
) -> Result<V::Value, ValueError> {
    let mut access = ListAccess { items: items.iter(), inside: levels.enter()? };
    let value = visitor.visit_seq(&mut access)?;
    all_read(items.len(), access.items.len())?;
    Ok(value)
}

fn visit_map<'de, V: Visitor<'de>>(
    map: &'de Map,
    levels: Levels,
    visitor: V,
) -> Result<V::Value, ValueError> {
    let mut access = EntryAccess { entries: map.iter(), value: None, inside: levels.enter()? };
    let value = visitor.visit_map(&mut access)?;
    all_read(map.len(), access.entries.len())?;
    Ok(value)
}

/// Visits a variant with content: a map whose only key is its name.
fn visit_tagged<'de, V: Visitor<'de>>(
    map: &'de Map,
    levels: Levels,
    visitor: V,
) -> Result<V::Value, ValueError> {
    let mut entries = map.iter();
    let (Some((name, value)), None) = (entries.next(), entries.next()) else {
        return Err(ValueError::invalid_length(map.len(), &"map with a single key"));
    };
    let content = ValueDeserializer { value, levels: levels.enter()? };
    visitor.visit_enum(TaggedVariant { name, content: Some(content) })
}

fn visit_unit_variant<'de, V: Visitor<'de>>(name: &'de str, visitor: V) -> Result<V::Value, ValueError> {
    visitor.visit_enum(TaggedVariant { name, content: None })
}

/// Fails if a visitor, such as that of a tuple, has left items unread.
fn all_read(len: usize, left: usize) -> Result<(), ValueError> {
    if left == 0 {
        return Ok(());
    }
    Err(ValueError::InvalidLength { len, expected: format!("only {}", len - left) })
}

struct ListAccess<'de> {
    items: slice::Iter<'de, Value>,
    inside: Levels,
}

impl<'de> SeqAccess<'de> for ListAccess<'de> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ValueError> {
        let Some(value) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(ValueDeserializer { value, levels: self.inside }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct EntryAccess<'de> {
    entries: Iter<'de>,
    /// The value of the last key, until it is requested.
    value: Option<&'de Value>,
    inside: Levels,
}

impl<'de> MapAccess<'de> for EntryAccess<'de> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ValueError> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(KeyDeserializer(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ValueError> {
        let Some(value) = self.value.take() else {
            return Err(ValueError::custom("map value requested before its key"));
        };
        seed.deserialize(ValueDeserializer { value, levels: self.inside })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

struct TaggedVariant<'de> {
    name: &'de str,
    /// `None` for a variant that is a string.
    content: Option<ValueDeserializer<'de>>,
}

impl<'de> EnumAccess<'de> for TaggedVariant<'de> {
    type Error = ValueError;
    type Variant = VariantContent<'de>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, VariantContent<'de>), ValueError> {
        let variant = seed.deserialize(KeyDeserializer(self.name))?;
        Ok((variant, VariantContent(self.content)))
    }
}

struct VariantContent<'de>(Option<ValueDeserializer<'de>>);

impl<'de> VariantContent<'de> {
    fn present(self, wanted: &'static str) -> Result<ValueDeserializer<'de>, ValueError> {
        self.0.ok_or_else(|| ValueError::invalid_type(Unexpected::UnitVariant, &wanted))
    }
}

impl<'de> VariantAccess<'de> for VariantContent<'de> {
    type Error = ValueError;

    fn unit_variant(self) -> Result<(), ValueError> {
        self.0.map_or(Ok(()), <()>::deserialize)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ValueError> {
        seed.deserialize(self.present("newtype variant")?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ValueError> {
        self.present("tuple variant")?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.present("struct variant")?.deserialize_any(visitor)
    }
}
