//! Walking lists, maps and enum variants of a value by reference.

use std::slice;

use serde::{
    Deserialize,
    de::{
        DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected, VariantAccess,
        Visitor,
    },
};

use super::{Map, Value, ValueError, depth::Levels, from_value::Node, key::KeyDeserializer, map::Iter};

pub(super) fn visit_list<'de, V: Visitor<'de>>(
    items: &'de [Value],
    levels: Levels,
    visitor: V,
) -> Result<V::Value, ValueError> {
    let mut walk = ListWalk { items: items.iter(), inside: levels.enter()? };
    let value = visitor.visit_seq(&mut walk)?;
    all_read(items.len(), walk.items.len())?;
    Ok(value)
}

pub(super) fn visit_map<'de, V: Visitor<'de>>(
    map: &'de Map,
    levels: Levels,
    visitor: V,
) -> Result<V::Value, ValueError> {
    let mut walk = MapWalk { entries: map.iter(), value: None, inside: levels.enter()? };
    let value = visitor.visit_map(&mut walk)?;
    all_read(map.len(), walk.entries.len())?;
    Ok(value)
}

/// A variant with content: a map whose only key is its name.
pub(super) fn visit_tagged<'de, V: Visitor<'de>>(
    map: &'de Map,
    levels: Levels,
    visitor: V,
) -> Result<V::Value, ValueError> {
    let mut entries = map.iter();
    let (Some((name, value)), None) = (entries.next(), entries.next()) else {
        return Err(ValueError::invalid_length(map.len(), &"map with a single key"));
    };
    let content = Node { value, levels: levels.enter()? };
    visitor.visit_enum(Variant { name, content: Some(content) })
}

pub(super) fn visit_unit_variant<'de, V: Visitor<'de>>(
    name: &'de str,
    visitor: V,
) -> Result<V::Value, ValueError> {
    visitor.visit_enum(Variant { name, content: None })
}

/// A visitor that stops early wanted fewer items, for instance a tuple.
fn all_read(len: usize, left: usize) -> Result<(), ValueError> {
    if left == 0 {
        return Ok(());
    }
    Err(ValueError::InvalidLength { len, expected: format!("only {}", len - left) })
}

struct ListWalk<'de> {
    items: slice::Iter<'de, Value>,
    inside: Levels,
}

impl<'de> SeqAccess<'de> for ListWalk<'de> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ValueError> {
        let Some(value) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(Node { value, levels: self.inside }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct MapWalk<'de> {
    entries: Iter<'de>,
    /// The value of the key given last, until it is asked for.
    value: Option<&'de Value>,
    inside: Levels,
}

impl<'de> MapAccess<'de> for MapWalk<'de> {
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
            return Err(ValueError::custom("map value asked for without a key before it"));
        };
        seed.deserialize(Node { value, levels: self.inside })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

struct Variant<'de> {
    name: &'de str,
    /// Absent when the variant came as a bare string.
    content: Option<Node<'de>>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = ValueError;
    type Variant = Content<'de>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Content<'de>), ValueError> {
        let variant = seed.deserialize(KeyDeserializer(self.name))?;
        Ok((variant, Content(self.content)))
    }
}

struct Content<'de>(Option<Node<'de>>);

impl<'de> Content<'de> {
    fn present(self, wanted: &'static str) -> Result<Node<'de>, ValueError> {
        self.0.ok_or_else(|| ValueError::invalid_type(Unexpected::UnitVariant, &wanted))
    }
}

impl<'de> VariantAccess<'de> for Content<'de> {
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
