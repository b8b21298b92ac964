//! Checks of the headers that the server acts on, whatever the request asks for.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The headers that determine a request's origin, target and end.
const CHECKED: [HeaderName; 18] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::FORWARDED,
    header::HOST,
    header::ORIGIN,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-request-id"),
];

/// Whether the headers mean the same to every server on the request's way.
///
/// Some parsers read the byte 0x85, a line break in Latin-1, as one, and see two headers in place of one. Within UTF-8 it
/// is none. In all other headers, cookies among them, bytes above 0x7F are opaque (RFC 9110, section 5.5).
///
/// With two `Host` lines, two servers may each read a different one (RFC 9112, section 3.2).
pub(crate) fn are_sound(headers: &HeaderMap) -> bool {
    let has_one_host = headers.get_all(header::HOST).iter().nth(1).is_none();
    has_one_host && CHECKED.iter().flat_map(|name| headers.get_all(name)).all(is_sound)
}

fn is_sound(value: &HeaderValue) -> bool {
    let is_c1 = |byte: &u8| (0x80..=0x9F).contains(byte);
    !value.as_bytes().iter().any(is_c1) || std::str::from_utf8(value.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_only_the_headers_acted_on() {
        for (name, value, sound) in [
            ("origin", &b"http://a\x85x: b"[..], false),
            ("x-forwarded-for", b"1.2.3.4\x93", false),
            ("origin", b"http://caf\xe9", true),
            ("host", "\u{6c49}".as_bytes(), true),
            ("cookie", b"a\x85b=\x93", true),
            ("authorization", b"Basic \x85", true),
            ("x-anything", b"a\x85x: b", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_bytes(value).unwrap());
            assert_eq!(are_sound(&headers), sound, "{name}: {}", value.escape_ascii());
        }
    }

    #[test]
    fn refuses_a_second_host() {
        let mut headers = HeaderMap::new();
        for sound in [true, false] {
            headers.append("host", HeaderValue::from_static("a"));
            assert_eq!(are_sound(&headers), sound);
        }
    }
}
