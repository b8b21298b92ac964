//! A type's name stands once in a crate.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::modules::{Modules, crates};

/// The names that may stand more than once, each with its reason.
const ALLOWED: &[(&str, &str)] = &[("Result", "the alias of a module whose functions share one error")];

#[test]
fn no_type_name_twice() {
    let mut found = Vec::new();
    for each in crates() {
        let label = each.folder.display();
        let twice = twice(&each.modules).into_iter();
        found.extend(twice.map(|(name, files)| format!("{label}: {name} in {}", files.join(", "))));
    }
    assert!(found.is_empty(), "{} names:\n{}", found.len(), found.join("\n"));
}

fn twice(modules: &Modules) -> Vec<(String, Vec<String>)> {
    let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (_, module) in modules.iter() {
        for name in &module.body.types {
            files.entry(name.clone()).or_default().push(module.file.clone());
        }
    }
    files.retain(|name, files| files.len() > 1 && ALLOWED.iter().all(|(allowed, _)| allowed != name));
    let shown = |files: Vec<PathBuf>| files.iter().map(|file| file.display().to_string()).collect();
    files.into_iter().map(|(name, files)| (name, shown(files))).collect()
}

mod self_tests {
    use std::path::Path;

    use super::{Modules, twice};
    use crate::tree::Tree;

    #[test]
    fn finds_a_name_that_stands_twice() {
        let tree = Tree::from_texts(&[
            ("c/src/lib.rs", "mod a; mod b; pub use a::Twice as Other; pub struct Once;"),
            (
                "c/src/a.rs",
                "pub struct Twice; fn f() { struct Local; } impl Thing for Twice { type Kind = u8; }",
            ),
            ("c/src/b.rs", "enum Twice {} fn g() { struct Local; } #[cfg(test)] mod tests { struct Once; }"),
        ]);
        let found = twice(&Modules::read(&tree, Path::new("c/src/lib.rs")));
        assert_eq!(found, [("Twice".to_owned(), vec!["c/src/a.rs".to_owned(), "c/src/b.rs".to_owned()])]);
    }
}
