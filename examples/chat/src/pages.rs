//! The pages, compiled in.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use ws_consumer::client::ClientFiles;

use crate::answers::{CSS, HTML, JS, SVG, empty, only, page};

/// Answers a plain HTTP request.
pub(crate) fn answer<B>(request: &Request<B>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return only("GET, HEAD");
    }
    let uri = request.uri();
    match uri.path() {
        "/" => match uri.query().and_then(asked_room) {
            Some(room) => redirect(&room),
            None => page(HTML, include_str!("../page/index.html")),
        },
        "/static/style.css" => page(CSS, include_str!("../page/style.css")),
        "/static/room.css" => page(CSS, include_str!("../page/room.css")),
        "/static/index.js" => page(JS, include_str!("../page/index.js")),
        "/static/room.js" => page(JS, include_str!("../page/room.js")),
        "/static/icon.svg" => page(SVG, include_str!("../page/icon.svg")),
        "/static/log.js" => page(JS, include_str!("../page/log.js")),
        path if is_room(path) => page(HTML, include_str!("../page/room.html")),
        _ => ClientFiles::new().response(request).unwrap_or_else(|| empty(StatusCode::NOT_FOUND)),
    }
}

/// The room in `?num=<room>`.
fn asked_room(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("num="))?;
    let decoded = percent_decode_str(&value.replace('+', " ")).decode_utf8().ok()?.into_owned();
    (!decoded.is_empty()).then_some(decoded)
}

/// `/chat/<room>/`
fn is_room(path: &str) -> bool {
    let room = path.strip_prefix("/chat/").and_then(|rest| rest.strip_suffix('/'));
    room.is_some_and(|room| !room.is_empty() && !room.contains('/'))
}

fn redirect(room: &str) -> Response<Full<Bytes>> {
    let target = format!("/chat/{}/", utf8_percent_encode(room, NON_ALPHANUMERIC));
    let mut response = empty(StatusCode::SEE_OTHER);
    let target = HeaderValue::try_from(target).expect("percent-encoded, so plain ASCII");
    response.headers_mut().insert(header::LOCATION, target);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::POLICY;

    fn get(uri: &str) -> Response<Full<Bytes>> {
        answer(&Request::get(uri).body(()).unwrap())
    }

    #[test]
    fn names_allowed_methods() {
        let refused = answer(&Request::post("/").body(()).unwrap());
        assert_eq!(
            (refused.status().as_u16(), refused.headers()["allow"].to_str().unwrap()),
            (405, "GET, HEAD")
        );
    }

    #[test]
    fn redirects_to_the_room() {
        for (asked, target) in
            [("lobby", "/chat/lobby/"), ("%E6%B1%89", "/chat/%E6%B1%89/"), ("a+b%2F", "/chat/a%20b%2F/")]
        {
            let response = get(&format!("/?num={asked}"));
            assert_eq!(
                (response.status().as_u16(), response.headers()["location"].to_str().unwrap()),
                (303, target)
            );
        }
        assert_eq!(get("/?num=").status(), 200);
    }

    #[test]
    fn serves_only_room_pages() {
        assert_eq!(get("/chat/lobby/").status(), 200);
        for path in ["/chat/", "/chat//", "/chat/a/b/", "/nope", "/channels/", "/channels/test/wire.test.js"]
        {
            assert_eq!(get(path).status(), 404, "{path}");
        }
    }

    #[test]
    fn pages_import_the_served_client() {
        let files = ClientFiles::new();
        assert!(include_str!("../page/room.js").contains(&format!("from \"{}\"", files.entry_url())));
        for path in [files.entry_url(), files.source_url()] {
            assert_eq!(get(&path).headers()["content-type"], "text/javascript; charset=utf-8", "{path}");
        }
    }

    #[test]
    fn pages_have_a_policy() {
        for path in ["/", "/chat/lobby/", "/static/room.js"] {
            assert_eq!(get(path).headers()["content-security-policy"], POLICY, "{path}");
        }
    }
}
