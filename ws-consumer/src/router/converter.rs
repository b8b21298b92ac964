//! Kinds of parameters.

use std::{collections::HashMap, fmt, sync::Arc};

type Accepts = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The kind of a parameter.
#[derive(Clone)]
pub(super) enum Converter {
    Custom(Arc<str>, Accepts),
    Int,
    /// The rest of the path.
    Path,
    Slug,
    Str,
    Uuid,
}

/// The custom kinds of a router.
#[derive(Clone, Default)]
pub(super) struct Converters(HashMap<String, Accepts>);

impl Converters {
    pub(super) fn insert(&mut self, name: &str, accepts: Accepts) -> Result<(), String> {
        if !is_name(name) {
            return Err("it is no name".to_owned());
        }
        if self.find(name).is_some() {
            return Err("it exists already".to_owned());
        }
        self.0.insert(name.to_owned(), accepts);
        Ok(())
    }

    pub(super) fn find(&self, name: &str) -> Option<Converter> {
        Some(match name {
            "int" => Converter::Int,
            "path" => Converter::Path,
            "slug" => Converter::Slug,
            "str" => Converter::Str,
            "uuid" => Converter::Uuid,
            other => Converter::Custom(other.into(), self.0.get(other)?.clone()),
        })
    }
}

impl Converter {
    /// Whether the kind accepts a percent-decoded, non-empty text.
    pub(super) fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Custom(_, accepts) => accepts(text),
            Self::Int => text.bytes().all(|b| b.is_ascii_digit()),
            Self::Path | Self::Str => true,
            Self::Slug => text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')),
            Self::Uuid => is_uuid(text),
        }
    }
}

/// Two converters are equal if they accept the same texts: built-in ones by kind, custom ones by identity.
impl PartialEq for Converter {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Custom(_, a), Self::Custom(_, b)) => Arc::ptr_eq(a, b),
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

impl fmt::Debug for Converter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Custom(name, _) => name,
            Self::Int => "int",
            Self::Path => "path",
            Self::Slug => "slug",
            Self::Str => "str",
            Self::Uuid => "uuid",
        })
    }
}

pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `8-4-4-4-12` digits of lower-case hexadecimal, as in Django.
fn is_uuid(text: &str) -> bool {
    let is_hyphen = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| if is_hyphen(at) { b == b'-' } else { is_digit(b) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_accept_their_texts() {
        let mut all = Converters::default();
        all.insert("year", Arc::new(|text| text.len() == 4)).unwrap();
        let uuid = "075194d3-6885-417e-a8a8-6c931e272f00";
        for (kind, takes, refuses) in [
            ("int", "0123", "12a"),
            ("int", "7", "-7"),
            ("int", "7", "٣"),
            ("slug", "a-b_C9", "a.b"),
            ("str", "汉 /?", ""),
            ("uuid", uuid, &uuid.to_uppercase()),
            ("uuid", uuid, &uuid[1..]),
            ("year", "2026", "26"),
        ] {
            let kind = all.find(kind).unwrap();
            assert!(kind.accepts(takes), "{kind:?} {takes}");
            assert!(refuses.is_empty() || !kind.accepts(refuses), "{kind:?} {refuses}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut all = Converters::default();
        assert!(all.insert("int", Arc::new(|_| true)).unwrap_err().contains("exists"));
        assert!(all.insert("a b", Arc::new(|_| true)).unwrap_err().contains("no name"));
        all.insert("mine", Arc::new(|_| true)).unwrap();
        assert!(all.insert("mine", Arc::new(|_| true)).is_err());
        assert!(all.find("yours").is_none());
    }
}
