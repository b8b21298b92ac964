//! Routes by regular expression.

mod bounds;
mod python;

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use self::bounds::Bound;
use super::index::{Captures, Hit};

/// The size limit of a compiled expression: six times the default of the crate. A repetition of a Unicode class up to 255
/// takes 17 MiB.
const COMPILED: usize = 64 << 20;
const TOO_LARGE: &str = "it is too large when it is compiled: repeat without an upper bound, and check the length in the consumer, or \
                         repeat `[A-Za-z0-9_]` instead of `\\w`";

/// A route by regular expression, matched in linear time.
#[derive(Clone)]
pub(super) struct RegexRoute {
    regex: Regex,
    /// The bounds to check in addition to the expression.
    bounds: Vec<Bound>,
    /// The names of its groups; empty if they are numbered.
    names: Vec<Arc<str>>,
}

impl RegexRoute {
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        let pattern = python::translate(pattern).map_err(str::to_owned)?;
        let (regex, bounds) = match bounds::split(&pattern) {
            Some(split) => split,
            None => (compile(&pattern, COMPILED)?, Vec::new()),
        };
        let names = regex.capture_names().flatten().filter(|name| !bounds::is_bound(name));
        let names = names.map(Arc::from).collect();
        Ok(Self { regex, bounds, names })
    }

    /// `decoded` is the path percent-decoded.
    pub(super) fn find<'p>(&self, route: usize, path: &'p str, decoded: &str) -> Option<Hit<'p>> {
        let text = decoded.strip_prefix('/').unwrap_or(decoded);
        let found = self.regex.captures(text)?;
        if !self.bounds.iter().all(|bound| bound.holds(&found)) {
            return None;
        }
        let end = decoded.len() - text.len() + found.get(0)?.end();
        let captures = if self.names.is_empty() {
            let groups = self.regex.capture_names().zip(found.iter()).skip(1);
            let own = groups.filter(|(name, _)| name.is_none()).filter_map(|(_, group)| group);
            Captures::Groups(own.map(|group| group.as_str().to_owned()).collect())
        } else {
            let named = |name: &Arc<str>| Some((name.clone(), found.name(name)?.as_str().to_owned()));
            Captures::Named(self.names.iter().filter_map(named).collect())
        };
        Some(Hit { route, captures, rest: undecoded(path, end) })
    }
}

fn compile(pattern: &str, limit: usize) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(limit).build().map_err(|fault| match fault {
        regex::Error::CompiledTooBig(_) => TOO_LARGE.to_owned(),
        fault => fault.to_string(),
    })
}

/// Returns the length of the prefix of `path` that decodes to this number of bytes.
fn undecoded(path: &str, bytes: usize) -> usize {
    let path = path.as_bytes();
    let mut at = 0;
    for _ in 0..bytes {
        let is_escape =
            matches!(&path[at..], [b'%', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
        at += if is_escape { 3 } else { 1 };
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, path: &str) -> Option<Vec<String>> {
        match RegexRoute::parse(pattern).unwrap().find(0, path, path)?.captures {
            Captures::Groups(groups) => Some(groups),
            Captures::Named(named) => {
                Some(named.into_iter().map(|(name, text)| format!("{name}={text}")).collect())
            }
            _ => None,
        }
    }

    #[test]
    fn matches_django_patterns() {
        let three = r"^ws/(?P<a>[\w-]{1,255})/(?P<b>[\w-]{1,255})/(?P<c>[\w-]{1,255})/$";
        let long = "é".repeat(255);
        for (pattern, path, captures) in [
            (three, "/ws/a-1/汉字/c_/", Some("a=a-1 b=汉字 c=c_")),
            (three, &format!("/ws/{long}/b/c/"), Some(&*format!("a={long} b=b c=c"))),
            (three, &format!("/ws/{long}é/b/c/"), None),
            (three, "/ws/a//c/", None),
            (r"^ws/([\w-]{1,255})/(\d{1,20})/?$", "/ws/x/7", Some("x 7")),
            (r"\Aws/(?P<room>\w+)/\Z", "/ws/é/", Some("room=é")),
            (r"\Aws/(?P<room>\w+)/\Z", "/ws/é/x", None),
            (r"^ws/(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/$", "/ws/x/", None),
            (r"^(?i:WS)/(?P<day>\d{4}-\d{2})$", "/ws/2024-02", Some("day=2024-02")),
            (r"^\w{,20}/(\w{1,40}|-)$", "/a/-", Some("-")),
            (r"^(?P<path>.{1,2000})$", "/a/b", Some("path=a/b")),
            (r"^a\/(\S{1,64})\.(?:json|xml)$", "/a/b.json", Some("b")),
        ] {
            assert_eq!(
                found(pattern, path).map(|all| all.join(" ")).as_deref(),
                captures,
                "{pattern}: {path}"
            );
        }
    }

    #[test]
    fn errors_suggest_a_remedy() {
        for (pattern, hint) in [
            (r"^(?!api)(\w+)/$", "refuse in the consumer"),
            (r"^(\w)\1$", "compare them"),
            (r"(a", "unclosed group"),
        ] {
            let error = RegexRoute::parse(pattern).err().unwrap();
            assert!(error.contains(hint), "{pattern}: {error}");
        }
        let error = compile(r"\w{9}|x", 1 << 10).unwrap_err();
        assert!(error.contains("without an upper bound"), "{error}");
    }

    #[test]
    fn the_rest_stays_encoded() {
        for (path, bytes, rest) in [
            ("/a/b", 2, "/b"),
            ("/%61/b", 2, "/b"),
            ("/汉/b", 4, "/b"),
            ("/%E6%B1%89/b", 4, "/b"),
            ("/%zz%", 3, "z%"),
        ] {
            assert_eq!(&path[undecoded(path, bytes)..], rest, "{path}");
        }
    }
}
