//! URL patterns.

use std::{borrow::Cow, sync::Arc};

use percent_encoding::percent_decode_str;

use super::converter::{Converter, Converters, is_name};

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RoutePattern(Vec<Segment>);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Segment {
    Literal(Box<str>),
    Param(Arc<str>, Converter),
}

impl RoutePattern {
    pub(super) fn parse(pattern: &str, known: &Converters) -> Result<Self, String> {
        let path = pattern.strip_prefix('/').ok_or("it must begin with `/`")?;
        let segments = path.split('/').map(|segment| Segment::parse(segment, known));
        Self(segments.collect::<Result<Vec<_>, _>>()?).checked()
    }

    /// Parses a prefix: the text before a slash, which may be empty.
    pub(super) fn parse_prefix(prefix: &str, known: &Converters) -> Result<Self, String> {
        let parsed = if prefix.is_empty() { Self(Vec::new()) } else { Self::parse(prefix, known)? };
        match parsed.0.last() {
            Some(Segment::Param(name, Converter::Path)) => {
                Err(format!("no segment can follow `{{{name}:path}}`"))
            }
            _ => Ok(parsed),
        }
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.0.iter().filter_map(Segment::name).cloned().collect()
    }

    fn checked(self) -> Result<Self, String> {
        let names = self.names();
        if let Some((_, twice)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(format!("the parameter `{twice}` is named twice"));
        }
        let before_last = self.0.len().saturating_sub(1);
        let is_path = |segment: &&Segment| matches!(segment, Segment::Param(_, Converter::Path));
        match self.0[..before_last].iter().find(is_path).and_then(Segment::name) {
            Some(name) => Err(format!("`{{{name}:path}}` takes all the rest, so it has to be last")),
            None => Ok(self),
        }
    }
}

impl Segment {
    fn parse(segment: &str, known: &Converters) -> Result<Self, String> {
        if let Some(fault) = foreign(segment) {
            return Err(fault);
        }
        let Some(inner) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            return match segment.contains(['{', '}']) {
                true => Err(format!("`{segment}`: a parameter takes a whole segment, as in `/{{name}}/`")),
                false => Ok(Self::Literal(segment.into())),
            };
        };
        let (name, kind) = inner.split_once(':').unwrap_or((inner, "str"));
        if !is_name(name) {
            return Err(format!("`{name}` is no name of a parameter"));
        }
        let converter = known.find(kind).ok_or_else(|| format!("`{kind}` is no kind of parameter"))?;
        Ok(Self::Param(name.into(), converter))
    }

    fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Literal(_) => None,
            Self::Param(name, _) => Some(name),
        }
    }
}

/// Returns the fault of a parameter that is written as for another router, and would be a literal that no path matches.
fn foreign(segment: &str) -> Option<String> {
    let parameter = segment.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    let here = match (parameter, segment.split_at_checked(1)?) {
        (Some(parameter), _) => match parameter.split_once(':') {
            Some((kind, name)) => format!("{name}:{kind}"),
            None => parameter.to_owned(),
        },
        (None, (":", name)) => name.to_owned(),
        (None, ("*", name)) if !name.is_empty() => format!("{name}:path"),
        _ => return None,
    };
    Some(format!("`{segment}` is written `{{{here}}}` here"))
}

/// Percent-decodes a text once. `None` if the result is no UTF-8.
pub(super) fn decode(given: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(given).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_bad_patterns() {
        for (pattern, fault) in [
            ("ws", "begin"),
            ("/{a", "whole"),
            ("/x{a}", "whole"),
            ("/{}", "name"),
            ("/{a b}", "name"),
            ("/{a}/{a}", "twice"),
            ("/{a:float}", "kind"),
            ("/{a:}", "kind"),
            ("/{a:path}/x", "last"),
            ("/<int:id>/", "`{id:int}`"),
            ("/<name>/", "`{name}`"),
            ("/:id", "`{id}`"),
            ("/files/*path", "`{path:path}`"),
        ] {
            let error = RoutePattern::parse(pattern, &Converters::default()).unwrap_err();
            assert!(error.contains(fault), "{pattern}: {error}");
        }
    }
}
