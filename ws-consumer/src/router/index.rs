//! The patterns of a router as a tree of segments. The cost of a match depends on the length of the path, not on the number
//! of routes.

use std::{collections::HashMap, sync::Arc};

use super::{
    converter::Converter,
    pattern::{RoutePattern, Segment, decode},
};
use crate::{
    error::{Error, Result},
    scope::Scope,
};

/// Nodes by number; the first is the root.
#[derive(Clone)]
pub(super) struct Index(Vec<Node>);

#[derive(Clone, Default)]
struct Node {
    literals: HashMap<Box<str>, usize>,
    params: Vec<(Converter, usize)>,
    /// The first route that ends here. Later ones never match.
    end: Option<usize>,
    /// The routes of prefixes that end here.
    prefixes: Vec<usize>,
    /// The first route whose last parameter takes the rest of the path.
    rest: Option<usize>,
}

/// A route that matches.
pub(super) struct Hit<'p> {
    pub(super) route: usize,
    pub(super) captures: Captures<'p>,
    /// The start of the rest of the path.
    pub(super) rest: usize,
}

/// The texts matched by the parameters.
pub(super) enum Captures<'p> {
    /// By number, decoded.
    Groups(Vec<String>),
    /// By name, decoded.
    Named(Vec<(Arc<str>, String)>),
    /// In the pattern's order, percent-encoded.
    Segments(Vec<&'p str>),
}

type RouteParam = (Arc<str>, Box<str>);

impl Index {
    pub(super) fn insert(&mut self, pattern: &RoutePattern, route: usize) {
        let segments = pattern.segments();
        if let [before @ .., Segment::Param(_, Converter::Path)] = segments {
            let node = self.descend(before);
            self.0[node].rest.get_or_insert(route);
            return;
        }
        let node = self.descend(segments);
        self.0[node].end.get_or_insert(route);
    }

    pub(super) fn insert_prefix(&mut self, pattern: &RoutePattern, route: usize) {
        let node = self.descend(pattern.segments());
        self.0[node].prefixes.push(route);
    }

    /// Returns the node at the end of these segments, creating it if necessary.
    fn descend(&mut self, segments: &[Segment]) -> usize {
        segments.iter().fold(0, |node, segment| {
            let fresh = self.0.len();
            let here = &mut self.0[node];
            let next = match segment {
                Segment::Literal(text) => *here.literals.entry(text.clone()).or_insert(fresh),
                Segment::Param(_, kind) => match here.params.iter().find(|(known, _)| known == kind) {
                    Some((_, known)) => *known,
                    None => {
                        here.params.push((kind.clone(), fresh));
                        fresh
                    }
                },
            };
            if next == fresh {
                self.0.push(Node::default());
            }
            next
        })
    }

    /// Returns all routes that match the path, in no particular order. A leading slash is ignored.
    pub(super) fn find<'p>(&self, path: &'p str) -> Vec<Hit<'p>> {
        let mut search = Search { index: self, path, captures: Vec::new(), hits: Vec::new() };
        search.search(0, Some(path.strip_prefix('/').unwrap_or(path)));
        search.hits
    }
}

impl Default for Index {
    fn default() -> Self {
        Self(vec![Node::default()])
    }
}

struct Search<'i, 'p> {
    index: &'i Index,
    path: &'p str,
    captures: Vec<&'p str>,
    hits: Vec<Hit<'p>>,
}

impl<'p> Search<'_, 'p> {
    /// Searches a subtree. `left` is the path after the last slash, if there was one. The depth is bounded by the longest
    /// pattern.
    fn search(&mut self, node: usize, left: Option<&'p str>) {
        let node = &self.index.0[node];
        let slash = left.map_or(self.path.len(), |left| (self.path.len() - left.len()).saturating_sub(1));
        for route in &node.prefixes {
            self.hit(*route, slash);
        }
        let Some(left) = left else {
            return node.end.into_iter().for_each(|route| self.hit(route, self.path.len()));
        };
        if let Some(route) = node.rest.filter(|_| !left.is_empty()) {
            self.captures.push(left);
            self.hit(route, self.path.len());
            self.captures.pop();
        }
        let (segment, next) =
            left.split_once('/').map_or((left, None), |(segment, next)| (segment, Some(next)));
        let decoded = decode(segment);
        if let Some(child) = decoded.as_deref().and_then(|text| node.literals.get(text)) {
            self.search(*child, next);
        }
        for (kind, child) in &node.params {
            // A segment that is no UTF-8 still reaches a parameter for any text, which then reports the error.
            let accepts = decoded.as_deref().map_or(*kind == Converter::Str, |text| kind.accepts(text));
            if !segment.is_empty() && accepts {
                self.captures.push(segment);
                self.search(*child, next);
                self.captures.pop();
            }
        }
    }

    fn hit(&mut self, route: usize, rest: usize) {
        self.hits.push(Hit { route, captures: Captures::Segments(self.captures.clone()), rest });
    }
}

impl Captures<'_> {
    /// Returns the parameters of a scope.
    ///
    /// # Errors
    /// A parameter is no UTF-8.
    pub(super) fn params(self, names: &[Arc<str>], scope: &Scope) -> Result<Vec<RouteParam>> {
        Ok(match self {
            Self::Segments(raw) => {
                let decoded = raw.into_iter().map(|raw| decode(raw).map(Box::from));
                let pairs = names.iter().cloned().zip(decoded);
                let pairs = pairs.map(|(name, value)| Some((name, value?))).collect::<Option<_>>();
                pairs.ok_or_else(|| Error::bad_input("a part of the path is no UTF-8"))?
            }
            Self::Named(pairs) => pairs.into_iter().map(|(name, value)| (name, value.into())).collect(),
            Self::Groups(values) => {
                let before = scope.param_pairs().filter(|(name, _)| name.parse::<usize>().is_ok()).count();
                let number = |(at, value): (usize, String)| ((before + at).to_string().into(), value.into());
                values.into_iter().enumerate().map(number).collect()
            }
        })
    }
}
