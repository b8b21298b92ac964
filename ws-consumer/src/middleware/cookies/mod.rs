//! Cookies: plain, signed, and private.

mod header;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cookie::CookieJar;
pub use cookie::{Cookie, Key, SameSite};
use http::{HeaderMap, HeaderValue, header::SET_COOKIE};

pub(super) use self::header::{read, values};
use super::guard::{Guard, GuardRequest};
use crate::wire::Refuse;

/// Reads the cookies of a request into a [`Jar`] in its extensions, and sends those that are added to it with the
/// answer: of a socket with the one that lets it in, of plain HTTP with the response.
///
/// Each pair of the `Cookie` header is read on its own, and one that cannot be read is left out alone. Of two cookies
/// of one name the first counts. Values are percent-decoded (a `+` stays one); double quotes around a value are taken
/// off, with the escapes that Python's `http.cookies` writes within them.
///
/// ```
/// use ws_consumer::{Consumer, NoEvents, Result, Router, Socket};
/// use ws_consumer::middleware::{Cookie, Cookies, Guard, Jar, Key};
///
/// #[derive(Default)]
/// struct Visitor;
///
/// impl Consumer for Visitor {
///     type Event = NoEvents;
///     async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
///         if let Some(jar) = socket.scope().extensions.get::<Jar>() {
///             jar.add_private(Cookie::build(("seen", "yes")).path("/").http_only(true));
///         }
///         socket.accept().await
///     }
/// }
///
/// let key = Key::generate(); // kept somewhere, in earnest: cookies of another key are not read
/// let application = Cookies::with_key(key).around(Router::new().consumer("/", Visitor::default));
/// ```
#[derive(Clone, Default)]
pub struct Cookies {
    key: Option<Key>,
}

impl Cookies {
    /// Plain cookies only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Signed and private cookies too, under this key.
    pub fn with_key(key: Key) -> Self {
        Self { key: Some(key) }
    }
}

impl Guard for Cookies {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        let jar = Jar(Arc::new(Contents { key: self.key.clone(), jar: Mutex::new(read(request.headers)) }));
        let answered = jar.clone();
        request.on_answer(move |headers| answered.write(headers));
        request.extensions.insert(jar);
        Ok(())
    }

    fn uses_ambient_credentials(&self) -> bool {
        true
    }
}

/// The cookies of one request. Clones are the same jar.
///
/// What is added leaves with the answer; once a socket has been accepted it is too late.
#[derive(Clone)]
pub struct Jar(Arc<Contents>);

struct Contents {
    key: Option<Key>,
    /// Locked for a look-up; nothing is called under it.
    jar: Mutex<CookieJar>,
}

impl Jar {
    /// A plain cookie: whatever the client says it is.
    pub fn get(&self, name: &str) -> Option<Cookie<'static>> {
        self.jar().get(name).cloned()
    }

    /// A signed cookie: its value is one that this server has given out. `None` without a key.
    pub fn signed(&self, name: &str) -> Option<Cookie<'static>> {
        self.jar().signed(self.0.key.as_ref()?).get(name)
    }

    /// A private cookie: as signed, and the client could not read it. `None` without a key.
    pub fn private(&self, name: &str) -> Option<Cookie<'static>> {
        self.jar().private(self.0.key.as_ref()?).get(name)
    }

    /// Sets a plain cookie.
    pub fn add(&self, cookie: impl Into<Cookie<'static>>) {
        self.jar().add(cookie);
    }

    /// Sets a signed cookie.
    ///
    /// # Panics
    /// Without a key: see [`Cookies::with_key`].
    pub fn add_signed(&self, cookie: impl Into<Cookie<'static>>) {
        self.jar().signed_mut(self.key()).add(cookie);
    }

    /// Sets a private cookie.
    ///
    /// # Panics
    /// Without a key: see [`Cookies::with_key`].
    pub fn add_private(&self, cookie: impl Into<Cookie<'static>>) {
        self.jar().private_mut(self.key()).add(cookie);
    }

    /// Takes a cookie back. Its path and domain must be those that it was set with.
    pub fn remove(&self, cookie: impl Into<Cookie<'static>>) {
        let cookie = cookie.into();
        let mut jar = self.jar();
        // The client may have it although this request did not bring it.
        jar.force_remove(cookie.name());
        jar.add_original(cookie.clone());
        jar.remove(cookie);
    }

    fn key(&self) -> &Key {
        self.0.key.as_ref().expect("signed and private cookies need `Cookies::with_key`")
    }

    fn jar(&self) -> MutexGuard<'_, CookieJar> {
        self.0.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, headers: &mut HeaderMap) {
        self.jar().delta().for_each(|cookie| append(headers, cookie));
    }
}

/// Only the names: values are secrets more often than not.
impl std::fmt::Debug for Jar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.jar().iter().map(|cookie| cookie.name().to_owned())).finish()
    }
}

/// Percent-encoded, so that no value can pass for an attribute or for another header.
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
        Jar(Arc::new(Contents { key, jar: Mutex::new(read(&headers)) }))
    }

    fn set(jar: &Jar) -> Vec<String> {
        let mut headers = HeaderMap::new();
        jar.write(&mut headers);
        headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_cookie_is_set_with_its_attributes() {
        let jar = jar(None, b"");
        jar.add(Cookie::build(("Testing-Key", "testing-value")).path("/").same_site(SameSite::Lax));
        assert_eq!(set(&jar), ["Testing-Key=testing-value; SameSite=Lax; Path=/"]);
    }

    #[test]
    fn a_value_cannot_become_an_attribute_or_a_header() {
        let jar = jar(None, b"");
        jar.add(("a", "1; Domain=evil\r\nSet-Cookie: b=2"));
        let set = set(&jar);
        assert_eq!(set.len(), 1);
        assert!(!set[0].contains([';', '\r', '\n']), "{set:?}");
    }

    #[test]
    fn what_is_no_cookie_is_left_out() {
        let jar = jar(None, b"a=1; nonsense; =; b=%E6%B1%89; a=2");
        assert_eq!(jar.get("a").unwrap().value(), "1");
        assert_eq!(jar.get("b").unwrap().value(), "\u{6c49}");
        assert!(jar.get("nonsense").is_none());
        assert!(set(&jar).is_empty(), "nothing was added");
    }

    #[test]
    fn signed_and_private_cookies_come_back_only_untouched() {
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
    fn a_cookie_that_is_taken_back_ends_at_once() {
        let jar = jar(None, b"a=1");
        jar.remove(Cookie::build("a").path("/"));
        assert!(jar.get("a").is_none());
        assert!(set(&jar)[0].contains("Max-Age=0"), "{:?}", set(&jar));
    }

    #[test]
    fn debug_shows_no_values() {
        assert_eq!(format!("{:?}", jar(None, b"a=canary")), r#"{"a"}"#);
    }
}
