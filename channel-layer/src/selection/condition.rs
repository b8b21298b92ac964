//! Conditions on the tags of a message.

use std::{cmp::Ordering, hash::Hash};

use crate::value::{Map, Value};

/// A condition on the tags of a message, built by [`Tag`]. As a [`TagFilter`](super::TagFilter) it is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition(pub(super) Clause);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Clause {
    All(Vec<Clause>),
    Any(Vec<Clause>),
    Not(Box<Clause>),
    Tag(String, Test),
}

/// A test of one tag. A message without the tag passes none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Test {
    Exists,
    In(Vec<Scalar>),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    /// Whether the tag compares with the scalar in one of these ways.
    Compares(&'static [Ordering], Scalar),
}

pub(super) const GREATER: &[Ordering] = &[Ordering::Greater];
pub(super) const NOT_LESS: &[Ordering] = &[Ordering::Greater, Ordering::Equal];
pub(super) const LESS: &[Ordering] = &[Ordering::Less];
pub(super) const NOT_GREATER: &[Ordering] = &[Ordering::Less, Ordering::Equal];

/// A value that tags are compared with. Equal ones have equal forms, so that filters can be compared and hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scalar {
    Bool(bool),
    Integer(i128),
    /// The bits of a float.
    Float(u64),
    Text(String),
    /// Equal to no tag.
    Other,
}

/// The name of a tag, from which conditions are built.
///
/// Numbers are compared by their value, so that `1` and `1.0` are equal; values of different kinds are never equal and have
/// no order. Only [`is_not`](Self::is_not), [`is_none_of`](Self::is_none_of) and [`is_missing`](Self::is_missing) hold for
/// a message without the tag.
///
/// ```
/// use channel_layer::{Message, Tag, TagFilter};
///
/// let condition = Tag::new("market").is("NYSE").and(Tag::new("price").at_least(100)).and(!Tag::new("test").exists());
/// let filter = TagFilter::try_from(condition)?;
/// let trade = Message::new("trade").with_tag("market", "NYSE").with_tag("price", 100.5);
/// assert!(filter.matches(&trade));
/// assert!(!filter.matches(&trade.with_tag("test", true)));
/// # Ok::<(), channel_layer::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tag(String);

impl Tag {
    /// The tag of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The tag has this value.
    pub fn is(self, value: impl Into<Value>) -> Condition {
        self.is_one_of([value])
    }

    /// The tag has another value, or is missing.
    pub fn is_not(self, value: impl Into<Value>) -> Condition {
        !self.is(value)
    }

    /// The tag has one of these values.
    pub fn is_one_of(self, values: impl IntoIterator<Item: Into<Value>>) -> Condition {
        let values = values.into_iter().map(|value| Scalar::from_value(&value.into()));
        self.passes(Test::In(values.collect()))
    }

    /// The tag has none of these values, or is missing.
    pub fn is_none_of(self, values: impl IntoIterator<Item: Into<Value>>) -> Condition {
        !self.is_one_of(values)
    }

    /// The message has the tag.
    pub fn exists(self) -> Condition {
        self.passes(Test::Exists)
    }

    /// The message does not have the tag.
    pub fn is_missing(self) -> Condition {
        !self.exists()
    }

    /// The tag is text that begins so.
    pub fn starts_with(self, text: impl Into<String>) -> Condition {
        self.passes(Test::StartsWith(text.into()))
    }

    /// The tag is text that ends so.
    pub fn ends_with(self, text: impl Into<String>) -> Condition {
        self.passes(Test::EndsWith(text.into()))
    }

    /// The tag is text that has this part.
    pub fn contains(self, text: impl Into<String>) -> Condition {
        self.passes(Test::Contains(text.into()))
    }

    /// The tag is a number above this one.
    pub fn more_than(self, number: impl Into<Value>) -> Condition {
        self.compares(GREATER, number)
    }

    /// The tag is this number, or one above.
    pub fn at_least(self, number: impl Into<Value>) -> Condition {
        self.compares(NOT_LESS, number)
    }

    /// The tag is a number below this one.
    pub fn less_than(self, number: impl Into<Value>) -> Condition {
        self.compares(LESS, number)
    }

    /// The tag is this number, or one below.
    pub fn at_most(self, number: impl Into<Value>) -> Condition {
        self.compares(NOT_GREATER, number)
    }

