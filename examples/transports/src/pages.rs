//! The page, compiled in, and its requests other than those of the room.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use ws_consumer::client::ClientFiles;

use crate::{
    answers::{CSS, HTML, JS, SVG, empty, only, page},
    counts::Counts,
};

const JSON: &str = "application/json";

/// Answers a plain HTTP request.
pub(crate) fn answer<B>(request: &Request<B>, counts: &Counts) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if (request.method(), path) == (&Method::POST, "/head-size") {
        return page(JSON, head_size(request).to_string());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return only("GET, HEAD");
    }
    match path {
        "/" => page(HTML, include_str!("../page/index.html")),
        "/stats" => page(JSON, serde_json::json!(counts.now()).to_string()),
        // The style is the chat's.
        "/static/style.css" => page(CSS, include_str!("../../chat/page/style.css")),
        "/static/icon.svg" => page(SVG, include_str!("../../chat/page/icon.svg")),
        "/static/panels.css" => page(CSS, include_str!("../page/panels.css")),
        "/static/page.js" => page(JS, include_str!("../page/page.js")),
        "/static/panel.js" => page(JS, include_str!("../page/panel.js")),
        "/static/meter.js" => page(JS, include_str!("../page/meter.js")),
        _ => ClientFiles::new().response(request).unwrap_or_else(|| empty(StatusCode::NOT_FOUND)),
    }
}

/// The size of a request's head: a page cannot know what its browser adds.
fn head_size<B>(request: &Request<B>) -> usize {
    let first = request.method().as_str().len() + request.uri().path().len() + " HTTP/1.1\r\n".len() + 1;
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    first + headers.sum::<usize>() + "\r\n".len()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use ws_consumer::Transport;

    use super::*;

    fn get(uri: &str) -> Response<Full<Bytes>> {
        answer(&Request::get(uri).body(()).unwrap(), &Counts::default())
    }

    #[test]
    fn page_assets_exist() {
        let page = include_str!("../page/index.html");
        let asked = page.split('"').filter(|text| text.starts_with("/static/"));
        let asked: Vec<_> =
            asked.chain(["/static/panel.js", "/static/meter.js", "/channels/channels.js"]).collect();
        assert!(asked.len() > 5, "{asked:?}");
        for path in asked {
            assert_eq!(get(path).status(), 200, "{path}");
        }
        assert_eq!(get("/static/nope.js").status(), 404);
    }

    #[test]
    fn content_length_matches() {
        let head = "POST /head-size HTTP/1.1\r\nhost: a\r\naccept: */*\r\n\r\n";
        let request =
            Request::post("/head-size").header("host", "a").header("accept", "*/*").body(()).unwrap();
        assert_eq!(head_size(&request), head.len());
    }

    #[tokio::test]
    async fn stats_count_by_transport() {
        let counts = Counts::default();
        let _seat = counts.enter(Transport::LongPoll);
        let response = answer(&Request::get("/stats").body(()).unwrap(), &counts);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"long-poll":1}"#);
    }
}
