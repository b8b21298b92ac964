//! The subprotocols that a client offers where there is no handshake to offer them in: `?protocol=NAME`, once for each.

use http::{HeaderValue, Uri, header, uri::PathAndQuery};
use percent_encoding::percent_decode_str;

use crate::scope::Scope;

/// Moves the offers of the query into the header in which a WebSocket brings them. They may hold a token, and so do not
/// stay in the URI.
pub(super) fn take(scope: &mut Scope) {
    let Some(query) = scope.uri.query() else { return };
    let (mut offers, mut rest) = (Vec::new(), Vec::new());
    for pair in query.split('&') {
        match pair.strip_prefix("protocol=") {
            Some(names) => offers.extend(read(names)),
            None => rest.push(pair),
        }
    }
    if offers.is_empty() {
        return;
    }
    // Of nothing but tokens, a header can be made.
    let Ok(offer) = HeaderValue::try_from(offers.join(", ")) else { return };
    let uri = with_query(&scope.uri, &rest.join("&"));
    scope.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offer);
    scope.uri = uri.unwrap_or_else(|| scope.uri.clone());
}

/// The names of one parameter, as a line of the header would be read. What is no name is left out alone. A `+` stays one:
/// no name holds a blank.
fn read(names: &str) -> Vec<String> {
    let names = percent_decode_str(names).decode_utf8_lossy();
    names.split(',').map(str::trim).filter(|name| is_token(name)).map(str::to_owned).collect()
}

/// RFC 9110, section 5.6.2.
fn is_token(name: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_char)
}

fn with_query(uri: &Uri, query: &str) -> Option<Uri> {
    let path = if query.is_empty() { uri.path().to_owned() } else { format!("{}?{query}", uri.path()) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn all_offers_of_a_query_are_read_as_those_of_a_header() {
        for (uri, offers, rest) in [
            ("/x?protocol=v3.chat&protocol=v2.chat", &["v3.chat", "v2.chat"][..], "/x"),
            ("/x?protocol=chat%2Bjson", &["chat+json"], "/x"),
            ("/x?protocol=chat+json", &["chat+json"], "/x"),
            ("/x?a=1&protocol=v1&b=%20", &["v1"], "/x?a=1&b=%20"),
            ("/x?protocol=v2,%20v1", &["v2", "v1"], "/x"),
            ("/x?protocol=v%31", &["v1"], "/x"),
            ("/x?protocol=a%20b&protocol=%E6%B1%89&protocol=&protocol=v1", &["v1"], "/x"),
            ("/x?protocol=a%0d%0ax:b", &[], "/x?protocol=a%0d%0ax:b"),
            ("/x?protocols=v1", &[], "/x?protocols=v1"),
            ("http://a/x?protocol=v1", &["v1"], "http://a/x"),
            ("/x", &[], "/x"),
        ] {
            let mut scope = Scope::from_request(&mut Request::get(uri).body(()).unwrap());
            take(&mut scope);
            assert_eq!(scope.subprotocols().collect::<Vec<_>>(), offers, "{uri}");
            assert_eq!(scope.uri, rest, "{uri}");
        }
    }
}
