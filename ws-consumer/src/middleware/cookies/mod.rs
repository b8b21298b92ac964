//! Cookies: plain, signed, and private.

mod header;

use std::sync::{Arc, Mutex, MutexGuard};

use cookie::CookieJar;
pub use cookie::{Cookie, Key, SameSite};
use http::{HeaderMap, HeaderValue, header::SET_COOKIE};

pub(super) use self::header::{read, values};
use super::{guard::Guard, request::GuardRequest};
use crate::{sync::lock, wire::Refuse};

/// Reads the cookies of a request into a [`Jar`] in its extensions, and sends cookies that are added to it with the response:
/// for a WebSocket with the handshake.
///
/// Each pair of the `Cookie` header is parsed separately, and only invalid pairs are left out. The first of two cookies with
/// the same name counts. Values are percent-decoded (`+` is not a space). Double quotes around a value are removed, as are
/// the escapes that Python's `http.cookies` writes between them.
///
/// ```
/// use ws_consumer::{Consumer, NoEvents, Result, Router, Socket};
/// use ws_consumer::middleware::{Cookie, Cookies, Guard, Jar, Key};
///
/// #[derive(Default)]
/// struct Greeter;
///
/// impl Consumer for Greeter {
///     type Event = NoEvents;
///     async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
///         if let Some(jar) = socket.scope().extensions.get::<Jar>() {
///             jar.add_private(Cookie::build(("seen", "yes")).path("/").http_only(true));
///         }
///         socket.accept().await
///     }
/// }
///
/// let key = Key::generate(); // in production a stored key: cookies of another key are ignored
/// let application = Cookies::with_key(key).around(Router::new().consumer("/", Greeter::default));
/// ```
#[derive(Clone, Default)]
pub struct Cookies {
    key: Option<Key>,
}

impl Cookies {
    /// Reads plain cookies only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads signed and private cookies as well, under this key.
    pub fn with_key(key: Key) -> Self {
        Self { key: Some(key) }
    }
}

impl Guard for Cookies {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        let jar =
            Jar(Arc::new(JarContents { key: self.key.clone(), jar: Mutex::new(read(request.headers)) }));
        let shared = jar.clone();
        request.on_answer(move |headers| shared.write(headers));
        request.extensions.insert(jar);
        Ok(())
    }

    fn uses_ambient_credentials(&self) -> bool {
        true
    }
}

/// The cookies of a request. Clones share the jar.
///
/// Added cookies are sent with the response. Once a WebSocket is accepted it is too late.
///
/// # Attributes
///
/// Attributes that an added cookie leaves open get these values, which are those of Channels' `set_cookie` where no other is
/// named:
///
/// | attribute | value | |
/// |---|---|---|
/// | `Path` | `/` | a browser's default is the folder of the request |
/// | `SameSite` | `Lax` | |
/// | `Expires` | from `Max-Age`, if there is one | without both, the cookie ends with the browser |
/// | `HttpOnly` | absent; set for signed and private cookies | stricter than Channels: scripts have no use for them |
/// | `Secure` | absent | set it wherever the site is reached over TLS only |
/// | `Domain` | absent: this host only | |
///
/// The cookie of [`Sessions`](super::Sessions) is stricter: `Secure` and `HttpOnly` too.
#[derive(Clone)]
pub struct Jar(Arc<JarContents>);

struct JarContents {
    key: Option<Key>,
    /// Locked for a lookup only.
    jar: Mutex<CookieJar>,
}

impl Jar {
    /// A plain cookie, with a value chosen by the client.
    pub fn get(&self, name: &str) -> Option<Cookie<'static>> {
        self.jar().get(name).cloned()
    }

    /// A signed cookie: its value was issued by this server. `None` without a key.
    pub fn signed(&self, name: &str) -> Option<Cookie<'static>> {
        self.jar().signed(self.0.key.as_ref()?).get(name)
    }

    /// A private cookie: signed, and unreadable for the client. `None` without a key.
    pub fn private(&self, name: &str) -> Option<Cookie<'static>> {
        self.jar().private(self.0.key.as_ref()?).get(name)
    }

    /// Sets a plain cookie.
    pub fn add(&self, cookie: impl Into<Cookie<'static>>) {
        self.jar().add(with_defaults(cookie.into()));
    }

    /// Sets a signed cookie.
    ///
    /// # Panics
    /// Without a key: see [`Cookies::with_key`].
    pub fn add_signed(&self, cookie: impl Into<Cookie<'static>>) {
        self.jar().signed_mut(self.key()).add(hidden(cookie.into()));
    }

    /// Sets a private cookie.
    ///
    /// # Panics
    /// Without a key: see [`Cookies::with_key`].
    pub fn add_private(&self, cookie: impl Into<Cookie<'static>>) {
        self.jar().private_mut(self.key()).add(hidden(cookie.into()));
    }

    /// Removes a cookie. Its path and domain must be those that it was set with; the path is `/` by default, as in
    /// [`add`](Self::add).
    pub fn remove(&self, cookie: impl Into<Cookie<'static>>) {
        let cookie = with_defaults(cookie.into());
        let mut jar = self.jar();
        // The client may have the cookie although this request does not contain it.
        jar.force_remove(cookie.name());
        jar.add_original(cookie.clone());
        jar.remove(cookie);
    }

    fn key(&self) -> &Key {
        self.0.key.as_ref().expect("signed and private cookies need `Cookies::with_key`")
    }

    fn jar(&self) -> MutexGuard<'_, CookieJar> {
        lock(&self.0.jar)
    }

    fn write(&self, headers: &mut HeaderMap) {
        self.jar().delta().for_each(|cookie| append(headers, cookie));
    }
}

