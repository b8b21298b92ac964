//! Checks that the files of a crate use each other without a circle, and so do modules declared side by side.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use crate::arrows::{Arrows, between_files, between_siblings};
use crate::modules::crates;

#[test]
fn no_circle_of_files() {
    let mut found = Vec::new();
    for each in crates() {
        let arrows = between_files(&each.modules);
        let label = |path: &PathBuf| path.display().to_string();
        found.extend(circles(&arrows).iter().map(|circle| describe(circle, &arrows, label)));
    }
    assert_none(&found);
}

#[test]
fn no_circle_of_modules() {
    let mut found = Vec::new();
    for each in crates() {
        let arrows = between_siblings(&each.modules);
        let label = |path: &String| format!("{}/src/{}", each.folder.display(), path.replace("::", "/"));
        found.extend(circles(&arrows).iter().map(|circle| describe(circle, &arrows, label)));
    }
    assert_none(&found);
}

fn assert_none(circles: &[String]) {
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), circles.join("\n"));
}

#[test]
fn the_graph_is_read() {
    let counts: Vec<_> = crates().iter().map(|each| between_files(&each.modules).len()).collect();
    assert!(counts.len() >= 10 && counts.iter().sum::<usize>() > 200, "{counts:?}");
}

/// The groups of nodes in which each reaches each other.
pub(crate) fn circles<N: Ord + Clone>(arrows: &Arrows<N>) -> Vec<BTreeSet<N>> {
    let mut found: Vec<BTreeSet<N>> = Vec::new();
    for node in arrows.keys() {
        if found.iter().any(|circle| circle.contains(node)) {
            continue;
        }
        let ahead = reached_from(arrows, node);
        let circle: BTreeSet<_> =
            ahead.iter().filter(|other| reached_from(arrows, other).contains(node)).cloned().collect();
        if !circle.is_empty() {
            found.push(circle);
        }
    }
    found
}

fn reached_from<N: Ord + Clone>(arrows: &Arrows<N>, start: &N) -> BTreeSet<N> {
    let mut reached = BTreeSet::new();
    let mut ahead = vec![start];
    while let Some(node) = ahead.pop() {
        for next in arrows.get(node).into_iter().flat_map(|targets| targets.keys()) {
            if reached.insert(next.clone()) {
                ahead.push(next);
            }
        }
    }
    reached
}

fn describe<N: Ord>(circle: &BTreeSet<N>, arrows: &Arrows<N>, label: impl Fn(&N) -> String) -> String {
    let mut text = String::from("a circle:\n");
    for from in circle {
        for (to, names) in arrows[from].iter().filter(|(to, _)| circle.contains(to)) {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            writeln!(text, "  {} -> {}: {}", label(from), label(to), names.join(", "))
                .expect("a string takes it");
        }
    }
    text
}

/// The check must be able to fail: each way to write a circle is found, and none where there is none.
mod self_tests {
    use std::path::Path;

    use super::{circles, describe};
    use crate::arrows::{between_files, between_siblings};
    use crate::modules::Modules;
    use crate::tree::Tree;

    // A crate of `one.rs` and `two/{mod,deep}.rs`, in which `two/deep.rs` uses `one::One`.
    fn found(one: &str, two: &str, deep: &str) -> Vec<String> {
        let deep = format!("use crate::one::One;\npub struct Deep(One);\n{deep}");
        let tree = Tree::from_texts(&[
            ("c/Cargo.toml", ""),
            ("c/src/lib.rs", "mod one; mod two; pub use two::Deep as Renamed; pub struct Root;"),
            ("c/src/one.rs", &format!("pub struct One;\n{one}")),
            ("c/src/two/mod.rs", &format!("mod deep; pub use self::deep::Deep;\n{two}")),
            ("c/src/two/deep.rs", &deep),
        ]);
        let arrows = between_files(&Modules::read(&tree, Path::new("c/src/lib.rs")));
        circles(&arrows)
            .iter()
            .map(|circle| describe(circle, &arrows, |path| path.display().to_string()))
            .collect()
    }

