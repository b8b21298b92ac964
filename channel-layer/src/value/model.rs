//! The data model of messages: [`Value`], and [`Map`], which has text as keys, in the order of insertion.

use std::{fmt, iter::FusedIterator, ops::Index};

use indexmap::{IndexMap, map};

/// A value in a message.
///
/// # Integers
///
/// An integer has one canonical form: [`Value::I64`] if it fits, [`Value::U64`] only above [`i64::MAX`].
/// All conversions follow it. Comparison considers only the number, so that `Value::U64(5)` equals `Value::I64(5)`. An
/// integer never equals a float: `1` and `1.0` differ.
///
/// # Bytes
///
/// There is no conversion from `Vec<u8>`, because it could also mean a list: use [`Value::bytes`] or [`Value::list`].
/// JSON has no byte strings: through it they become lists of integers.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// The absence of a value: `null`, `nil`, `None`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer up to [`i64::MAX`].
    I64(i64),
    /// An integer above [`i64::MAX`].
    U64(u64),
    /// A float, also without a fraction. msgpack sends all 64 bits.
    F64(f64),
    /// Text.
    Str(String),
    /// A byte string: msgpack's `bin`.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Map(Map),
}

impl Value {
    /// A byte string.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// A list of items that convert into values.
    pub fn list(items: impl IntoIterator<Item: Into<Self>>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }

    /// Whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns the boolean, or `None` for other values.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if it is one and fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::I64(value) => Some(*value),
            Self::U64(value) => i64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The integer, if it is one and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::I64(value) => u64::try_from(*value).ok(),
            Self::U64(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it is one. Integers are accepted too, because JSON clients write `1` for `1.0`. Beyond 2^53 they
    /// are rounded to the nearest float.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::I64(value) => Some(*value as f64),
            Self::U64(value) => Some(*value as f64),
            Self::F64(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is text. Byte strings are not text, even if they are valid UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes, if it is a byte string. Text is not one.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(value) => Some(value),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The kind of the value for error messages, such as `"string"` or `"map"`. Never the content.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::I64(_) | Self::U64(_) => "integer",
            Self::F64(_) => "float",
            Self::Str(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// The size of the value in msgpack, in bytes, for the bounds of queues. The size in other formats is similar.
    /// Visits the complete value.
    pub fn size(&self) -> usize {
        size_of_value(self)
    }
}

/// Compares contents. A NaN differs from itself, as in Rust and Python.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::I64(a), Self::I64(b)) => a == b,
            (Self::U64(a), Self::U64(b)) => a == b,
            (Self::I64(a), Self::U64(b)) | (Self::U64(b), Self::I64(a)) => u64::try_from(*a) == Ok(*b),
            (Self::F64(a), Self::F64(b)) => a == b,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => false,
        }
    }
}

/// Values by name, in the order in which the names were first inserted.
///
/// The order is kept on the wire, so that the same message always has the same bytes. Comparison ignores it: like a
/// Python `dict`, two maps are equal if they have the same entries.
#[derive(Clone, Default, PartialEq)]
pub struct Map(IndexMap<String, Value>);

impl Map {
    /// An empty map. Allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty map with capacity for this number of entries.
    pub fn with_capacity(entries: usize) -> Self {
        Self(IndexMap::with_capacity(entries))
    }

    /// Sets an entry and returns its former value. A known key keeps its position in the order.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(key.into(), value.into())
    }

    /// Removes an entry and returns its value. The others keep their order, at a cost that grows with their number.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.0.shift_remove(key)
    }

    /// The value of an entry, to change it in place.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.0.get_mut(key)
    }

    /// All entries in order, their values to be changed in place.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&str, &mut Value)> {
        self.0.iter_mut().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of an entry. `map[key]` returns [`Value::Null`] for a missing entry instead.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Whether there is an entry with this key, also if its value is null.
    pub fn contains_key(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All entries in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.0.iter())
    }

    /// All keys in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All values in order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Value> {
        self.0.values()
    }

    /// The size of the map in msgpack, in bytes: see [`Value::size`].
    pub fn size(&self) -> usize {
        size_of_map(self)
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

/// Never panics: messages come from other programs, and missing entries read as null.
impl Index<&str> for Map {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        static ABSENT: Value = Value::Null;
        self.get(key).unwrap_or(&ABSENT)
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl<K: Into<String>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Map {
    fn from(entries: [(K, V); N]) -> Self {
        Self::from_iter(entries)
    }
}

impl<K: Into<String>, V: Into<Value>> Extend<(K, V)> for Map {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        self.0.extend(entries.into_iter().map(|(key, value)| (key.into(), value.into())));
    }
}

impl IntoIterator for Map {
    type Item = (String, Value);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter(self.0.into_iter())
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a str, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The entries of a [`Map`] in order. Made by [`Map::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a>(map::Iter<'a, String, Value>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key.as_str(), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}

/// The entries of a [`Map`] in order, owned. Made by its `into_iter`.
#[derive(Debug)]
pub struct IntoIter(map::IntoIter<String, Value>);

impl Iterator for IntoIter {
    type Item = (String, Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for IntoIter {}
impl FusedIterator for IntoIter {}

/// The length of a value in msgpack, computed without encoding it.
fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::I64(value) if *value < 0 => size_of_negative(*value),
        Value::I64(value) => size_of_unsigned(value.unsigned_abs()),
        Value::U64(value) => size_of_unsigned(*value),
        Value::F64(_) => 9,
        Value::Str(value) => size_of_str(value),
        Value::Bytes(value) => size_of_header(value.len(), 0) + value.len(),
        Value::List(items) => {
            size_of_list_header(items.len()) + items.iter().map(size_of_value).sum::<usize>()
        }
        Value::Map(map) => size_of_map(map),
    }
}

fn size_of_map(map: &Map) -> usize {
    let entries = map.iter().map(|(key, value)| size_of_str(key) + size_of_value(value));
    size_of_list_header(map.len()) + entries.sum::<usize>()
}

fn size_of_negative(value: i64) -> usize {
    match value {
        -0x20.. => 1,
        -0x80..-0x20 => 2,
        -0x8000..-0x80 => 3,
        -0x8000_0000..-0x8000 => 5,
        _ => 9,
    }
}

fn size_of_unsigned(value: u64) -> usize {
    match value {
        ..0x80 => 1,
        0x80..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

fn size_of_str(value: &str) -> usize {
    size_of_header(value.len(), 32) + value.len()
}

/// The size of the header of strings and bytes. A length below `short` fits into the marker. Others take one, two or
/// four more bytes.
fn size_of_header(len: usize, short: usize) -> usize {
    match len {
        _ if len < short => 1,
        ..0x100 => 2,
        0x100..0x1_0000 => 3,
        _ => 5,
    }
}

/// The size of the header of lists and maps, which have no form with one byte of length.
fn size_of_list_header(len: usize) -> usize {
    match len {
        ..16 => 1,
        16..0x1_0000 => 3,
        _ => 5,
    }
}
