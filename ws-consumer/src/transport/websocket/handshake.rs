//! Validation of the opening handshake (RFC 6455, section 4.2.1).
//!
//! All of it happens here, neither in hyper nor in hyper-tungstenite. It is strict: a lenient upgrade in one server has
//! been request smuggling through another.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};

use crate::{
    scope::headers::{items, single},
    wire::Refuse,
};

/// The longest path with its query: the limit of common proxies.
const MAX_PATH: usize = 8 << 10;

/// Whether a request asks for a WebSocket, validly or not.
pub(crate) fn is_asked_for<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    headers.contains_key(header::SEC_WEBSOCKET_KEY) || lists(headers, header::UPGRADE, "websocket")
}

/// Returns the refusal of an invalid handshake.
pub(crate) fn refusal<B>(request: &Request<B>) -> Option<Refuse> {
    let headers = request.headers();
    let asks = lists(headers, header::UPGRADE, "websocket") && lists(headers, header::CONNECTION, "upgrade");
    if request.method() == Method::GET && !asks {
        return Some(refuse(StatusCode::UPGRADE_REQUIRED, header::SEC_WEBSOCKET_VERSION, "13"));
    }
    if request.method() != Method::GET {
        return Some(refuse(StatusCode::METHOD_NOT_ALLOWED, header::ALLOW, "GET"));
    }
    if request.uri().path_and_query().is_some_and(|path| path.as_str().len() > MAX_PATH) {
        return Some(StatusCode::URI_TOO_LONG.into());
    }
    if headers.get_all(header::SEC_WEBSOCKET_VERSION).iter().ne(["13"]) {
        return Some(refuse(StatusCode::UPGRADE_REQUIRED, header::SEC_WEBSOCKET_VERSION, "13"));
    }
    let sound = request.version() == Version::HTTP_11
        && headers.get_all(header::HOST).iter().count() == 1
        && has_no_body(headers)
        && single(headers, header::SEC_WEBSOCKET_KEY).is_some_and(is_key);
    (!sound).then(|| StatusCode::BAD_REQUEST.into())
}

/// Whether a request has no body, which would be read as frames after the upgrade.
fn has_no_body(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::TRANSFER_ENCODING)
        && headers.get_all(header::CONTENT_LENGTH).iter().all(|length| length == "0")
}

/// Whether a header that is a list has the item `wanted`.
fn lists(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(wanted))
}

/// Whether a key is sixteen bytes in base64: 22 characters and two of padding.
fn is_key(value: &HeaderValue) -> bool {
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let key = value.as_bytes().strip_suffix(b"==");
    key.is_some_and(|key| key.len() == 22 && key.iter().all(is_base64))
}

fn refuse(status: StatusCode, name: HeaderName, value: &'static str) -> Refuse {
    let mut refuse = Refuse::from(status);
    refuse.headers.insert(name, HeaderValue::from_static(value));
    refuse
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request() -> http::request::Builder {
        asking().header("sec-websocket-version", "13")
    }

    fn asking() -> http::request::Builder {
        Request::get("/")
            .header("host", "a")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "websocket")
    }

    fn status(request: http::request::Builder) -> Option<u16> {
        refusal(&request.body(()).unwrap()).map(|refuse| refuse.status.as_u16())
    }

    #[test]
    fn a_valid_handshake_passes() {
        assert_eq!(status(request().header("sec-websocket-key", KEY)), None);
        assert_eq!(status(request().header("sec-websocket-key", KEY).header("content-length", "0")), None);
    }

    #[test]
    fn requires_one_key_of_16_bytes() {
        for key in
            ["", "AAAA", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25j!!==", "x".repeat(24).as_str()]
        {
            assert_eq!(status(request().header("sec-websocket-key", key)), Some(400), "{key}");
        }
        assert_eq!(status(request()), Some(400));
        let twice = request().header("sec-websocket-key", KEY).header("sec-websocket-key", KEY);
        assert_eq!(status(twice), Some(400));
    }

    #[test]
    fn refuses_methods_versions_bodies() {
        let proper = || request().header("sec-websocket-key", KEY);
        assert_eq!(status(proper().method("POST")), Some(405));
        assert_eq!(status(proper().version(Version::HTTP_10)), Some(400));
        assert_eq!(status(proper().header("host", "b")), Some(400));
        assert_eq!(status(proper().header("content-length", "3")), Some(400));
        assert_eq!(status(proper().header("transfer-encoding", "chunked")), Some(400));
        let mut no_host = proper().body(()).unwrap();
        no_host.headers_mut().remove("host");
        assert_eq!(refusal(&no_host).unwrap().status, 400);
    }

    #[test]
    fn answers_half_a_handshake_with_426() {
        let no_connection = Request::get("/").header("host", "a").header("upgrade", "websocket");
        let no_upgrade = Request::get("/").header("host", "a").header("sec-websocket-key", KEY);
        for half in [no_connection, no_upgrade] {
            let half = half.body(()).unwrap();
            assert!(is_asked_for(&half));
            assert_eq!(refusal(&half).unwrap().status, StatusCode::UPGRADE_REQUIRED);
        }
        assert!(!is_asked_for(&Request::get("/").body(()).unwrap()));
    }

    #[test]
    fn names_the_supported_version() {
        for version in ["8", "13, 8", ""] {
            let request = asking().header("sec-websocket-version", version);
            let refuse = refusal(&request.header("sec-websocket-key", KEY).body(()).unwrap()).unwrap();
            assert_eq!(refuse.status, StatusCode::UPGRADE_REQUIRED);
            assert_eq!(refuse.headers["sec-websocket-version"], "13");
        }
    }
}
