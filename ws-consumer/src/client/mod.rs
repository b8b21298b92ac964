//! The JavaScript client, served from the crate: an application without npm needs no copy of it.
//!
//! [`ClientFiles`] answers below one path, by default [`ClientFiles::PATH`]:
//!
//! | path | contents | cached |
//! |---|---|---|
//! | `channels.js` | the stable entry: exports what the current version exports | revalidated by its `ETag` |
//! | `channels.d.ts` | the types of TypeScript | revalidated by its `ETag` |
//! | `VERSION/channels.js`, `VERSION/src/*.js` | the modules | for a year, immutable |
//!
//! A page imports the entry, and needs nothing else:
//!
//! ```html
//! <script type="module">
//!   import { connect } from "/channels/channels.js";
//!   connect("/ws/chat/lobby/").onMessage("chat.message", ({ text }) => show(text));
//! </script>
//! ```
//!
//! The version is a digest of all modules, so a new release of this crate has new addresses. While servers of two
//! releases run behind one address, an entry of one may be followed by a request to the other, which answers 404. A
//! deployment that lets two releases run side by side for long should send `/channels/` to one of them.

mod files;

use std::{
    convert::Infallible,
    fmt::Write as _,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tower_service::Service;

use self::files::{ENTRY, FILES, TYPES, VERSION};

/// The JavaScript client's files as a tower service, for axum's `nest_service` or for
/// [`Protocols::http`](crate::Protocols::http).
///
/// ```
/// use ws_consumer::client::ClientFiles;
///
/// let app: axum::Router = axum::Router::new().nest_service(ClientFiles::PATH, ClientFiles::new());
/// ```
///
/// Requests of other methods than GET and HEAD get 405, those of unknown files 404. The files are the same for everybody,
/// so pages of other origins may load them (`access-control-allow-origin: *`). A clone shares the address.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// Without a slash at the end.
    path: Arc<str>,
}

impl ClientFiles {
    /// The default path: `/channels`.
    pub const PATH: &str = "/channels";

    /// Creates the service for the default path.
    pub fn new() -> Self {
        Self::with_path(Self::PATH)
    }

    /// Creates the service for another path, such as `/static/client`.
    ///
    /// The service answers requests whose path begins with this path, and those from which a router in front has removed it.
    pub fn with_path(path: impl AsRef<str>) -> Self {
        Self { path: path.as_ref().trim_end_matches('/').into() }
    }

    /// Returns the address of the current version's module, for a page that is made by a template: it saves the request
    /// of the entry. Below the stable path, which is [`entry_url`](Self::entry_url).
    pub fn source_url(&self) -> String {
        self.module_url(ENTRY)
    }

    /// Returns the stable address of the module.
    pub fn entry_url(&self) -> String {
        format!("{}/{ENTRY}", self.path)
    }

    /// Returns the `integrity` of the module at [`source_url`](Self::source_url).
    pub fn integrity(&self) -> String {
        files::integrity(module_text(ENTRY))
    }

    /// Returns a page's import map as JSON, the content of `<script type="importmap">`: `channels-client`, the name of the
    /// package of npm, stands for the current version. It has the integrity of all modules.
    ///
    /// ```
    /// # use ws_consumer::client::ClientFiles;
    /// let map: serde_json::Value = serde_json::from_str(&ClientFiles::new().import_map())?;
    /// assert_eq!(map["imports"]["channels-client"], ClientFiles::new().source_url());
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn import_map(&self) -> String {
        let modules = files::modules();
        let integrity: serde_json::Map<_, _> =
            modules.map(|file| (self.module_url(file.path), files::integrity(file.text).into())).collect();
        let map = serde_json::json!({
            "imports": { "channels-client": self.source_url() },
            "integrity": integrity,
        });
        // It stays inside of its element, whatever the path is.
        map.to_string().replace('<', "\\u003c")
    }

    /// Returns the `<link rel="modulepreload">` tags of all modules, for a page's head: the browser then loads them at
    /// once, instead of one level of imports after the other.
    pub fn preload_tags(&self) -> String {
        let mut tags = String::new();
        for file in files::modules() {
            let (url, integrity) = (escaped(&self.module_url(file.path)), files::integrity(file.text));
            let written =
                writeln!(tags, r#"<link rel="modulepreload" href="{url}" integrity="{integrity}">"#);
            written.expect("a String takes any text");
        }
        tags
    }

    /// Returns the response to a request, for use in a handler; `None` for other methods than GET and HEAD, and for
    /// unknown files.
    pub fn response<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let path = request.uri().path();
        let below = path.strip_prefix(&*self.path).filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let file = Served::find(below.strip_prefix('/')?)?;
        Some(file.response(request.method(), request.headers()))
    }

    fn module_url(&self, path: &str) -> String {
        format!("{}/{}/{path}", self.path, *VERSION)
    }
}

impl Default for ClientFiles {
    fn default() -> Self {
        Self::new()
    }
}

impl<B> Service<Request<B>> for ClientFiles {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let refused = || {
            let mut response = Response::new(Full::default());
            if matches!(*request.method(), Method::GET | Method::HEAD) {
                *response.status_mut() = StatusCode::NOT_FOUND;
            } else {
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            response
        };
        ready(Ok(self.response(&request).unwrap_or_else(refused)))
    }
}

/// A file as a request gets it.
struct Served {
    path: &'static str,
    body: Bytes,
    is_immutable: bool,
}

impl Served {
    fn find(path: &str) -> Option<Self> {
        let fixed = |path, text: &'static str, is_immutable| {
            Some(Self { path, body: Bytes::from_static(text.as_bytes()), is_immutable })
        };
        if path == TYPES {
            return fixed(TYPES, module_text(TYPES), false);
        }
        if path == ENTRY {
            let body = format!("export * from \"./{}/{ENTRY}\";\n", *VERSION);
            return Some(Self { path: ENTRY, body: body.into(), is_immutable: false });
        }
        let file = files::find(path.strip_prefix(&**VERSION)?.strip_prefix('/')?)?;
        fixed(file.path, file.text, true)
    }

    fn response(self, method: &Method, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let tag = format!("\"{}\"", *VERSION);
        let is_known = is_named(headers, &tag);
        let length = self.body.len();
        let body = if is_known || method == Method::HEAD { Bytes::new() } else { self.body };
        let mut response = Response::new(Full::new(body));
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let answered = response.headers_mut();
        let caching = if self.is_immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
        let mut set = |name, value| _ = answered.insert(name, HeaderValue::from_static(value));
        set(header::CACHE_CONTROL, caching);
        set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        // Pages that isolate themselves from other origins load it too.
        set(HeaderName::from_static("cross-origin-resource-policy"), "cross-origin");
        if !is_known {
            let is_types = self.path == TYPES;
            let types = "application/typescript; charset=utf-8";
            set(header::CONTENT_TYPE, if is_types { types } else { "text/javascript; charset=utf-8" });
            set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
            answered.insert(header::CONTENT_LENGTH, length.into());
        }
        let tag = HeaderValue::try_from(tag).expect("hexadecimal digits in quotes");
        answered.insert(header::ETAG, tag);
        response
    }
}

/// Whether `If-None-Match` has the tag, by the weak comparison of RFC 9110, 13.1.2: a proxy that compresses weakens it.
fn is_named(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|known| {
        let known = known.strip_prefix("W/").unwrap_or(known);
        known == "*" || known == tag
    })
}

fn module_text(path: &str) -> &'static str {
    FILES.iter().find(|file| file.path == path).map_or("", |file| file.text)
}

/// The text as an attribute's value.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests;
