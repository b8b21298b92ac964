//! Replies, read independently of their shape.
//!
//! The shape of a reply depends on the version of the protocol (a score is a double or a text), on the version of Redis
//! (`ZPOPMIN key n` is flat or nested), and on the server. This module reads all of them.

use redis::Value;

use super::error::refusal;
use crate::{error::CallError, stats::Counters};

/// The number of items that the description of a reply shows.
const SHOWN: usize = 8;

/// The reply to a command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Bytes(Vec<u8>),
    Float(f64),
    Integer(i64),
    List(Vec<Reply>),
    Nil,
    Text(String),
}

impl Reply {
    /// A map becomes a list in which each key stands before its value.
    pub(super) fn from_value(value: Value) -> Result<Self, CallError> {
        Ok(match value {
            Value::Nil => Self::Nil,
            Value::Int(number) => Self::Integer(number),
            Value::Double(number) => Self::Float(number),
            Value::Boolean(is_so) => Self::Integer(is_so.into()),
            Value::BulkString(bytes) => Self::Bytes(bytes),
            Value::SimpleString(text) | Value::VerbatimString { text, .. } => Self::Text(text),
            Value::Okay => Self::Text("OK".to_owned()),
            Value::Array(items) | Value::Set(items) | Value::Push { data: items, .. } => {
                Self::List(items.into_iter().map(Self::from_value).collect::<Result<_, _>>()?)
            }
            Value::Map(entries) => {
                let items = entries.into_iter().flat_map(|(key, value)| [key, value]);
                Self::List(items.map(Self::from_value).collect::<Result<_, _>>()?)
            }
            Value::Attribute { data, .. } => Self::from_value(*data)?,
            Value::ServerError(error) => return Err(refusal(&error)),
            _ => return Err(CallError::UnexpectedReply("a command")),
        })
    }

    /// Reads the reply to a command. A reply that `read` does not accept is counted and logged.
    pub(crate) fn read<'a, T>(
        &'a self,
        command: &'static str,
        counters: &Counters,
        read: impl FnOnce(&'a Self) -> Option<T>,
    ) -> Result<T, CallError> {
        read(self).ok_or_else(|| {
            self.note_unreadable(command, counters);
            CallError::UnexpectedReply(command)
        })
    }

