//! Long repetitions with an upper bound, checked after the match instead of compiled.
//!
//! `[\w-]{1,255}` compiles to 255 copies of a set that takes kilobytes each: seconds and tens of megabytes for a common
//! pattern. If the characters after the repetition cannot belong to it, there is only one way to match. Then the bound is
//! removed from the expression, and the length of the match is checked instead.

use regex::{Captures, Regex};
use regex_syntax::{
    Parser,
    hir::{Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look, Repetition},
};

/// Repetitions up to this number are compiled.
const SHORT: u32 = 16;
/// The prefix of the names of added groups.
const PREFIX: &str = "__bound_";

/// The number of characters that a group may match.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    group: String,
    least: u32,
    most: u32,
}

impl Bound {
    pub(super) fn holds(&self, found: &Captures<'_>) -> bool {
        let Some(text) = found.name(&self.group) else { return true };
        let count = text.as_str().chars().count();
        (self.least as usize..=self.most as usize).contains(&count)
    }
}

/// Returns whether a group was added by this module.
pub(super) fn is_bound(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Returns the expression without its long bounds, and the bounds. `None` if there are none, or if they
/// cannot be checked.
pub(super) fn split(pattern: &str) -> Option<(Regex, Vec<Bound>)> {
    let hir = Parser::new().parse(pattern).ok()?;
    let mut atoms = Vec::new();
    flatten(&hir, &mut atoms)?;
    if !has_one_way(&atoms) {
        return None;
    }
    let mut bounds = Vec::new();
    let open = without_bounds(&hir, &mut bounds);
    if bounds.is_empty() {
        return None;
    }
    Some((Regex::new(&open.to_string()).ok()?, bounds))
}

/// A part of an expression that is a plain sequence.
enum Atom {
    Begin,
    End,
    Set(ClassUnicode),
    Repeated { set: ClassUnicode, may_be_none: bool },
}

/// Appends the parts of an expression in sequence. `None` for one with branches, or with repetitions of more
/// than one character.
fn flatten(hir: &Hir, atoms: &mut Vec<Atom>) -> Option<()> {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Look(Look::Start) => atoms.push(Atom::Begin),
        HirKind::Look(Look::End) => atoms.push(Atom::End),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            atoms.extend(text.chars().map(|c| Atom::Set(only(c))));
        }
        HirKind::Class(_) => atoms.push(Atom::Set(set(hir)?)),
        HirKind::Repetition(Repetition { min, sub, .. }) => {
            atoms.push(Atom::Repeated { set: set(sub)?, may_be_none: *min == 0 });
        }
        HirKind::Capture(Capture { sub, .. }) => flatten(sub, atoms)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| flatten(part, atoms))?,
        HirKind::Look(_) | HirKind::Alternation(_) => return None,
    }
    Some(())
}

/// Returns the characters that a position may hold.
fn set(hir: &Hir) -> Option<ClassUnicode> {
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class.clone()),
        HirKind::Class(Class::Bytes(class)) => class.to_unicode_class(),
        HirKind::Literal(literal) => {
            let mut chars = std::str::from_utf8(&literal.0).ok()?.chars();
            let first = chars.next()?;
            chars.next().is_none().then(|| only(first))
        }
        HirKind::Capture(Capture { sub, .. }) => set(sub),
        _ => None,
    }
}

fn only(c: char) -> ClassUnicode {
    ClassUnicode::new([ClassUnicodeRange::new(c, c)])
}

/// Returns whether each character of a text, read from its beginning, belongs to one atom only.
fn has_one_way(atoms: &[Atom]) -> bool {
    let Some((Atom::Begin, rest)) = atoms.split_first() else { return false };
    rest.iter().enumerate().all(|(at, atom)| match atom {
        Atom::Repeated { set, .. } => is_delimited(set, &rest[at + 1..]),
        Atom::Begin => false,
        Atom::Set(_) | Atom::End => true,
    })
}

fn is_delimited(repeated: &ClassUnicode, rest: &[Atom]) -> bool {
    for next in rest {
        let (next, may_be_none) = match next {
            Atom::End => return true,
            Atom::Begin => return false,
            Atom::Set(set) => (set, false),
            Atom::Repeated { set, may_be_none } => (set, *may_be_none),
        };
        let mut common = repeated.clone();
        common.intersect(next);
        if !common.ranges().is_empty() {
            return false;
        }
        if !may_be_none {
            return true;
        }
    }
    false // the text after a prefix may begin with any character
}

