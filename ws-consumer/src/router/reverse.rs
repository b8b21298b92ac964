//! From a route back to its URL.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    converter::Converter,
    pattern::{Pattern, Segment},
};

/// The patterns that lead to a route, outermost first; nothing where one of them is a regular expression.
#[derive(Clone)]
pub(super) struct Reverse(Option<Vec<Pattern>>);

/// What a segment may hold as it is (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same with slashes.
const PATH: &AsciiSet = &SEGMENT.remove(b'/');

impl Reverse {
    pub(super) fn of(pattern: Option<Pattern>) -> Self {
        Self(pattern.map(|pattern| vec![pattern]))
    }

    pub(super) fn then(self, inner: Self) -> Self {
        Self(self.0.zip(inner.0).map(|(outer, inner)| [outer, inner].concat()))
    }

    pub(super) fn url(&self, params: &[(&str, &str)]) -> Result<String, String> {
        let patterns = self.0.as_ref().ok_or("a regular expression does not lead back to a URL")?;
        let mut url = String::new();
        for segment in patterns.iter().flat_map(Pattern::segments) {
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
    // A client would resolve these two away, however they are encoded.
    if value.is_empty() || matches!(*value, "." | "..") || !kind.accepts(value) {
        return Err(format!("the parameter `{name}` cannot be {value:?}"));
    }
    Ok(utf8_percent_encode(value, if *kind == Converter::Path { PATH } else { SEGMENT }))
}
