//! Conversions from the usual Rust types, except for `Vec<u8>`: see [`Value::bytes`].

use super::{Map, Value};

macro_rules! from_integers {
    ($wide:ty: $($narrow:ty)*) => {
        $(impl From<$narrow> for Value {
            fn from(value: $narrow) -> Self {
                // `usize` has at most 64 bits on all targets, so the cast does not truncate.
                Self::from(value as $wide)
            }
        })*
    };
}

from_integers!(i64: i8 i16 i32 isize);
from_integers!(u64: u8 u16 u32 usize);

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

/// Returns the canonical form: [`Value::U64`] only above [`i64::MAX`].
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::U64(value), Self::I64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Self::F64(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::F64(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::List(items)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

/// `None` is [`Value::Null`].
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
