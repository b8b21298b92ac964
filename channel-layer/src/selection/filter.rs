//! Filters: conditions of bounded size, also from clients.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::condition::{Clause, Condition, GREATER, LESS, NOT_GREATER, NOT_LESS, Scalar, Test};
use crate::{
    error::FilterError,
    message::Message,
    value::{Map, Value},
};

/// A filter over the [tags](Message::tags) of messages, of bounded size. Clones share it; equal filters of many members
/// are evaluated once per message.
///
/// Made of a [`Condition`](super::Condition), or of a client's JSON, in the form of Centrifugo:
///
/// ```
/// use channel_layer::{Message, TagFilter};
///
/// let filter: TagFilter = r#"{"op": "and", "nodes": [
///     {"key": "symbol", "cmp": "in", "vals": ["BTC", "ETH"]},
///     {"op": "not", "nodes": [{"key": "volume", "cmp": "lt", "val": 10}]}
/// ]}"#
///     .parse()?;
/// assert!(filter.matches(&Message::new("trade").with_tag("symbol", "ETH").with_tag("volume", 10)));
/// assert!(!filter.matches(&Message::new("trade").with_tag("symbol", "DOGE")));
/// # Ok::<(), channel_layer::FilterError>(())
/// ```
///
/// | field | values |
/// |---|---|
/// | `op` | `and`, `or` with any number of `nodes`, `not` with one; absent for a comparison |
/// | `key` | the tag's name |
/// | `cmp` | `eq`, `neq`; `in`, `nin`; `ex`, `nex` (exists or not); `sw`, `ew`, `ct` (starts with, ends with, contains); `gt`, `gte`, `lt`, `lte` |
/// | `val` | the value to compare with: text, a number, or a boolean |
/// | `vals` | the values of `in` and `nin` |
///
/// [`Tag`](super::Tag) has the meaning of the comparisons.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TagFilter(Arc<Clause>);

impl TagFilter {
    /// The most levels of `and`, `or` and `not`, with the comparisons within.
    pub const MAX_DEPTH: usize = 8;

    /// The most comparisons, operators and values, together.
    pub const MAX_PARTS: usize = 64;

    /// The most bytes of all names and texts together.
    pub const MAX_TEXT: usize = 4096;

    /// Whether the tags of a message match. A message without tags has no tag that a condition names.
    pub fn matches(&self, message: &Message) -> bool {
        self.0.holds(message.tags())
    }
}

impl TryFrom<Condition> for TagFilter {
    type Error = FilterError;

    fn try_from(condition: Condition) -> Result<Self, FilterError> {
        let mut left = FilterBudget { parts: Self::MAX_PARTS, text: Self::MAX_TEXT };
        left.take(&condition.0, Self::MAX_DEPTH)?;
        Ok(Self(Arc::new(condition.0)))
    }
}

impl FromStr for TagFilter {
    type Err = FilterError;

    fn from_str(json: &str) -> Result<Self, FilterError> {
        FilterForm::deserialize(&Map::from_json(json.as_bytes())?)?.read()
    }
}

impl TryFrom<&str> for TagFilter {
    type Error = FilterError;

    fn try_from(json: &str) -> Result<Self, FilterError> {
        json.parse()
    }
}

impl<'de> Deserialize<'de> for TagFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        FilterForm::deserialize(deserializer)?.read().map_err(D::Error::custom)
    }
}

const TOO_DEEP: FilterError = FilterError::TooDeep { limit: TagFilter::MAX_DEPTH };

const TOO_LARGE: FilterError =
    FilterError::TooLarge { parts: TagFilter::MAX_PARTS, bytes: TagFilter::MAX_TEXT };

/// The parts and bytes that a filter may still have.
struct FilterBudget {
    parts: usize,
    text: usize,
}

impl FilterBudget {
    fn take(&mut self, clause: &Clause, depth: usize) -> Result<(), FilterError> {
        let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
        self.part("")?;
        match clause {
            Clause::All(clauses) | Clause::Any(clauses) => {
                clauses.iter().try_for_each(|clause| self.take(clause, depth))
            }
            Clause::Not(inner) => self.take(inner, depth),
            Clause::Tag(name, test) => {
                self.part(name)?;
                match test {
                    Test::Exists => Ok(()),
                    Test::In(values) => values.iter().try_for_each(|value| self.value(value)),
                    Test::StartsWith(text) | Test::EndsWith(text) | Test::Contains(text) => self.part(text),
                    Test::Compares(_, number @ (Scalar::Integer(_) | Scalar::Float(_))) => self.value(number),
                    Test::Compares(..) => Err(FilterError::Scalar),
                }
            }
        }
    }

