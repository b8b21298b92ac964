//! URLs of named routes.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    converter::Converter,
    pattern::{RoutePattern, Segment},
};

/// The patterns that lead to a route, outermost first. `None` if one of them is a regular expression.
#[derive(Clone)]
pub(super) struct Reverse(Option<Vec<RoutePattern>>);

/// The characters that are encoded in a segment: all but the unreserved ones (RFC 3986).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The characters that are encoded in a path.
const PATH: &AsciiSet = &SEGMENT.remove(b'/');

impl Reverse {
    pub(super) fn new(pattern: Option<RoutePattern>) -> Self {
        Self(pattern.map(|pattern| vec![pattern]))
    }

    pub(super) fn then(self, inner: Self) -> Self {
        Self(self.0.zip(inner.0).map(|(outer, inner)| [outer, inner].concat()))
    }

    pub(super) fn url(&self, params: &[(&str, &str)]) -> Result<String, String> {
        let patterns = self.0.as_ref().ok_or("a route by regular expression has no URL")?;
        let mut url = String::new();
        for segment in patterns.iter().flat_map(RoutePattern::segments) {
            url.push('/');
            match segment {
                Segment::Literal(text) => url.extend(utf8_percent_encode(text, SEGMENT)),
                Segment::Param(name, kind) => url.extend(encode(name, kind, params)?),
            }
        }
        Ok(url)
    }
}

fn encode<'a>(
    name: &str,
    kind: &Converter,
    params: &[(&str, &'a str)],
) -> Result<percent_encoding::PercentEncode<'a>, String> {
    let given = params.iter().find(|(given, _)| *given == name);
    let (_, value) = given.ok_or_else(|| format!("the parameter `{name}` is missing"))?;
    // Clients remove these two from a path, however they are encoded.
    if value.is_empty() || matches!(*value, "." | "..") || !kind.accepts(value) {
        return Err(format!("the parameter `{name}` cannot be {value:?}"));
    }
    Ok(utf8_percent_encode(value, if *kind == Converter::Path { PATH } else { SEGMENT }))
}
