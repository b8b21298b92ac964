//! Translation of regular expressions of Python's `re` to the `regex` crate.
//!
//! The two differ little in the syntax that URL patterns use. Constructs with an equivalent are translated. Constructs that
//! cannot be matched in linear time are errors that suggest a remedy.

use std::{borrow::Cow, iter::Peekable, str::Chars};

const LOOK_AROUND: &str = "look-around such as `(?=`, `(?!` and `(?<=` is not supported, as it cannot be matched in linear time: let the \
                           pattern match more, and refuse in the consumer, or by a route before this one, what it should not";
const BACKREFERENCE: &str = "references such as `\\1` and `(?P=name)` to what a group has matched are not supported, as they cannot \
                             be matched in linear time: capture both parts, and compare them in the consumer";
const CONDITION: &str = "conditions such as `(?(1)` are not supported: make a route of each case";
const ATOMIC: &str = "atomic groups `(?>` and possessive repetitions `++` are not supported: the matcher never backtracks, so plain \
                      groups and repetitions are as fast";

/// Translates a pattern.
pub(super) fn translate(pattern: &str) -> Result<Cow<'_, str>, &'static str> {
    let mut translation = Translation { rest: pattern.chars().peekable(), made: String::new() };
    translation.run()?;
    let made = translation.made;
    Ok(if made == pattern { Cow::Borrowed(pattern) } else { Cow::Owned(made) })
}

struct Translation<'p> {
    rest: Peekable<Chars<'p>>,
    made: String,
}

impl Translation<'_> {
    fn run(&mut self) -> Result<(), &'static str> {
        // Whether the last token was a repetition: a plus after it would make it possessive.
        let mut repeated = false;
        while let Some(next) = self.rest.next() {
            let repeats = match next {
                '\\' => self.escape()?,
                '[' => self.class(),
                '(' => self.group()?,
                '+' if repeated => return Err(ATOMIC),
                '{' => self.count(),
                other => {
                    self.made.push(other);
                    matches!(other, '*' | '+' | '?')
                }
            };
            repeated = repeats;
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<bool, &'static str> {
        match self.rest.next() {
            // The end of the text, which is `\z` in the `regex` crate.
            Some('Z') => self.made.push_str("\\z"),
            Some('1'..='9') => return Err(BACKREFERENCE),
            Some(other) => {
                self.made.extend(['\\', other]);
                // The braces of `\p{Greek}` or `\x{3b1}` are no repetition.
                if matches!(other, 'p' | 'P' | 'u' | 'U' | 'x') && self.take_if('{') {
                    while !self.take_if('}')
                        && let Some(next) = self.rest.next()
                    {
                        self.made.push(next);
                    }
                }
            }
            None => self.made.push('\\'),
        }
        Ok(false)
    }

    /// Copies a character class. Classes may be nested, so brackets in them have to be escaped.
    fn class(&mut self) -> bool {
        let mut depth = 1;
        self.made.push('[');
        self.take_if('^');
        self.take_if(']');
        while depth > 0
            && let Some(next) = self.rest.next()
        {
            self.made.push(next);
            match next {
                ']' => depth -= 1,
                '[' => {
                    depth += 1;
                    self.take_if('^');
                    self.take_if(']');
                }
                '\\' => self.made.extend(self.rest.next()),
                _ => {}
            }
        }
        false
    }

    fn group(&mut self) -> Result<bool, &'static str> {
        self.made.push('(');
        if !self.take_if('?') {
            return Ok(false);
        }
        let mut ahead = self.rest.clone();
        match (ahead.next(), ahead.next()) {
            (Some('=' | '!'), _) | (Some('<'), Some('=' | '!')) => Err(LOOK_AROUND),
            (Some('P'), Some('=')) => Err(BACKREFERENCE),
            (Some('('), _) => Err(CONDITION),
            (Some('>'), _) => Err(ATOMIC),
            (Some('#'), _) => {
                self.made.truncate(self.made.len() - 2);
                self.rest.by_ref().find(|next| *next == ')');
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Translates a counted repetition, or escapes a literal brace.
    fn count(&mut self) -> bool {
        let ahead: String = self.rest.clone().take_while(|next| *next != '}').collect();
        let ends = self.rest.clone().nth(ahead.chars().count()) == Some('}');
        let (least, most) = ahead.split_once(',').unwrap_or((&ahead, "0"));
        let is_number = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        let is_count = ends && !ahead.is_empty() && ahead != "," && is_number(least) && is_number(most);
        if !is_count {
            self.made.push_str("\\{");
            return false;
        }
        self.made.push('{');
        if least.is_empty() {
            self.made.push('0');
        }
        self.made.push_str(&ahead);
        self.made.push('}');
        self.rest.nth(ahead.chars().count());
        true
    }

    fn take_if(&mut self, wanted: char) -> bool {
        let took = self.rest.next_if_eq(&wanted).is_some();
        if took {
            self.made.push(wanted);
        }
        took
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translates_python() {
        for (python, ours) in [
            (r"^ws/(?P<room>[\w-]+)/$", r"^ws/(?P<room>[\w-]+)/$"),
            (r"\Aws/\Z", r"\Aws/\z"),
            (r"\\Z", r"\\Z"),
            (r"[\]Z]\Z", r"[\]Z]\z"),
            (r"[]a]\Z", r"[]a]\z"),
            (r"[^]a[^]]]\Z", r"[^]a[^]]]\z"),
            (r"[[:alpha:]\]]{2}\Z", r"[[:alpha:]\]]{2}\z"),
            (r"\p{Greek}{2}\x{3b1}", r"\p{Greek}{2}\x{3b1}"),
            (r"a(?#why)b", r"ab"),
            (r"\d{,3}", r"\d{0,3}"),
            (r"\d{2,}?", r"\d{2,}?"),
            (r"a{b}", r"a\{b}"),
            (r"a{", r"a\{"),
            (r"(?:a|b)+?", r"(?:a|b)+?"),
            (r"[+*]+", r"[+*]+"),
            (r"\++", r"\++"),
        ] {
            assert_eq!(translate(python).unwrap(), ours, "{python}");
        }
    }

    #[test]
    fn errors_suggest_a_remedy() {
        for (python, hint) in [
            (r"^(?!admin)\w+$", "refuse in the consumer"),
            (r"(?=a)", "refuse in the consumer"),
            (r"(?<=a)b", "refuse in the consumer"),
            (r"(?<!a)b", "refuse in the consumer"),
            (r"(\w)\1", "compare them in the consumer"),
            (r"(?P<a>\w)(?P=a)", "compare them in the consumer"),
            (r"(a)?(?(1)b|c)", "a route of each case"),
            (r"(?>a+)b", "plain"),
            (r"a++b", "plain"),
            (r"a*+b", "plain"),
            (r"a{1,2}+b", "plain"),
        ] {
            let error = translate(python).unwrap_err();
            assert!(error.contains(hint), "{python}: {error}");
        }
        // In a class, or escaped, they are characters.
        for plain in [r"[(?=]", r"\(?=a", r"[\1]?", r"\\1", r"[a+]+"] {
            assert!(translate(plain).is_ok(), "{plain}");
        }
    }
}