/// Shows the names only: values are often secrets.
impl std::fmt::Debug for Jar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.jar().iter().map(|cookie| cookie.name().to_owned())).finish()
    }
}

/// Completes the attributes of a cookie.
fn with_defaults(mut cookie: Cookie<'static>) -> Cookie<'static> {
    if cookie.path().is_none() {
        cookie.set_path("/");
    }
    if cookie.same_site().is_none() {
        cookie.set_same_site(SameSite::Lax);
    }
    if let (Some(age), None) = (cookie.max_age(), cookie.expires()) {
        cookie.set_expires(cookie::time::OffsetDateTime::now_utc().checked_add(age));
    }
    cookie
}

/// Completes the attributes of a cookie that scripts cannot use.
fn hidden(mut cookie: Cookie<'static>) -> Cookie<'static> {
    if cookie.http_only().is_none() {
        cookie.set_http_only(true);
    }
    with_defaults(cookie)
}

/// Appends a `Set-Cookie` header. The cookie is percent-encoded, so that no value becomes an attribute or another header.
pub(super) fn append(headers: &mut HeaderMap, cookie: &Cookie<'_>) {
    match HeaderValue::from_str(&cookie.encoded().to_string()) {
        Ok(value) => _ = headers.append(SET_COOKIE, value),
        Err(_) => tracing::error!(name = cookie.name(), "a cookie whose attributes no header can hold"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(key: Option<Key>, line: &[u8]) -> Jar {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::COOKIE, HeaderValue::from_bytes(line).unwrap());
        Jar(Arc::new(JarContents { key, jar: Mutex::new(read(&headers)) }))
    }

    fn set(jar: &Jar) -> Vec<String> {
        let mut headers = HeaderMap::new();
        jar.write(&mut headers);
        headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    /// The line of Channels' `set_cookie("Testing-Key", "testing-value")`.
    #[test]
    fn default_attributes_are_channels() {
        let first = jar(None, b"");
        first.add(("Testing-Key", "testing-value"));
        assert_eq!(set(&first), ["Testing-Key=testing-value; SameSite=Lax; Path=/"]);
        let cases = [
            (
                Cookie::build(("a", "1")).path("/x").same_site(SameSite::None),
                "a=1; SameSite=None; Secure; Path=/x",
            ),
            (Cookie::build(("a", "1")).http_only(true).secure(false), "a=1; HttpOnly; SameSite=Lax; Path=/"),
            (
                Cookie::build(("a", "1")).secure(true).domain("d"),
                "a=1; SameSite=Lax; Secure; Path=/; Domain=d",
            ),
        ];
        for (cookie, line) in cases {
            let jar = jar(None, b"");
            jar.add(cookie);
            assert_eq!(set(&jar), [line]);
        }
        let aged = jar(None, b"");
        aged.add(Cookie::build(("a", "1")).max_age(cookie::time::Duration::HOUR));
        assert!(set(&aged)[0].contains("; Max-Age=3600; Expires="), "{:?}", set(&aged));
        let removed = jar(None, b"a=1");
        removed.remove("a");
        assert!(set(&removed)[0].starts_with("a=; ") && set(&removed)[0].contains("; Path=/; Max-Age=0"));
        let hidden = jar(Some(Key::generate()), b"");
        hidden.add_signed(("a", "1"));
        hidden.add_private(Cookie::build(("b", "1")).http_only(false));
        let mut lines = set(&hidden);
        lines.sort();
        assert!(lines[0].contains("HttpOnly") && !lines[1].contains("HttpOnly"), "{lines:?}");
    }

    #[test]
    fn values_cannot_inject() {
        let jar = jar(None, b"");
        jar.add(("a", "1; Domain=evil\r\nSet-Cookie: b=2"));
        let encoded = "a=1%3B%20Domain%3Devil%0D%0ASet-Cookie%3A%20b%3D2";
        assert_eq!(set(&jar), [format!("{encoded}; SameSite=Lax; Path=/")]);
    }

    #[test]
    fn leaves_out_invalid_pairs() {
        let jar = jar(None, b"a=1; nonsense; =; b=%E6%B1%89; a=2");
        assert_eq!(jar.get("a").unwrap().value(), "1");
        assert_eq!(jar.get("b").unwrap().value(), "\u{6c49}");
        assert!(jar.get("nonsense").is_none());
        assert!(set(&jar).is_empty(), "nothing was added");
    }

    #[test]
    fn rejects_changed_cookies() {
        let key = Key::generate();
        let first = jar(Some(key.clone()), b"");
        first.add_signed(("user", "ann"));
        first.add_private(("note", "canary"));
        let line = set(&first).join("; ");
        assert!(line.contains("ann") && !line.contains("canary"));
        let back = jar(Some(key.clone()), line.as_bytes());
        assert_eq!(back.signed("user").unwrap().value(), "ann");
        assert_eq!(back.private("note").unwrap().value(), "canary");
        let forged = jar(Some(key), line.replace("ann", "bob").as_bytes());
        assert!(forged.signed("user").is_none());
        let other = jar(Some(Key::generate()), line.as_bytes());
        assert!(other.signed("user").is_none() && other.private("note").is_none());
        assert!(jar(None, line.as_bytes()).signed("user").is_none());
    }

    #[test]
    fn removes_cookies() {
        let jar = jar(None, b"a=1");
        jar.remove(Cookie::build("a").path("/"));
        assert!(jar.get("a").is_none());
        assert!(set(&jar)[0].contains("Max-Age=0"), "{:?}", set(&jar));
    }

    #[test]
    fn debug_hides_values() {
        assert_eq!(format!("{:?}", jar(None, b"a=canary")), r#"{"a"}"#);
    }
}
