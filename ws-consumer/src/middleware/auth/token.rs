//! Tokens, and the places of a request where they are found.

use std::{fmt, sync::Arc};

use http::{HeaderValue, header};
use percent_encoding::percent_decode_str;
use subtle::ConstantTimeEq;

use crate::{
    middleware::{cookies::read, request::GuardRequest},
    scope::{headers, with_query},
};

/// A secret by which a client authenticates. Neither `Debug` nor a log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: Arc<str>,
    username: Option<Arc<str>>,
}

impl Token {
    /// A token.
    pub fn new(secret: impl Into<Arc<str>>) -> Self {
        Self { secret: secret.into(), username: None }
    }

    /// Adds the user name that the client claims.
    pub fn with_username(mut self, username: impl Into<Arc<str>>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The secret, to look it up or to verify it.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The user name that the client claims.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// Whether the token equals `expected`. Takes the same time for all texts of one length, so that it cannot be guessed
    /// byte by byte.
    pub fn is(&self, expected: impl AsRef<[u8]>) -> bool {
        self.secret.as_bytes().ct_eq(expected.as_ref()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The enabled sources of tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct TokenSources {
    pub(super) header: bool,
    pub(super) protocol: Option<String>,
    pub(super) cookie: Option<String>,
    pub(super) query: bool,
}

impl TokenSources {
    /// Takes the first token. Its text is removed from the request, so that no later layer logs it.
    pub(super) fn take(&self, request: &mut GuardRequest<'_>) -> Option<Token> {
        let from_header = self.header.then(|| bearer(request)).flatten();
        let from_protocol = self.protocol.as_ref().and_then(|marker| offered(request, marker));
        let from_query = self.query.then(|| asked(request)).flatten();
        let from_cookie = || Some(Token::new(read(request.headers).get(self.cookie.as_ref()?)?.value()));
        from_header.or(from_protocol).or(from_query).or_else(from_cookie)
    }
}

/// `Authorization: Bearer <token>`
fn bearer(request: &mut GuardRequest<'_>) -> Option<Token> {
    let value = headers::single(request.headers, header::AUTHORIZATION)?;
    // Invalid UTF-8 is an invalid token, but it is a token: the client is not anonymous.
    let value = String::from_utf8_lossy(value.as_bytes());
    let (scheme, token) = value.split_once(' ')?;
    let token = scheme.eq_ignore_ascii_case("bearer").then(|| Token::new(token.trim()))?;
    request.headers.remove(header::AUTHORIZATION);
    Some(token)
}

/// `Sec-WebSocket-Protocol: <marker>, <token>`: the one header that a page may choose for a socket.
fn offered(request: &mut GuardRequest<'_>, marker: &str) -> Option<Token> {
    let names = headers::items(request.headers, header::SEC_WEBSOCKET_PROTOCOL);
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    let at = names.iter().position(|name| name == marker)?;
    if at + 1 >= names.len() {
        return None;
    }
    let token = Token::new(names.remove(at + 1));
    request.headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    let rest = HeaderValue::from_str(&names.join(", ")).ok()?;
    request.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, rest);
    // A browser fails a socket when none of the protocols that it offers is chosen. The application may still choose
    // another one.
    let marker = HeaderValue::from_str(marker).ok()?;
    request.on_answer(|headers| _ = headers.entry(header::SEC_WEBSOCKET_PROTOCOL).or_insert(marker));
    Some(token)
}

/// `?token=..`, perhaps with `username=..`
fn asked(request: &mut GuardRequest<'_>) -> Option<Token> {
    let (rest, found) = split(request.uri.query()?);
    if found.is_empty() {
        return None;
    }
    *request.uri = with_query(request.uri, &rest).unwrap_or_default();
    let value = |name| found.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let token = Token::new(value("token")?);
    Some(match value("username") {
        Some(username) => token.with_username(username),
        None => token,
    })
}

/// Splits a query into the pairs without a token and the decoded pairs of the token.
fn split(query: &str) -> (String, Vec<(String, String)>) {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let (mut rest, mut found) = (Vec::new(), Vec::new());
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match decode(key) {
            key if key == "token" || key == "username" => found.push((key, decode(value))),
            _ => rest.push(pair),
        }
    }
    // A user name without a token is no secret, and may belong to the application.
    if !found.iter().any(|(key, _)| key == "token") {
        return (query.to_owned(), Vec::new());
    }
    (rest.join("&"), found)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Request, Uri, request::Parts};

    use super::*;

    fn take(sources: &TokenSources, request: http::request::Builder) -> (Option<Token>, Parts, HeaderMap) {
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let mut request = GuardRequest::from_request(&mut parts);
        let token = sources.take(&mut request);
        let mut answer = HeaderMap::new();
        request.into_hooks().into_iter().for_each(|hook| hook(&mut answer));
        (token, parts, answer)
    }

    fn all() -> TokenSources {
        TokenSources {
            header: true,
            protocol: Some("bearer".into()),
            cookie: Some("token".into()),
            query: true,
        }
    }

    #[test]
    fn takes_tokens_from_each_place() {
        for request in [
            Request::get("/").header("authorization", "Bearer canary"),
            Request::get("/").header("authorization", "bearer  canary"),
            Request::get("/").header("sec-websocket-protocol", "chat, bearer, canary"),
            Request::get("/")
                .header("sec-websocket-protocol", "bearer")
                .header("sec-websocket-protocol", "canary"),
            Request::get("/a?x=1&token=can%61ry"),
            Request::get("/a?%74oken=canary&x=1"),
        ] {
            let (token, parts, _) = take(&all(), request);
            assert!(token.unwrap().is("canary"));
            assert!(!format!("{parts:?}").contains("ry"), "{parts:?}");
        }
        let (token, ..) = take(&all(), Request::get("/").header("cookie", "token=canary"));
        assert!(token.unwrap().is("canary"));
    }

    #[test]
    fn queries_keep_other_pairs() {
        let (token, parts, _) = take(&all(), Request::get("/a?x=1&username=ann&token=s&y=%26"));
        let token = token.unwrap();
        assert_eq!((token.username(), token.secret()), (Some("ann"), "s"));
        assert_eq!(parts.uri, "/a?x=1&y=%26");
        let (token, parts, _) = take(&all(), Request::get("/a?username=ann"));
        assert_eq!((token, parts.uri), (None, Uri::from_static("/a?username=ann")));
    }

    #[test]
    fn chooses_the_marker() {
        let (_, parts, answer) =
            take(&all(), Request::get("/").header("sec-websocket-protocol", "chat, bearer, t"));
        assert_eq!(answer["sec-websocket-protocol"], "bearer");
        assert_eq!(parts.headers["sec-websocket-protocol"], "chat, bearer");
    }

    #[test]
    fn ignores_other_credentials() {
        for request in [
            Request::get("/"),
            Request::get("/?tokens=1"),
            Request::get("/").header("authorization", "Basic canary"),
            Request::get("/").header("authorization", "Bearer a").header("authorization", "Bearer b"),
            Request::get("/").header("sec-websocket-protocol", "chat, bearer"),
            Request::get("/").header("cookie", "other=1"),
        ] {
            assert_eq!(take(&all(), request).0, None);
        }
        let everywhere =
            Request::get("/?token=a").header("authorization", "Bearer b").header("cookie", "token=c");
        assert_eq!(take(&TokenSources::default(), everywhere).0, None);
    }

    #[test]
    fn debug_hides_tokens() {
        assert_eq!(format!("{:?}", Token::new("canary").with_username("ann")), "Token(..)");
        assert!(!Token::new("canary").is("canarz") && !Token::new("canary").is("canary "));
    }
}
