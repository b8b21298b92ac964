//! Routes by regular expression.

use std::sync::Arc;

use regex::Regex;

use super::index::{Captures, Hit};

/// An expression that is searched for, in linear time.
#[derive(Clone)]
pub(super) struct RegexRoute {
    regex: Regex,
    /// The names of its groups; none if they go by number.
    names: Vec<Arc<str>>,
}

impl RegexRoute {
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        let regex = Regex::new(pattern).map_err(|fault| fault.to_string())?;
        let names = regex.capture_names().flatten().map(Arc::from).collect();
        Ok(Self { regex, names })
    }

    /// `decoded` is the path percent-decoded.
    pub(super) fn find<'p>(&self, route: usize, path: &'p str, decoded: &str) -> Option<Hit<'p>> {
        let text = decoded.strip_prefix('/').unwrap_or(decoded);
        let found = self.regex.captures(text)?;
        let end = decoded.len() - text.len() + found.get(0)?.end();
        let captures = if self.names.is_empty() {
            let groups = found.iter().skip(1).flatten();
            Captures::Groups(groups.map(|group| group.as_str().to_owned()).collect())
        } else {
            let named = |name: &Arc<str>| Some((name.clone(), found.name(name)?.as_str().to_owned()));
            Captures::Named(self.names.iter().filter_map(named).collect())
        };
        Some(Hit { route, captures, rest: undecoded(path, end) })
    }
}

/// How much of `path` decodes to so many bytes.
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

    #[test]
    fn what_follows_a_match_begins_where_it_ends_in_the_path_as_it_came() {
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
