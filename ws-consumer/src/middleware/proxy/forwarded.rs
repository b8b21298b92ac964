//! The `Forwarded` header (RFC 7239).

use std::{borrow::Cow, net::IpAddr};

use http::{HeaderMap, header};

use super::address::address;

/// The statement of one proxy about the request that it received.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ForwardedElement<'a> {
    /// The address from which the proxy received the request.
    pub(super) client: Option<IpAddr>,
    pub(super) host: Option<Cow<'a, str>>,
    pub(super) proto: Option<Cow<'a, str>>,
}

/// Returns all elements of all lines, in order. A malformed line counts as one empty element: a client may have left a quote
/// open around the part that a proxy has added.
pub(super) fn elements(headers: &HeaderMap) -> Vec<ForwardedElement<'_>> {
    let lines = headers.get_all(header::FORWARDED).iter();
    lines
        .flat_map(|line| {
            let text = std::str::from_utf8(line.as_bytes()).ok();
            text.and_then(parse).unwrap_or_else(|| vec![ForwardedElement::default()])
        })
        .collect()
}

fn parse(line: &str) -> Option<Vec<ForwardedElement<'_>>> {
    let (mut elements, mut rest) = (vec![ForwardedElement::default()], line.trim());
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(';') {
            rest = after.trim_start();
        } else if let Some(after) = rest.strip_prefix(',') {
            elements.push(ForwardedElement::default());
            rest = after.trim_start();
        } else {
            let (name, after) = rest.split_once('=')?;
            let (value, after) = value(after)?;
            let element = elements.last_mut()?;
            match &*name.trim_end().to_ascii_lowercase() {
                "for" => element.client = address(&value),
                "host" => element.host = Some(value),
                "proto" => element.proto = Some(value),
                name if name.is_empty() || name.contains([' ', '"', ',', ';']) => return None,
                _ => {}
            }
            rest = after.trim_start();
            if !rest.is_empty() && !rest.starts_with([',', ';']) {
                return None;
            }
        }
    }
    Some(elements)
}

/// Parses a token or a quoted string, and returns it without quotes and backslashes, with the rest of the text.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';', ' ', '\t']).unwrap_or(text.len());
        let (token, rest) = text.split_at(end);
        // Some proxies never quote, not even the values that RFC 7239 requires to be quoted: `host=a:8443`, `for=[::1]`.
        return (!token.contains('"')).then_some((token.into(), rest));
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, char) in quoted.char_indices() {
        match char {
            _ if escaped => {
                value.push(char);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((value.into(), &quoted[at + 1..])),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Vec<(String, String, String)>> {
        let text = |value: Option<Cow<'_, str>>| value.unwrap_or_default().into_owned();
        let elements = parse(line)?.into_iter();
        let client = |client: Option<IpAddr>| client.map(|client| client.to_string()).unwrap_or_default();
        Some(elements.map(|one| (client(one.client), text(one.host), text(one.proto))).collect())
    }

    #[test]
    fn reads_the_syntax_of_the_rfc() {
        let one = |client: &str, host: &str, proto: &str| (client.into(), host.into(), proto.into());
        for (line, expected) in [
            ("proto=https;host=\"a.example:8443\"", vec![one("", "a.example:8443", "https")]),
            ("For=\"[2001:db8:cafe::17]:4711\"", vec![one("2001:db8:cafe::17", "", "")]),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", vec![one("192.0.2.60", "", "http")]),
            (
                "for=192.0.2.43, for=198.51.100.17",
                vec![one("192.0.2.43", "", ""), one("198.51.100.17", "", "")],
            ),
            (
                "for=unknown ; HOST = a.b , for=_x;proto=\"ht\\tps\"",
                vec![one("", "a.b", ""), one("", "", "https")],
            ),
            ("host=a:8443;for=1.2.3.4:5", vec![one("1.2.3.4", "a:8443", "")]),
            ("host=\"a,b;c\\\"d\"", vec![one("", "a,b;c\"d", "")]),
            ("secret=\"x, host=evil\";host=a", vec![one("", "a", "")]),
            ("", vec![one("", "", "")]),
        ] {
            assert_eq!(parsed(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn malformed_lines_are_empty() {
        for line in
            ["host", "host=\"a", "x=\", for=1.2.3.4;host=\"a\"", "host=a b=c", "=a", "host=\"a\"b", "a b=c"]
        {
            assert_eq!(parsed(line), None, "{line}");
        }
        let mut headers = HeaderMap::new();
        headers.append("forwarded", "host=\"open".parse().unwrap());
        headers.append("forwarded", "host=a".parse().unwrap());
        let hosts: Vec<_> = elements(&headers).into_iter().map(|element| element.host).collect();
        assert_eq!(hosts, [None, Some("a".into())]);
    }
}
