//! Capacities for channels by their names.

use std::fmt::Write;

use regex_lite::Regex;

use crate::{
    error::{ConfigError, Result},
    name::ChannelName,
};

/// Capacities for the channels whose names match a pattern; the first one that matches holds.
///
/// ```
/// use channel_layer::{CapacityRules, ChannelName};
///
/// let rules = CapacityRules::default()
///     .glob("http.response!*", 10)?
///     .regex("^jobs[.-]", 1000)?
///     .glob("*", 50)?;
/// let capacity = |name| rules.capacity(&ChannelName::new(name).unwrap());
/// assert_eq!((capacity("http.response!a"), capacity("jobs-1"), capacity("chat")), (Some(10), Some(1000), Some(50)));
/// # Ok::<(), channel_layer::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CapacityRules(Vec<(Regex, usize)>);

impl CapacityRules {
    /// Adds channels whose whole name matches a shell pattern: `*` stands for any text, `?` for one character,
    /// `[abc]`, `[a-z]` and `[!a-z]` for one character of a set.
    ///
    /// # Errors
    /// [`Config`](crate::Error::Config) for an invalid set, such as `[z-a]`.
    pub fn glob(self, pattern: &str, capacity: usize) -> Result<Self> {
        self.add(pattern, &glob_to_regex(pattern), capacity)
    }

    /// Adds channels whose name contains a match of a regular expression: anchor it with `^` and `$` as needed.
    ///
    /// # Errors
    /// [`Config`](crate::Error::Config) for an invalid regular expression.
    pub fn regex(self, pattern: &str, capacity: usize) -> Result<Self> {
        self.add(pattern, pattern, capacity)
    }

    /// The capacity that the first matching pattern gives this channel; its full name counts.
    pub fn capacity(&self, channel: &ChannelName) -> Option<usize> {
        let (_, capacity) = self.0.iter().find(|(pattern, _)| pattern.is_match(channel.as_str()))?;
        Some(*capacity)
    }

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(mut self, pattern: &str, regex: &str, capacity: usize) -> Result<Self> {
        let regex = Regex::new(regex).map_err(|error| ConfigError::Pattern {
            pattern: pattern.to_owned(),
            reason: error.to_string(),
        })?;
        self.0.push((regex, capacity));
        Ok(self)
    }
}

/// Translates a pattern of Python's `fnmatch`: a `[` that no `]` closes stands for itself, and so does a `]` that comes first in a set.
fn glob_to_regex(glob: &str) -> String {
    let mut regex = String::from("(?s)^");
    let mut rest = glob;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match (first, set_end(rest)) {
            ('*', _) => regex.push_str(".*"),
            ('?', _) => regex.push('.'),
            ('[', Some(end)) => {
                push_set(&mut regex, &rest[..end]);
                rest = &rest[end + 1..];
            }
            _ => regex.push_str(&regex_lite::escape(first.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push('$');
    regex
}

fn set_end(rest: &str) -> Option<usize> {
    let negation = usize::from(rest.starts_with('!'));
    let from = negation + usize::from(rest[negation..].starts_with(']'));
    rest[from..].find(']').map(|at| from + at)
}

fn push_set(regex: &mut String, set: &str) {
    let (negation, members) = set.strip_prefix('!').map_or(("", set), |members| ("^", members));
    write!(regex, "[{negation}").expect("a String takes everything");
    for member in members.chars() {
        if matches!(member, '[' | ']' | '\\' | '^' | '&' | '~') {
            regex.push('\\');
        }
        regex.push(member);
    }
    regex.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, name: &str) -> bool {
        let rules = CapacityRules::default().glob(glob, 1).unwrap();
        rules.capacity(&name.parse().unwrap()).is_some()
    }

    #[test]
    fn globs_are_anchored() {
        assert!(matches("http.*", "http.request") && !matches("http.*", "xhttp.request"));
        assert!(!matches("http.*", "httpx") && !matches("jobs", "jobs.low"));
        assert!(matches("job?", "jobs") && !matches("job?", "job"));
        assert!(matches("specific.*!*", "specific.ab!cd"));
    }

    #[test]
    fn sets_match_ranges_and_negations() {
        assert!(matches("job[sz]", "jobs") && !matches("job[!sz]", "jobs") && matches("job[0-9]", "job7"));
        assert!(!matches("[^a]", "b"), "as in the shell, `^` stands for itself");
        assert!(CapacityRules::default().glob("[z-a]", 1).is_err());
        assert!(!matches("a[b", "ab"), "an open bracket stands for itself");
    }

    #[test]
    fn the_first_match_wins() {
        let rules = CapacityRules::default().regex("^jobs", 5).unwrap().glob("jobs.*", 9).unwrap();
        assert_eq!(rules.capacity(&"jobs.low".parse().unwrap()), Some(5));
        assert_eq!(rules.capacity(&"my.jobs".parse().unwrap()), None);
        assert!(CapacityRules::default().regex("(", 1).is_err());
    }
}
