//! URL patterns, without IO.

use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    /// Shared with every scope that it matched.
    Param(Arc<str>),
}

type Params = Vec<(Arc<str>, String)>;

impl Pattern {
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        let path = pattern.strip_prefix('/').ok_or("it has to begin with `/`")?;
        let segments = path.split('/').map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<_> = segments.iter().filter_map(Segment::name).collect();
        match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            Some((_, twice)) => Err(format!("the parameter `{twice}` is named twice")),
            None => Ok(Self(segments)),
        }
    }

    /// The parameters of a path that matches.
    ///
    /// Segments are split before they are decoded, so an encoded slash is part of a segment.
    ///
    /// # Errors
    /// A parameter whose bytes are no UTF-8.
    pub(super) fn matches(&self, path: &str) -> Result<Option<Params>> {
        let Some(path) = path.strip_prefix('/') else { return Ok(None) };
        let mut params = Params::new();
        let mut given = path.split('/');
        for segment in &self.0 {
            match (segment, given.next()) {
                (Segment::Literal(wanted), Some(given)) if decodes_to(given, wanted) => {}
                (Segment::Param(name), Some(given)) if !given.is_empty() => {
                    params.push((name.clone(), decode(given)?));
                }
                _ => return Ok(None),
            }
        }
        Ok(given.next().is_none().then_some(params))
    }
}

impl Segment {
    fn parse(segment: &str) -> Result<Self, String> {
        let Some(inner) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            return match segment.contains(['{', '}']) {
                true => Err(format!("`{segment}`: a parameter takes a whole segment, as in `/{{name}}/`")),
                false => Ok(Self::Literal(segment.into())),
            };
        };
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if inner.is_empty() || !is_name(inner) {
            return Err(format!("`{inner}` is no name of a parameter"));
        }
        Ok(Self::Param(inner.into()))
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Param(name) => Some(name),
        }
    }
}

fn decodes_to(given: &str, wanted: &str) -> bool {
    given == wanted || (given.contains('%') && percent_decode_str(given).eq(wanted.bytes()))
}

fn decode(given: &str) -> Result<String> {
    let decoded = percent_decode_str(given).decode_utf8();
    decoded.map(String::from).map_err(|_| Error::bad_input("a part of the path is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pattern: &str, path: &str) -> Option<Vec<String>> {
        let found = Pattern::parse(pattern).unwrap().matches(path).unwrap()?;
        Some(found.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[test]
    fn a_parameter_matches_one_whole_segment() {
        let pattern = "/ws/chat/{room}/";
        assert_eq!(params(pattern, "/ws/chat/lobby/").unwrap(), ["room=lobby"]);
        for other in ["/ws/chat/lobby", "/ws/chat//", "/ws/chat/a/b/", "/ws/chat/lobby/x", "ws/chat/lobby/"] {
            assert_eq!(params(pattern, other), None, "{other}");
        }
        assert_eq!(params("/{a}/{b}", "/1/2").unwrap(), ["a=1", "b=2"]);
        assert_eq!(params("/", "/").unwrap(), [""; 0]);
    }

    #[test]
    fn a_parameter_is_decoded_once_and_an_encoded_slash_stays_inside() {
        assert_eq!(params("/{a}", "/%E6%B1%89%2F%2541").unwrap(), ["a=汉/%41"]);
        assert_eq!(params("/a b/{a}", "/a%20b/x").unwrap(), ["a=x"]);
        assert!(Pattern::parse("/{a}").unwrap().matches("/%ff").unwrap_err().is_bad_input());
    }

    #[test]
    fn faults_in_patterns_are_told() {
        for (pattern, fault) in
            [("ws", "begin"), ("/{a", "whole"), ("/x{a}", "whole"), ("/{}", "name"), ("/{a}/{a}", "twice")]
        {
            let told = Pattern::parse(pattern).unwrap_err();
            assert!(told.contains(fault), "{pattern}: {told}");
        }
    }
}
