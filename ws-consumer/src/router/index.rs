//! All patterns of a router as one tree of segments, so that matching costs what the path's length costs, not what the
//! number of routes does.

use std::{collections::HashMap, sync::Arc};

use super::{
    converter::Converter,
    pattern::{Pattern, Segment, decode},
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
    /// The first route that ends here. Those after it never match.
    end: Option<usize>,
    /// Routes that take whatever follows.
    prefixes: Vec<usize>,
    /// The first route that takes the rest as its last parameter.
    rest: Option<usize>,
}

/// A route that matches.
pub(super) struct Hit<'p> {
    pub(super) route: usize,
    pub(super) captures: Captures<'p>,
    /// Where the rest of the path begins.
    pub(super) rest: usize,
}

/// What the parameters took.
pub(super) enum Captures<'p> {
    /// By number, decoded.
    Groups(Vec<String>),
    /// By name, decoded.
    Named(Vec<(Arc<str>, String)>),
    /// In the pattern's order, as they came.
    Segments(Vec<&'p str>),
}

type Param = (Arc<str>, Box<str>);

impl Index {
    pub(super) fn insert(&mut self, pattern: &Pattern, route: usize) {
        let segments = pattern.segments();
        if let [before @ .., Segment::Param(_, Converter::Path)] = segments {
            let node = self.descend(before);
            self.0[node].rest.get_or_insert(route);
            return;
        }
        let node = self.descend(segments);
        self.0[node].end.get_or_insert(route);
    }

    pub(super) fn insert_prefix(&mut self, pattern: &Pattern, route: usize) {
        let node = self.descend(pattern.segments());
        self.0[node].prefixes.push(route);
    }

    /// The node at the end of these segments, made if there is none.
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

    /// All routes that match the path, in no order. One leading slash is nothing but the beginning.
    pub(super) fn find<'p>(&self, path: &'p str) -> Vec<Hit<'p>> {
        let mut search = Search { index: self, path, captures: Vec::new(), hits: Vec::new() };
        search.visit(0, Some(path.strip_prefix('/').unwrap_or(path)));
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
    /// `left` is what follows the slash, if there was one. No deeper than the longest pattern.
    fn visit(&mut self, node: usize, left: Option<&'p str>) {
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
            self.visit(*child, next);
        }
        for (kind, child) in &node.params {
            // Bytes that are no text are somebody's mistake, who is to be told, by a parameter that takes any text.
            let accepts = decoded.as_deref().map_or(*kind == Converter::Str, |text| kind.accepts(text));
            if !segment.is_empty() && accepts {
                self.captures.push(segment);
                self.visit(*child, next);
                self.captures.pop();
            }
        }
    }

    fn hit(&mut self, route: usize, rest: usize) {
        self.hits.push(Hit { route, captures: Captures::Segments(self.captures.clone()), rest });
    }
}

impl Captures<'_> {
    /// As parameters of this scope.
    ///
    /// # Errors
    /// A parameter whose bytes are no UTF-8.
    pub(super) fn params(self, names: &[Arc<str>], scope: &Scope) -> Result<Vec<Param>> {
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
