//! Checks of a request body's codings. Unsupported ones are refused.
//!
//! An application cannot read a body in an unexpected coding. Two servers on a request's way that disagree on
//! where its body ends take a part of the body for the next request.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::wire::Refuse;

/// Refuses transfer codings other than `chunked` alone with 501 (RFC 9112, section 6.1). hyper accepts any list that ends
/// with it, and passes the body on undecoded.
pub(super) fn unsupported_transfer(headers: &HeaderMap) -> Option<Refuse> {
    if !headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    let mut codings = codings(headers, header::TRANSFER_ENCODING);
    let is_chunked = codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    (!is_chunked || codings.next().is_some()).then(|| StatusCode::NOT_IMPLEMENTED.into())
}

/// Refuses a compressed body with 415 and the accepted coding (RFC 9110, section 15.5.16).
pub(super) fn unsupported_content(headers: &HeaderMap) -> Option<Refuse> {
    let is_plain = |coding: &str| coding.is_empty() || coding.eq_ignore_ascii_case("identity");
    if codings(headers, header::CONTENT_ENCODING).all(is_plain) {
        return None;
    }
    let mut refuse = Refuse::from(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    refuse.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Some(refuse)
}

/// Returns the items of a list that may be spread over several lines. A line that is no text is an unknown
/// item.
fn codings(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or("?"));
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn refuses_unknown_codings() {
        for (values, status) in [
            (&[][..], None),
            (&["chunked"], None),
            (&[" Chunked "], None),
            (&["identity, chunked"], Some(501)),
            (&["identity", "chunked"], Some(501)),
            (&["gzip, chunked"], Some(501)),
            (&["chunked, chunked"], Some(501)),
            (&["chunked,"], Some(501)),
            (&["chunked;x=1"], Some(501)),
            (&["identity"], Some(501)),
            (&[""], Some(501)),
        ] {
            let refused = unsupported_transfer(&headers("transfer-encoding", values));
            assert_eq!(refused.map(|refuse| refuse.status.as_u16()), status, "{values:?}");
        }
        for (values, status) in [
            (&[][..], None),
            (&["identity"], None),
            (&["IDENTITY", ""], None),
            (&["gzip"], Some(415)),
            (&["identity, gzip"], Some(415)),
            (&["identity", "br"], Some(415)),
            (&["x"], Some(415)),
        ] {
            let refused = unsupported_content(&headers("content-encoding", values));
            assert_eq!(refused.map(|refuse| refuse.status.as_u16()), status, "{values:?}");
        }
    }
}