    /// Counts and logs the reply as unreadable.
    pub(crate) fn note_unreadable(&self, command: &'static str, counters: &Counters) {
        counters.note_unreadable(command, format_args!("an unexpected reply: {}", self.shape()));
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => self.text()?.parse().ok(),
        }
    }

    /// The text, in either of its two forms.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The bytes, in either of their two forms.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The items of a list. Some servers reply nil for an empty one.
    pub(crate) fn list(&self) -> Option<&[Reply]> {
        match self {
            Self::List(items) => Some(items),
            Self::Nil => Some(&[]),
            _ => None,
        }
    }

    /// The items of a list and of all nested lists, in order. Nil has none.
    pub(crate) fn leaves(&self) -> Vec<&Reply> {
        match self {
            Self::List(items) => items.iter().flat_map(Self::leaves).collect(),
            Self::Nil => Vec::new(),
            other => vec![other],
        }
    }

    /// A page of `SCAN`: the next cursor and the keys.
    pub(crate) fn page(&self) -> Option<(String, Vec<&[u8]>)> {
        let [cursor, keys] = self.list()? else { return None };
        let cursor = cursor.text().map(str::to_owned).or_else(|| Some(cursor.integer()?.to_string()))?;
        Some((cursor, keys.list()?.iter().map(Self::bytes).collect::<Option<_>>()?))
    }

    /// The score of a member: a number in RESP3, a text in RESP2.
    pub(crate) fn score(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            Self::Integer(number) => Some(*number as f64),
            _ => self.text()?.parse().ok(),
        }
    }

    /// For logs: the types of the items, without their content.
    pub(crate) fn shape(&self) -> String {
        match self {
            Self::Bytes(_) => "bytes".to_owned(),
            Self::Float(_) => "float".to_owned(),
            Self::Integer(_) => "integer".to_owned(),
            Self::Nil => "nil".to_owned(),
            Self::Text(_) => "text".to_owned(),
            Self::List(items) => {
                let kinds: Vec<_> = items.iter().take(SHOWN).map(Self::shape_of_item).collect();
                let more = if items.len() > SHOWN { ", ..." } else { "" };
                format!("[{}{more}]", kinds.join(", "))
            }
        }
    }

    fn shape_of_item(&self) -> String {
        match self {
            Self::List(items) => format!("[{}]", items.len()),
            other => other.shape(),
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    fn reply(bytes: &str) -> Reply {
        Reply::from_value(parse_redis_value(bytes.as_bytes()).unwrap()).unwrap()
    }

    /// The shapes were recorded from Redis 6.0 to 7.4 and KeyDB 6.2, in both versions of the protocol.
    #[test]
    fn reads_scores_in_every_shape() {
        let shapes = [
            "*2\r\n*2\r\n$1\r\na\r\n,1.5\r\n*2\r\n$1\r\nb\r\n,2\r\n",
            "*4\r\n$1\r\na\r\n,1.5\r\n$1\r\nb\r\n,2\r\n",
            "*4\r\n$1\r\na\r\n$3\r\n1.5\r\n$1\r\nb\r\n$1\r\n2\r\n",
            "%2\r\n$1\r\na\r\n,1.5\r\n$1\r\nb\r\n:2\r\n",
            "*2\r\n*2\r\n+a\r\n+1.5\r\n*2\r\n+b\r\n:2\r\n",
            "|1\r\n+ttl\r\n:1\r\n*4\r\n$1\r\na\r\n,1.5\r\n$1\r\nb\r\n,2\r\n",
        ];
        for shape in shapes {
            let reply = reply(shape);
            let leaves = reply.leaves();
            let pairs: Vec<_> =
                leaves.chunks(2).map(|pair| (pair[0].bytes().unwrap(), pair[1].score().unwrap())).collect();
            assert_eq!(pairs, [(&b"a"[..], 1.5), (b"b", 2.0)], "{shape:?}");
        }
        for empty in ["*0\r\n", "*-1\r\n", "$-1\r\n", "_\r\n", "*1\r\n*0\r\n", "%0\r\n", "~0\r\n"] {
            assert!(reply(empty).leaves().is_empty(), "{empty:?}");
        }
    }

    #[test]
    fn reads_numbers_and_lists() {
        for number in [":3\r\n", "$1\r\n3\r\n", "+3\r\n"] {
            assert_eq!(reply(number).integer(), Some(3), "{number:?}");
        }
        assert_eq!(reply("#t\r\n").integer(), Some(1));
        assert_eq!(reply("+OK\r\n").integer(), None);
        for list in ["*1\r\n:1\r\n", "~1\r\n:1\r\n"] {
            assert_eq!(reply(list).list(), Some(&[Reply::Integer(1)][..]));
        }
        for empty in ["*0\r\n", "*-1\r\n", "$-1\r\n", "_\r\n"] {
            assert_eq!(reply(empty).list(), Some(&[][..]), "{empty:?}");
        }
        assert_eq!(reply(":1\r\n").list(), None);
    }

    #[test]
    fn unreadable_replies_are_counted() {
        let counters = Counters::default();
        let odd = reply("*3\r\n$6\r\ncanary\r\n*2\r\n:1\r\n:2\r\n_\r\n");
        assert_eq!(odd.read("TIME", &counters, Reply::integer), Err(CallError::UnexpectedReply("TIME")));
        assert_eq!(counters.snapshot().unreadable, 1);
        assert_eq!(odd.shape(), "[bytes, [2], nil]");
    }
}
