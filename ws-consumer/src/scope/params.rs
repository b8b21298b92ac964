//! Deserialization of URL parameters.

use std::sync::Arc;

use serde::{
    Deserialize, Deserializer,
    de::{
        IntoDeserializer, Visitor,
        value::{Error, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

type Param = (Arc<str>, Box<str>);

/// Deserializes parameters: as a map for types with fields, as a sequence for tuples, and a single one as the value itself.
pub(super) fn parse<'a, T: Deserialize<'a>>(params: &'a [Param]) -> Result<T, Error> {
    T::deserialize(Params(params))
}

struct Params<'a>(&'a [Param]);

impl<'de> Params<'de> {
    fn only(&self) -> Result<Text<'de>, Error> {
        match self.0 {
            [(name, value)] => Ok(Text { name, value }),
            params => Err(serde::de::Error::custom(format!("{} parameters instead of one", params.len()))),
        }
    }
}

macro_rules! only_one {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.only()?.$method(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Params<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let pairs = self.0.iter().map(|(name, value)| (&**name, Text { name, value }));
        visitor.visit_map(MapDeserializer::new(pairs))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(SeqDeserializer::new(self.0.iter().map(|(name, value)| Text { name, value })))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        if self.0.len() != len {
            let fault = format!("{} parameters instead of {len}", self.0.len());
            return Err(serde::de::Error::custom(fault));
        }
        self.deserialize_seq(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    only_one! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string
    }

    forward_to_deserialize_any! {
        i128 u128 bytes byte_buf option unit_struct tuple_struct map struct identifier ignored_any
    }
}

/// The text of a parameter, parsed into the requested type.
struct Text<'a> {
    name: &'a str,
    value: &'a str,
}

impl Text<'_> {
    /// The client reads it: it names no type, and does not repeat the value.
    fn unfit(&self, expected: &str) -> Error {
        serde::de::Error::custom(format!("the parameter `{}` must be {expected}", self.name))
    }
}

impl<'de> IntoDeserializer<'de> for Text<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty, $expected:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.value.parse::<$type>() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(self.unfit($expected)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.value)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self.value.into_deserializer())
    }

    parsed! {
        deserialize_bool visit_bool bool, "`true` or `false`";
        deserialize_i8 visit_i8 i8, "a whole number from -128 to 127";
        deserialize_i16 visit_i16 i16, "a whole number from -32768 to 32767";
        deserialize_i32 visit_i32 i32, "a whole number from -2147483648 to 2147483647";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_u8 visit_u8 u8, "a whole number from 0 to 255";
        deserialize_u16 visit_u16 u16, "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a whole number from 0 to 4294967295";
        deserialize_u64 visit_u64 u64, "a whole number";
        deserialize_f32 visit_f32 f32, "a number";
        deserialize_f64 visit_f64 f64, "a number";
        deserialize_char visit_char char, "one character";
    }

    forward_to_deserialize_any! {
        i128 u128 str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<Param> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Wanted {
        year: u16,
        name: String,
        page: Option<i8>,
    }

    #[test]
    fn by_name_and_by_position() {
        let given = pairs(&[("name", "汉"), ("year", "2026")]);
        let wanted: Wanted = parse(&given).unwrap();
        assert_eq!(wanted, Wanted { year: 2026, name: "汉".into(), page: None });
        assert_eq!(parse::<(String, u16)>(&given).unwrap(), ("汉".to_owned(), 2026));
        assert_eq!(parse::<Vec<String>>(&given).unwrap().len(), 2);
    }

    #[test]
    fn one_parameter_is_a_value() {
        assert_eq!(parse::<u64>(&pairs(&[("id", "7")])).unwrap(), 7);
        assert!(parse::<u64>(&pairs(&[("id", "7"), ("b", "8")])).is_err());
        parse::<()>(&[]).unwrap();
    }

    #[test]
    fn rejects_other_types() {
        for value in ["70000", "-1", "x", ""] {
            let given = pairs(&[("year", value), ("name", "")]);
            let error = parse::<Wanted>(&given).unwrap_err().to_string();
            assert_eq!(error, "the parameter `year` must be a whole number from 0 to 65535", "{value}");
        }
        assert!(parse::<Wanted>(&[]).unwrap_err().to_string().contains("year"));
        assert!(parse::<(u8, u8)>(&pairs(&[("a", "1")])).is_err());
    }
}