    #[test]
    fn finds_each_way_to_write_a_circle() {
        let ways = [
            ("use crate::two::Deep;", "", ""),
            ("use super::two::{Deep};", "", ""),
            ("use crate::Renamed;", "", ""),
            ("use crate::{Renamed as Third};", "", ""),
            ("use crate::two; struct S(two::Deep);", "", ""),
            ("use crate::two::{self}; fn f() { two::Deep::new(); }", "", ""),
            ("fn f() -> crate::two::Deep { todo!() }", "", ""),
            ("fn f() { call!(x, crate::two::Deep) }", "", ""),
            ("fn f() { use super::*; Renamed::new() }", "", ""),
            ("mod inner { use super::super::two::Deep; }", "", ""),
            ("macro_rules! m { () => { $crate::two::Deep::new() } }", "", ""),
            ("pub use crate::two::Deep;", "", ""),
            ("#[cfg(not(test))] use crate::two::Deep;", "", ""),
            ("#[cfg(test)] use crate::{two}; use crate::two::Deep;", "", ""),
            ("use crate::two::Alias;", "pub(crate) type Alias = Deep;", "use super::Alias;"),
            ("", "fn f() -> Deep { helper() } fn helper() {}", "use super::helper;"),
            ("", "fn f() { deep::g() } fn helper() {}", "pub fn g() { super::helper() }"),
            ("", "use self::deep::Deep; struct S;", "fn f(s: super::S) {}"),
            ("", "pub fn f(d: Deep) {} pub const C: u8 = 1;", "use super::*; const D: u8 = C;"),
            ("use crate::{Root, two::Word};", "pub struct Word; use crate::one::One;", ""),
        ];
        for way in ways {
            let found = found(way.0, way.1, way.2);
            assert_eq!(found.len(), 1, "{way:?}: {found:?}");
            assert!(found[0].contains(" -> "), "{found:?}");
        }
    }

    #[test]
    fn passes_what_is_right() {
        let ways = [
            ("", "", ""),
            ("// use crate::two::Deep\n/// [`crate::two::Deep`]\nfn f() { \"crate::two::Deep\"; }", "", ""),
            ("#[cfg(test)] mod tests { use crate::two::Deep; use super::super::two; }", "", ""),
            ("#[cfg(test)] use crate::{two::Deep};\nfn g() {}", "", ""),
            ("use std::two::Deep; fn f(two: u8, deep: u8) { self.two.deep(); other::Deep; }", "", ""),
            ("", "pub const LENGTH: usize = 1;", "use super::LENGTH;"),
            ("", "fn f() { let deep = 1; g(deep) }", "fn f() { super::f() }"),
            ("", "pub use crate::one::One;", "use super::One as Other; fn f() -> super::One {}"),
            ("fn f() -> crate::Root {}", "", "fn f() -> crate::Root {}"),
        ];
        for way in ways {
            assert_eq!(found(way.0, way.1, way.2), Vec::<String>::new(), "{way:?}");
        }
    }

    #[test]
    fn finds_a_circle_of_modules() {
        let tree = Tree::from_texts(&[
            ("c/src/lib.rs", "mod a; mod b;"),
            ("c/src/a/mod.rs", "mod low; mod high;"),
            ("c/src/a/low.rs", "pub struct Low;"),
            ("c/src/a/high.rs", "use crate::b::B;"),
            ("c/src/b.rs", "use crate::a::low::Low; pub struct B;"),
        ]);
        let modules = Modules::read(&tree, Path::new("c/src/lib.rs"));
        assert!(circles(&between_files(&modules)).is_empty());
        let modules = between_siblings(&modules);
        let found = circles(&modules);
        assert_eq!(found.len(), 1);
        assert!(describe(&found[0], &modules, Clone::clone).contains("a -> b: B"));
    }

    #[test]
    fn names_what_ties_a_circle() {
        let found =
            found("use crate::two::Deep;\nfn f() { Deep::method(); crate::two::Deep::other() }", "", "");
        assert_eq!(
            found,
            [
                "a circle:\n  c/src/one.rs -> c/src/two/deep.rs: Deep\n  c/src/two/deep.rs -> c/src/one.rs: One\n"
            ]
        );
    }

    #[test]
    fn follows_an_exported_macro() {
        let tree = Tree::from_texts(&[
            ("c/src/main.rs", "mod a; mod b;"),
            (
                "c/src/a.rs",
                "#[macro_export]\n#[doc(hidden)]\nmacro_rules! made { () => {} } use crate::b::B;",
            ),
            ("c/src/b.rs", "pub struct B; fn f() { crate::made!() }"),
        ]);
        assert_eq!(circles(&between_files(&Modules::read(&tree, Path::new("c/src/main.rs")))).len(), 1);
    }
}
