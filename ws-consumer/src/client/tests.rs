use std::collections::BTreeSet;

use http_body_util::BodyExt;

use super::*;
use crate::scope::Transport;

fn request(method: Method, uri: &str) -> Request<()> {
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

async fn call(files: &ClientFiles, request: Request<()>) -> (StatusCode, HeaderMap, String) {
    let (head, body) = files.clone().call(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn entry_leads_to_immutable_modules() {
    let files = ClientFiles::new();
    let (status, headers, entry) = call(&files, request(Method::GET, "/channels/channels.js")).await;
    assert_eq!((status, &headers["cache-control"]), (StatusCode::OK, &HeaderValue::from_static("no-cache")));
    assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
    let target = entry.split('"').nth(1).and_then(|target| target.strip_prefix("./")).unwrap();
    assert_eq!(format!("/channels/{target}"), files.source_url());
    for file in files::modules() {
        let (status, headers, text) = call(&files, request(Method::GET, &files.module_url(file.path))).await;
        assert_eq!((status, text.as_str()), (StatusCode::OK, file.text), "{}", file.path);
        assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(headers["access-control-allow-origin"], "*");
    }
}

#[tokio::test]
async fn responses_by_path_and_method() {
    let files = ClientFiles::with_path("/static/client/");
    let hashed = files.source_url();
    let stripped = hashed.strip_prefix("/static/client").unwrap();
    for (method, path, expected) in [
        (Method::GET, "/static/client/channels.js", 200),
        (Method::GET, "/channels.js", 200), // behind a router that removes the prefix
        (Method::GET, "/channels.js?x=1", 200),
        (Method::GET, stripped, 200),
        (Method::GET, "/static/client/channels.d.ts", 200),
        (Method::HEAD, &hashed, 200),
        (Method::GET, "/static/client", 404),
        (Method::GET, "/static/client/", 404),
        (Method::GET, "/static/clientchannels.js", 404),
        (Method::GET, "/static/client/src/wire.js", 404),
        (Method::GET, "/static/client/0123456789abcdef/channels.js", 404),
        (Method::GET, "/static/client/../channels.js", 404),
        (Method::GET, "//channels.js", 404),
        (Method::POST, "/static/client/channels.js", 405),
        (Method::OPTIONS, "/nothing", 405),
    ] {
        let (status, headers, _) = call(&files, request(method.clone(), path)).await;
        assert_eq!(status, expected, "{method} {path}");
        assert_eq!(headers.contains_key("allow"), expected == 405, "{method} {path}");
    }
}

#[tokio::test]
async fn head_has_the_length_only() {
    let files = ClientFiles::new();
    let (_, get, text) = call(&files, request(Method::GET, "/channels/channels.d.ts")).await;
    let (_, head, body) = call(&files, request(Method::HEAD, "/channels/channels.d.ts")).await;
    assert_eq!((get, body.as_str()), (head.clone(), ""));
    assert_eq!(head["content-length"], text.len().to_string().as_str());
    assert_eq!(head["content-type"], "application/typescript; charset=utf-8");
}

#[tokio::test]
async fn known_versions_are_not_sent_again() {
    let files = ClientFiles::new();
    let (_, headers, _) = call(&files, request(Method::GET, "/channels/channels.js")).await;
    let tag = headers["etag"].to_str().unwrap();
    let cases = [
        (tag.to_owned(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"other\", {tag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
        (tag.trim_matches('"').to_owned(), 200),
        (String::new(), 200),
    ];
    for (known, expected) in cases {
        let mut asked = request(Method::GET, "/channels/channels.js");
        asked.headers_mut().insert("if-none-match", HeaderValue::try_from(&known).unwrap());
        let (status, headers, body) = call(&files, asked).await;
        assert_eq!((status.as_u16(), body.is_empty()), (expected, expected == 304), "{known}");
        assert_eq!(
            (headers["etag"].as_bytes(), headers["cache-control"].as_bytes()),
            (tag.as_bytes(), &b"no-cache"[..])
        );
    }
}

#[test]
fn tags_have_addresses_and_digests() {
    let files = ClientFiles::with_path("/a\"<b>");
    let tags = files.preload_tags();
    assert_eq!(tags.lines().count(), files::modules().count());
    assert!(tags.lines().all(|tag| tag.starts_with(r#"<link rel="modulepreload" href="/a&quot;&lt;b>/"#)));
    assert!(tags.contains(&files.integrity()));
    let map = files.import_map();
    assert!(!map.contains('<'), "{map}");
    let map: serde_json::Value = serde_json::from_str(&map).unwrap();
    assert_eq!(map["integrity"][files.source_url()], files.integrity());
}

/// The names in a declaration of the types, such as `type Transport = "websocket" | "poll";`.
fn names_in(text: &str, start: &str) -> BTreeSet<String> {
    let declared = text.split_once(start).and_then(|(_, rest)| rest.split_once(';')).unwrap().0;
    declared.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn transports_have_the_same_names() {
    let ours = Transport::ALL.into_iter().filter(|transport| *transport != Transport::Http);
    let ours: BTreeSet<_> = ours.map(|transport| transport.name().to_owned()).collect();
    assert_eq!(names_in(module_text(TYPES), "export type Transport ="), ours);
    // Its carriers by name.
    let carriers = module_text(ENTRY).split_once("const CARRIERS = {").unwrap().1.split_once('}').unwrap().0;
    let carriers: BTreeSet<_> = carriers
        .split(',')
        .filter_map(|entry| Some(entry.split_once(':')?.0.trim().trim_matches('"').to_owned()))
        .collect();
    assert_eq!(carriers, ours);
    let guide = include_str!("../docs/transports.md");
    for name in &ours {
        assert!(guide.contains(&format!("| `\"{name}\"` |")), "{name} is in the table of names");
    }
}
