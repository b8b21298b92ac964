//! The file graph of a crate: an arrow runs from each file to the files whose items it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::modules::Modules;

/// For each file, the files that it uses and the names that it takes from each.
pub(crate) type Arrows<N> = BTreeMap<N, BTreeMap<N, BTreeSet<String>>>;

/// The arrows between the files of a crate.
///
/// A name that is taken through a re-export leads to the file that defines it. A module that declares or re-exports
/// its children has no arrow to them until it uses them itself. Methods are not seen: calling one takes no name.
pub(crate) fn between_files(modules: &Modules) -> Arrows<PathBuf> {
    let mut arrows = Arrows::new();
    for (from, target, name) in uses(modules) {
        let (from, to) = (modules.file(from).to_owned(), modules.file(target).to_owned());
        if from != to {
            arrows.entry(from).or_default().entry(to).or_default().insert(name);
        }
    }
    arrows
}

/// The arrows between the modules that are declared side by side in one module, of each module of the crate.
///
/// A module's arrows are those of all files in it.
pub(crate) fn between_siblings(modules: &Modules) -> Arrows<String> {
    let paths: Vec<_> = modules.iter().map(|(_, module)| &module.path).collect();
    let mut arrows = Arrows::new();
    for (from, target, name) in uses(modules) {
        let (from, to) = (paths[from], paths[target]);
        let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        if from.len() > shared && to.len() > shared {
            let (from, to) = (from[..=shared].join("::"), to[..=shared].join("::"));
            arrows.entry(from).or_default().entry(to).or_default().insert(name);
        }
    }
    arrows
}

/// Each use of an item: the module that uses it, the module that defines it, and the name.
fn uses(modules: &Modules) -> Vec<(usize, usize, String)> {
    let mut found = Vec::new();
    for (index, module) in modules.iter() {
        for import in module.body.imports.iter().filter(|import| import.name != "*") {
            if let Some(item) = modules.item(index, &import.path) {
                let is_below = modules.is_below(item.module, index);
                found.extend((!import.is_export || !is_below).then_some((index, item.module, item.name)));
            }
        }
        let items = module.body.mentions.iter().filter_map(|path| modules.item(index, path));
        found.extend(items.map(|item| (index, item.module, item.name)));
    }
    found
}
