//! The names of channels and groups, parsed and checked once.
//!
//! The rules are Django Channels', in strict ASCII: letters, digits, `-`, `_` and `.`, shorter than
//! 100 bytes. A channel's name may contain one `!`. The part after it is local to the process that owns the part
//! before it, and may be empty.

mod encode;

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::error::NameError;

/// The exclusive upper bound of the length of a name, in bytes.
pub const MAX_NAME_LENGTH: usize = 100;

/// The address of one connection (`specific.4f62!Zy1b`) or of workers (`thumbnails`).
///
/// A name has 1 to 99 bytes: ASCII letters, digits, `-`, `_`, `.` and at most one `!`, which is not the first. Names
/// are case-sensitive. Dots may stand anywhere, also first, last and doubled, so that a backend whose addresses give
/// `.` or upper case a meaning has to map them. No name has a `/`, a space or a wildcard.
///
/// ```
/// use channel_layer::ChannelName;
///
/// let name: ChannelName = "specific.4f62!Zy1b".parse()?;
/// assert_eq!(name.non_local(), "specific.4f62!");
/// assert!("two!marks!".parse::<ChannelName>().is_err());
/// assert!("..a..b.".parse::<ChannelName>().is_ok());
/// assert_ne!("Jobs".parse::<ChannelName>()?, "jobs".parse::<ChannelName>()?);
/// # Ok::<(), channel_layer::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// The name of a group. A group has any number of channels.
///
/// A name has 1 to 99 bytes: ASCII letters, digits, `-`, `_` and `.`. Names are case-sensitive, and dots may stand
/// anywhere, as in a [`ChannelName`]. A group and a channel may have the same name.
///
/// ```
/// use channel_layer::GroupName;
///
/// assert!("chat_lobby".parse::<GroupName>().is_ok());
/// assert!("chat!lobby".parse::<GroupName>().is_err());
/// assert!("a".repeat(99).parse::<GroupName>().is_ok() && "a".repeat(100).parse::<GroupName>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(Arc<str>);

impl ChannelName {
    /// Parses a name.
    ///
    /// # Errors
    /// The first rule that `name` breaks.
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        let name = name.as_ref();
        let (head, local) = name.split_once('!').unwrap_or((name, ""));
        check_head(head, name.len())?;
        check_characters(local, head.len() + 1)?;
        Ok(Self(name.into()))
    }

    /// The part that identifies the receiving process: up to and including the `!`, or the complete name.
    pub fn non_local(&self) -> &str {
        let end = self.0.find('!').map_or(self.0.len(), |at| at + 1);
        &self.0[..end]
    }

    /// Whether the name has a part that is local to one process.
    pub fn is_process_local(&self) -> bool {
        self.0.contains('!')
    }
}

impl GroupName {
    /// Parses a name.
    ///
    /// # Errors
    /// The first rule that `name` breaks.
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        let name = name.as_ref();
        check_head(name, name.len())?;
        Ok(Self(name.into()))
    }
}

fn check_head(head: &str, len: usize) -> Result<(), NameError> {
    if head.is_empty() {
        return Err(NameError::Empty);
    }
    if len >= MAX_NAME_LENGTH {
        return Err(NameError::TooLong { len });
    }
    check_characters(head, 0)
}

fn check_characters(part: &str, offset: usize) -> Result<(), NameError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    match part.bytes().position(|b| !allowed(b)) {
        Some(at) => Err(NameError::Character { at: offset + at }),
        None => Ok(()),
    }
}

/// Implements the traits of both kinds of names.
macro_rules! name {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
        impl TryFrom<&str> for $name {
            type Error = NameError;
            fn try_from(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
        impl TryFrom<&String> for $name {
            type Error = NameError;
            fn try_from(name: &String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
        impl From<&$name> for $name {
            fn from(name: &$name) -> Self {
                name.clone()
            }
        }
    };
}
name!(ChannelName);
name!(GroupName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_names_are_strict_ascii() {
        for good in ["a", "a!", "a!b", "Az09-_.", &"x".repeat(99)] {
            assert!(ChannelName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "!", "!b", "a!b!c", "a b", "a?b", "a\n", "٣abc", "a!é", &"x".repeat(100)] {
            assert!(ChannelName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rejects_marks_in_groups() {
        assert_eq!(GroupName::new("a!b"), Err(NameError::Character { at: 1 }));
        assert_eq!(GroupName::new("x".repeat(101)), Err(NameError::TooLong { len: 101 }));
        assert_eq!(GroupName::new(""), Err(NameError::Empty));
    }

    #[test]
    fn deserializes_by_the_rules() {
        let group: GroupName = serde_json::from_str("\"lobby\"").unwrap();
        assert_eq!(serde_json::to_string(&group).unwrap(), "\"lobby\"");
        for bad in ["\"no spaces\"", "\"\"", "7", "\"a!b\""] {
            assert!(serde_json::from_str::<GroupName>(bad).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<ChannelName>("\"a!b\"").is_ok());
    }

    #[test]
    fn checks_behind_the_mark() {
        assert_eq!(ChannelName::new("ab!c d"), Err(NameError::Character { at: 4 }));
    }

    #[test]
    fn non_local_ends_with_the_mark() {
        assert_eq!(ChannelName::new("a!b").unwrap().non_local(), "a!");
        assert_eq!(ChannelName::new("plain").unwrap().non_local(), "plain");
    }
}
