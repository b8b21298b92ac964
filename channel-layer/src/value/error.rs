//! The errors of conversions between values and Rust types.

use std::fmt;

use serde::{
    de::{self, Expected, Unexpected},
    ser,
};
use thiserror::Error;

use super::depth::{DepthError, MAX_DEPTH};

/// An error of a conversion between a value and a Rust type.
///
/// The text names kinds, fields and variants, never contents, so it can be logged. The exception is
/// [`Custom`](Self::Custom), whose text comes from the serde code of the type.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ValueError {
    /// An error of the serde code of the type, with its text.
    #[error("{0}")]
    Custom(String),
    /// Bytes, which JSON cannot hold.
    #[error("JSON cannot hold bytes: use msgpack, or send text")]
    BytesInJson,
    /// A field that occurs twice, for instance under an alias.
    #[error("field `{field}` occurs twice")]
    DuplicateField {
        /// The field as the type calls it.
        field: &'static str,
    },
    /// A list or map has the wrong number of items.
    #[error("expected {expected}, found {len} items")]
    InvalidLength {
        /// The number of items found.
        len: usize,
        /// The expectation of the type.
        expected: String,
    },
    /// A value of a kind that the type does not accept.
    #[error("expected {expected}, found {found}")]
    InvalidType {
        /// Kind of the value, as in [`Value::kind`](super::Value::kind).
        found: &'static str,
        /// The expectation of the type.
        expected: String,
    },
    /// A value of the right kind with invalid contents: an integer out of range, a string that is not a character.
    #[error("expected {expected}, found another {found}")]
    InvalidValue {
        /// Kind of the value, as in [`Value::kind`](super::Value::kind).
        found: &'static str,
        /// The expectation of the type.
        expected: String,
    },
    /// A map of the Rust type has keys that are not text.
    #[error("map keys must be strings, found {found}")]
    KeyNotAString {
        /// Kind of the key.
        found: &'static str,
    },
    /// A field that the type requires is missing.
    #[error("field `{field}` is missing")]
    MissingField {
        /// The field as the type calls it.
        field: &'static str,
    },
    /// An integer of 128 bits that does not fit in 64.
    #[error("integer does not fit in 64 bits")]
    NumberOutOfRange,
    /// Lists and maps are nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A text, byte string, list or map is longer than the 32 bits of its length in msgpack allow.
    #[error("length exceeds 32 bits")]
    TooLong,
    /// A field unknown to a type that accepts no others.
    #[error("field {} is unknown, expected {}", Name(.field), OneOf(.expected))]
    UnknownField {
        /// The field found.
        field: String,
        /// The fields that the type knows.
        expected: &'static [&'static str],
    },
    /// A variant unknown to an enum. With `#[serde(tag = "type")]`, a message of an unknown type.
    #[error("variant {} is unknown, expected {}", Name(.variant), OneOf(.expected))]
    UnknownVariant {
        /// The variant found, in full.
        variant: String,
        /// The variants that the enum knows.
        expected: &'static [&'static str],
    },
}

impl From<DepthError> for ValueError {
    fn from(_: DepthError) -> Self {
        Self::TooDeep
    }
}

impl ser::Error for ValueError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::Custom(text.to_string())
    }
}

/// Keeps the kind of a value, where serde's texts would quote the value.
impl de::Error for ValueError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::Custom(text.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::InvalidType { found: kind(found), expected: expected.to_string() }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::InvalidValue { found: kind(found), expected: expected.to_string() }
    }

    fn invalid_length(len: usize, expected: &dyn Expected) -> Self {
        Self::InvalidLength { len, expected: expected.to_string() }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::UnknownVariant { variant: variant.to_owned(), expected }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::UnknownField { field: field.to_owned(), expected }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::MissingField { field }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::DuplicateField { field }
    }
}

fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
        Unexpected::Float(_) => "float",
        Unexpected::Char(_) | Unexpected::Str(_) => "string",
        Unexpected::Bytes(_) => "bytes",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "list",
        Unexpected::Map => "map",
        Unexpected::NewtypeStruct => "newtype",
        Unexpected::Enum => "enum",
        Unexpected::UnitVariant => "unit variant",
        Unexpected::NewtypeVariant => "newtype variant",
        Unexpected::TupleVariant => "tuple variant",
        Unexpected::StructVariant => "struct variant",
        // Free text, in which serde quotes integers of 128 bits.
        Unexpected::Other(_) => "value",
    }
}

/// Shows a name from a message: quoted and escaped, so that it cannot forge a line in a log, and cut, so that it cannot
/// fill one.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 64;
        match self.0.char_indices().nth(MOST) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
        }
    }
}

struct OneOf<'a>(&'a [&'a str]);

impl fmt::Display for OneOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else {
            return f.write_str("none");
        };
        write!(f, "`{first}`")?;
        rest.iter().try_for_each(|name| write!(f, ", `{name}`"))
    }
}