    fn compares(self, ways: &'static [Ordering], number: impl Into<Value>) -> Condition {
        self.passes(Test::Compares(ways, Scalar::from_value(&number.into())))
    }

    fn passes(self, test: Test) -> Condition {
        Condition(Clause::Tag(self.0, test))
    }
}

impl Condition {
    /// Both conditions hold.
    pub fn and(self, other: Self) -> Self {
        let mut all = match self.0 {
            Clause::All(all) => all,
            one => vec![one],
        };
        all.push(other.0);
        Self(Clause::All(all))
    }

    /// At least one of the two conditions holds.
    pub fn or(self, other: Self) -> Self {
        let mut any = match self.0 {
            Clause::Any(any) => any,
            one => vec![one],
        };
        any.push(other.0);
        Self(Clause::Any(any))
    }
}

/// The opposite.
impl std::ops::Not for Condition {
    type Output = Self;

    fn not(self) -> Self {
        Self(match self.0 {
            Clause::Not(inner) => *inner,
            other => Clause::Not(Box::new(other)),
        })
    }
}

impl Clause {
    pub(super) fn holds(&self, tags: Option<&Map>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|clause| clause.holds(tags)),
            Self::Any(any) => any.iter().any(|clause| clause.holds(tags)),
            Self::Not(inner) => !inner.holds(tags),
            Self::Tag(name, test) => tags.and_then(|tags| tags.get(name)).is_some_and(|tag| test.passes(tag)),
        }
    }
}

impl Test {
    fn passes(&self, tag: &Value) -> bool {
        let text =
            |holds: fn(&str, &str) -> bool, part: &str| tag.as_str().is_some_and(|tag| holds(tag, part));
        match self {
            Self::Exists => true,
            Self::In(values) => values.iter().any(|value| value.equals(tag)),
            Self::StartsWith(part) => text(|tag, part| tag.starts_with(part), part),
            Self::EndsWith(part) => text(|tag, part| tag.ends_with(part), part),
            Self::Contains(part) => text(|tag, part| tag.contains(part), part),
            Self::Compares(ways, number) => number.order_of(tag).is_some_and(|order| ways.contains(&order)),
        }
    }
}

impl Scalar {
    pub(super) fn from_value(value: &Value) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::I64(value) => Self::Integer((*value).into()),
            Value::U64(value) => Self::Integer((*value).into()),
            Value::F64(value) => Self::Float(value.to_bits()),
            Value::Str(value) => Self::Text(value.clone()),
            Value::Null | Value::Bytes(_) | Value::List(_) | Value::Map(_) => Self::Other,
        }
    }

    fn equals(&self, tag: &Value) -> bool {
        match self {
            Self::Bool(value) => tag.as_bool() == Some(*value),
            Self::Text(value) => tag.as_str() == Some(value),
            Self::Integer(_) | Self::Float(_) => self.order_of(tag) == Some(Ordering::Equal),
            Self::Other => false,
        }
    }

    /// Compares a tag with this number; `None` unless both are numbers.
    fn order_of(&self, tag: &Value) -> Option<Ordering> {
        let float = |bits: &u64| f64::from_bits(*bits);
        match (tag, self) {
            (Value::I64(tag), Self::Integer(number)) => Some(i128::from(*tag).cmp(number)),
            (Value::U64(tag), Self::Integer(number)) => Some(i128::from(*tag).cmp(number)),
            (Value::I64(tag), Self::Float(bits)) => compare(i128::from(*tag), float(bits)),
            (Value::U64(tag), Self::Float(bits)) => compare(i128::from(*tag), float(bits)),
            (Value::F64(tag), Self::Float(bits)) => tag.partial_cmp(&float(bits)),
            (Value::F64(tag), Self::Integer(number)) => compare(*number, *tag).map(Ordering::reverse),
            _ => None,
        }
    }
}

/// Compares an integer of at most 64 bits and a sign with a float, without rounding.
fn compare(integer: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // A cast to an integer saturates, beyond all integers here.
    let whole = integer.cmp(&(float.trunc() as i128));
    Some(whole.then_with(|| 0.0.partial_cmp(&float.fract()).unwrap_or(Ordering::Equal)))
}