fn without_bounds(hir: &Hir, bounds: &mut Vec<Bound>) -> Hir {
    match hir.kind() {
        HirKind::Repetition(repetition) => match repetition.max {
            Some(most) if most > SHORT => {
                let (group, least) = (format!("{PREFIX}{}", bounds.len()), repetition.min);
                let open = Repetition { min: least.min(1), max: None, ..repetition.clone() };
                bounds.push(Bound { group: group.clone(), least, most });
                // Groups are numbered again when the expression is parsed.
                Hir::capture(Capture {
                    index: 0,
                    name: Some(group.into()),
                    sub: Box::new(Hir::repetition(open)),
                })
            }
            _ => hir.clone(),
        },
        HirKind::Capture(capture) => {
            let sub = Box::new(without_bounds(&capture.sub, bounds));
            Hir::capture(Capture { sub, ..capture.clone() })
        }
        HirKind::Concat(parts) => {
            Hir::concat(parts.iter().map(|part| without_bounds(part, bounds)).collect())
        }
        _ => hir.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_unambiguous_bounds() {
        for (pattern, bounds) in [
            (r"^(?P<a>[\w-]{1,255})/(?P<b>[\w-]{1,255})/(?P<c>[\w-]{1,255})/$", 3),
            (r"^a/([\w-]{1,255})/?$", 1),
            (r"^a/(\w{32})/\z", 1),
            (r"\A\d{1,20}-\w{0,200}$", 2),
            (r"^.{1,2000}$", 1),
            // Short enough, without bounds, or with more than one way.
            (r"^a/\w{1,16}/$", 0),
            (r"^a/\w+/$", 0),
            (r"^a/\w{1,255}", 0),
            (r"a/\w{1,255}/$", 0),
            (r"^\w{1,255}\w{1,255}$", 0),
            (r"^\w{1,255}-?\w$", 0),
            (r"^(?:\w{1,255}/)?$", 0),
            (r"^(?:a|\w{1,255})/$", 0),
            (r"^.{1,255}/$", 0),
            (r"^\w{1,255}\b/$", 0),
        ] {
            let found = split(pattern).map_or(0, |(_, bounds)| bounds.len());
            assert_eq!(found, bounds, "{pattern}");
        }
    }

    #[test]
    fn checked_bounds_equal_compiled() {
        for pattern in [
            r"^([a-f]{2,20})/([0-9]{0,18})/?$",
            r"^x(?P<a>[a-c]{17,18})$",
            r"^([^/]{3,17})/(-?)([0-9]{1,17})\z",
            r"(?i)^([é-ü]{1,17})!$",
        ] {
            let (open, bounds) = split(pattern).unwrap();
            let compiled = Regex::new(pattern).unwrap();
            let part = ["", "a", "abc", "é", "É", "1", "12", "/", "-", "!", "x"];
            let mut texts = vec![String::new()];
            for times in [1, 2, 3, 9, 16, 17, 18, 19, 21] {
                for (one, two) in part.iter().flat_map(|one| part.iter().map(move |two| (one, two))) {
                    texts.push(format!("{}{two}{}", one.repeat(times), one.repeat(times / 9)));
                    texts.push(format!("x{}{two}", one.repeat(times)));
                }
            }
            let mut matched = 0;
            for text in &texts {
                let found = open.captures(text).filter(|found| bounds.iter().all(|bound| bound.holds(found)));
                let expected = compiled.captures(text);
                let own = found.map(|found| {
                    let names = open.capture_names().zip(found.iter());
                    let own = names.filter(|(name, _)| !name.is_some_and(is_bound));
                    own.map(|(_, group)| group.map(|group| group.range())).collect::<Vec<_>>()
                });
                let expected = expected.map(|found| {
                    found.iter().map(|group| group.map(|group| group.range())).collect::<Vec<_>>()
                });
                assert_eq!(own, expected, "{pattern}: {text}");
                matched += usize::from(own.is_some());
            }
            assert!(matched > 0, "{pattern}");
        }
    }
}
