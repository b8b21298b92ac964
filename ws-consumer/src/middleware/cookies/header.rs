//! Parsing of the `Cookie` header.

use std::borrow::Cow;

use cookie::{Cookie, CookieJar};
use http::{HeaderMap, HeaderValue, header};
use percent_encoding::percent_decode;

/// Reads the cookies of a request from all lines of the header: HTTP/2 sends one per line.
///
/// Each pair is parsed separately, and only invalid pairs are left out: cookies of other programs on the same host are in the
/// same header, in any encoding.
pub(in crate::middleware) fn read(headers: &HeaderMap) -> CookieJar {
    let mut jar = CookieJar::new();
    // The first of two cookies with the same name counts: browsers send the one with the longer path first.
    for (name, value) in pairs(headers) {
        if jar.get(&name).is_none() {
            jar.add_original(Cookie::new(name, value));
        }
    }
    jar
}

/// Returns the values of all cookies with a name: a browser has one for each path and domain.
pub(in crate::middleware) fn values(headers: &HeaderMap, name: &str) -> impl Iterator<Item = String> {
    pairs(headers).filter(move |(other, _)| other == name).map(|(_, value)| value)
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    let lines = headers.get_all(header::COOKIE).into_iter().map(HeaderValue::as_bytes);
    lines.flat_map(|line| line.split(|byte| *byte == b';')).filter_map(pair)
}

fn pair(pair: &[u8]) -> Option<(String, String)> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
    let name = text(decode_name(name), name).filter(|name| !name.is_empty())?;
    let value = unquote(value);
    Some((name, text(percent_decode(&value).collect(), &value)?))
}

/// Returns the decoded bytes as text, or else the raw ones.
fn text(decoded: Vec<u8>, raw: &[u8]) -> Option<String> {
    String::from_utf8(decoded).ok().or_else(|| std::str::from_utf8(raw).ok().map(str::to_owned))
}

/// Percent-decodes only the bytes that a name cannot contain unescaped. Otherwise `%5F%5FHost-id`, which any host of the domain
/// may set, would count as `__Host-id`, which browsers protect.
fn decode_name(name: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::with_capacity(name.len()), name);
    while let Some((first, after)) = rest.split_first() {
        let byte = escaped(rest).filter(|byte| !is_unreserved(*byte));
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &rest[3..] } else { after };
    }
    decoded
}

/// Returns the byte of a leading percent-escape.
fn escaped(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    (*text.first()? == b'%').then_some(())?;
    u8::try_from(digit(1)? * 16 + digit(2)?).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Removes double quotes, which Go puts around values with blanks and commas. Python's `http.cookies` also
/// escapes within them: `\"`, `\\`, and every other character below U+0100 as three octal digits.
fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return value.into();
    };
    let (mut text, mut rest) = (Vec::with_capacity(inner.len()), inner);
    while let Some((first, after)) = rest.split_first() {
        let (bytes, taken) = match (*first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => (octal([*a, *b, *c]), 3),
            (b'\\', [escaped, ..]) => (*escaped, 1),
            (byte, _) => (byte, 0),
        };
        match taken {
            3 => text.extend_from_slice(char::from(bytes).encode_utf8(&mut [0; 2]).as_bytes()),
            _ => text.push(bytes),
        }
        rest = &after[taken..];
    }
    text.into()
}

fn octal(digits: [u8; 3]) -> u8 {
    digits.iter().fold(0, |number, digit| number * 8 + (digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &[&[u8]]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        let jar = read(&headers);
        let mut all: Vec<_> =
            jar.iter().map(|cookie| (cookie.name().to_owned(), cookie.value().to_owned())).collect();
        all.sort();
        all
    }

    fn value(line: &[u8]) -> Option<String> {
        all(&[line]).into_iter().find(|(name, _)| name == "a").map(|(_, value)| value)
    }

    #[test]
    fn reads_values_of_frameworks() {
        for (line, expected) in [
            (&b"a=GOOD"[..], "GOOD"),
            (b"a=", ""),
            (b" a = GOOD\t", "GOOD"),
            (b"a=b=c==", "b=c=="),
            (b"a=%E6%B1%89", "\u{6c49}"),
            (b"a=a+b", "a+b"),
            (b"a=100%", "100%"),
            (b"a=%zz%4", "%zz%4"),
            (b"a=%ff", "%ff"),
            ("a=Montr\u{e9}al".as_bytes(), "Montr\u{e9}al"),
            (b"a=\"GOOD\"", "GOOD"),
            (b"a=\"x y, z\"", "x y, z"),
            (b"a=\"\"", ""),
            (b"a=\"", "\""),
            (b"a=\"x", "\"x"),
            (b"a=x\"y\"", "x\"y\""),
            (br#"a="a\073b\054c\"d\\e""#, "a;b,c\"d\\e"),
            (br#"a="Montr\351al""#, "Montr\u{e9}al"),
            (br#"a="\47\9\""#, "479\\"),
            (br#"a="\400""#, "400"),
            (br"a=a\073b", r"a\073b"),
            (b"a=%22x%22", "\"x\""),
            (br#"a={"n":1}"#, r#"{"n":1}"#),
        ] {
            assert_eq!(value(line).as_deref(), Some(expected), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn leaves_out_invalid_pairs() {
        for line in [
            &b"city=Montr\xe9al; a=GOOD"[..],
            b"a=GOOD; city=Montr\xe9al",
            b"a=GOOD; caf\xe9=1",
            b"caf\xe9; a=GOOD",
            b"a=GOOD; x=\x85\x93",
            b";; ;a=GOOD;",
            b"nonsense; =; =x; a=GOOD; \"",
            b"a=\xff; a=GOOD",
            b"a=GOOD; a=other",
            b"x=\"unclosed; a=GOOD",
        ] {
            assert_eq!(value(line).as_deref(), Some("GOOD"), "{}", line.escape_ascii());
        }
        assert_eq!(value(b"a=\xff"), None);
        assert_eq!(all(&[b"", b";", b"=x"]), []);
    }

    #[test]
    fn the_first_of_a_name_counts() {
        let lines: [&[u8]; 4] = [b"city=\xe9", b"a=1; b=2", b"c=3; a=4", b"b=5"];
        let expected = [("a", "1"), ("b", "2"), ("c", "3")];
        assert_eq!(all(&lines), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn escapes_cannot_forge_names() {
        for (line, name) in [
            (&b"%5F%5FHost-id=1"[..], "%5F%5FHost-id"),
            (b"%61=1", "%61"),
            (b"%E6%B1%89=1", "\u{6c49}"),
            (b"%20x%3D=1", " x="),
            (b"%255Fx=1", "%5Fx"),
            (b"%f=1", "%f"),
            (b"%ff=1", "%ff"),
            ("caf\u{e9}=1".as_bytes(), "caf\u{e9}"),
        ] {
            assert_eq!(all(&[line]), [(name.to_owned(), "1".to_owned())]);
        }
    }

    #[test]
    fn reads_its_own_encoding() {
        let texts = ["", "x y", "\"q\"", "a;b", "a=b", "%41", "\u{6c49}", "\\", "a,b", "__Host-x", "+"];
        for (name, text) in texts.iter().flat_map(|name| texts.map(|text| (*name, text))) {
            if name.is_empty() {
                continue;
            }
            let cookie = Cookie::new(name, text);
            let line = cookie.encoded().to_string();
            assert_eq!(all(&[line.as_bytes()]), [(name.to_owned(), text.to_owned())], "{line}");
        }
    }
}
