//! Access to headers that occur once, and to headers that are lists.

use http::{
    HeaderMap, HeaderValue,
    header::{AsHeaderName, HeaderName},
};

/// Returns the value of a header that occurs exactly once.
pub(crate) fn single(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// Returns the items of a header that is a comma-separated list, over all of its lines. Items are trimmed, empty ones are
/// left out, and so are lines that are not visible ASCII.
pub(crate) fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_header_is_not_single() {
        let mut headers = HeaderMap::new();
        assert_eq!(single(&headers, "a"), None);
        headers.append("a", HeaderValue::from_static("1"));
        assert_eq!(single(&headers, "a").unwrap(), "1");
        headers.append("a", HeaderValue::from_static("1"));
        assert_eq!(single(&headers, "a"), None);
    }

    #[test]
    fn lists_span_lines() {
        let mut headers = HeaderMap::new();
        for line in [&b"a, b"[..], b", ,", b"\xff", b" c"] {
            headers.append("x", HeaderValue::from_bytes(line).unwrap());
        }
        let found: Vec<_> = items(&headers, HeaderName::from_static("x")).collect();
        assert_eq!(found, ["a", "b", "c"]);
    }
}