    fn value(&mut self, value: &Scalar) -> Result<(), FilterError> {
        match value {
            Scalar::Other => Err(FilterError::Scalar),
            Scalar::Float(bits) if f64::from_bits(*bits).is_nan() => Err(FilterError::Scalar),
            Scalar::Text(text) => self.part(text),
            Scalar::Bool(_) | Scalar::Integer(_) | Scalar::Float(_) => self.part(""),
        }
    }

    fn part(&mut self, text: &str) -> Result<(), FilterError> {
        self.parts = self.parts.checked_sub(1).ok_or(TOO_LARGE)?;
        self.text = self.text.checked_sub(text.len()).ok_or(TOO_LARGE)?;
        Ok(())
    }
}

/// A filter as clients write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilterForm {
    op: Option<String>,
    key: Option<String>,
    cmp: Option<String>,
    val: Option<Value>,
    vals: Option<Vec<Value>>,
    nodes: Option<Vec<FilterForm>>,
}

impl FilterForm {
    fn read(self) -> Result<TagFilter, FilterError> {
        TagFilter::try_from(Condition(self.clause(TagFilter::MAX_DEPTH)?))
    }

    fn clause(self, depth: usize) -> Result<Clause, FilterError> {
        let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
        let Self { op, key, cmp, val, vals, nodes } = self;
        match (op.as_deref().unwrap_or_default(), key, cmp, nodes) {
            ("", Some(key), Some(cmp), None) => comparison(key, &cmp, val, vals),
            ("", ..) => Err(FilterError::Parts { operation: "a comparison", takes: "`key` and `cmp`" }),
            ("and" | "or" | "not", None, None, Some(nodes)) if val.is_none() && vals.is_none() => {
                let nodes =
                    nodes.into_iter().map(|node| node.clause(depth)).collect::<Result<Vec<_>, _>>()?;
                match (op.as_deref(), <[Clause; 1]>::try_from(nodes)) {
                    (Some("not"), Ok([inner])) => Ok(Clause::Not(Box::new(inner))),
                    (Some("not"), Err(_)) => Err(FilterError::Parts { operation: "not", takes: "one node" }),
                    (Some("and"), nodes) => Ok(Clause::All(nodes.map_or_else(|nodes| nodes, Vec::from))),
                    (_, nodes) => Ok(Clause::Any(nodes.map_or_else(|nodes| nodes, Vec::from))),
                }
            }
            ("and" | "or" | "not", ..) => {
                Err(FilterError::Parts { operation: "an operator", takes: "`nodes` only" })
            }
            _ => Err(FilterError::Unknown { what: "operator", known: "and, or, not" }),
        }
    }
}

fn comparison(
    key: String,
    cmp: &str,
    val: Option<Value>,
    vals: Option<Vec<Value>>,
) -> Result<Clause, FilterError> {
    const KNOWN: &str = "eq, neq, in, nin, ex, nex, sw, ew, ct, gt, gte, lt, lte";
    let parts = |takes| FilterError::Parts { operation: "this comparison", takes };
    let is_negated = matches!(cmp, "neq" | "nin" | "nex");
    let test = match (cmp, val, vals) {
        ("ex" | "nex", None, None) => Test::Exists,
        ("ex" | "nex", ..) => return Err(parts("no value")),
        ("in" | "nin", None, Some(vals)) => Test::In(vals.iter().map(Scalar::from_value).collect()),
        ("in" | "nin", ..) => return Err(parts("`vals`")),
        ("eq" | "neq", Some(val), None) => Test::In(vec![Scalar::from_value(&val)]),
        ("sw", Some(Value::Str(text)), None) => Test::StartsWith(text),
        ("ew", Some(Value::Str(text)), None) => Test::EndsWith(text),
        ("ct", Some(Value::Str(text)), None) => Test::Contains(text),
        ("sw" | "ew" | "ct", ..) => return Err(parts("text as `val`")),
        ("gt", Some(val), None) => Test::Compares(GREATER, Scalar::from_value(&val)),
        ("gte", Some(val), None) => Test::Compares(NOT_LESS, Scalar::from_value(&val)),
        ("lt", Some(val), None) => Test::Compares(LESS, Scalar::from_value(&val)),
        ("lte", Some(val), None) => Test::Compares(NOT_GREATER, Scalar::from_value(&val)),
        ("eq" | "neq" | "gt" | "gte" | "lt" | "lte", ..) => return Err(parts("`val`")),
        _ => return Err(FilterError::Unknown { what: "comparison", known: KNOWN }),
    };
    let clause = Clause::Tag(key, test);
    Ok(if is_negated { Clause::Not(Box::new(clause)) } else { clause })
}

impl fmt::Debug for TagFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TagFilter").field(&self.0).finish()
    }
}
