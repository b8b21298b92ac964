//! The modules of a crate, and the file that defines a name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::reader::{Body, Child, Import};
use crate::tree::{Tree, tokens};

/// The modules of a crate; the first is its root.
pub(crate) struct Modules {
    all: Vec<Module>,
}

pub(crate) struct Module {
    /// The names that lead here from the crate's root.
    pub(crate) path: Vec<String>,
    pub(crate) file: PathBuf,
    pub(crate) body: Body,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
}

/// An item, and the module that defines it.
pub(crate) struct Item {
    pub(crate) module: usize,
    pub(crate) name: String,
}

// What a path leads to: a module, or an item that this module defines.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    Module(usize),
    ItemOf(usize),
}

const ROOT: usize = 0;

/// A library or a program of the workspace.
pub(crate) struct Crate {
    /// The folder of its package.
    pub(crate) folder: PathBuf,
    pub(crate) modules: Modules,
}

/// All crates of the workspace, read once for all tests.
pub(crate) fn crates() -> &'static [Crate] {
    static CRATES: OnceLock<Vec<Crate>> = OnceLock::new();
    CRATES.get_or_init(|| {
        let tree = Tree::workspace();
        let roots = tree.roots_of_all().into_iter();
        roots
            .map(|(folder, root)| Crate { folder: folder.to_owned(), modules: Modules::read(tree, &root) })
            .collect()
    })
}

impl Modules {
    /// Follows the `mod` declarations from a crate's root.
    pub(crate) fn read(tree: &Tree, root: &Path) -> Self {
        let mut modules = Self { all: Vec::new() };
        let folder = root.parent().expect("a root is in a folder");
        modules.add_file(tree, root, folder, None, Vec::new());
        modules
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Module)> {
        self.all.iter().enumerate()
    }

    pub(crate) fn file(&self, module: usize) -> &Path {
        &self.all[module].file
    }

    /// Whether `module` is declared in `other`, or further down.
    pub(crate) fn is_below(&self, module: usize, other: usize) -> bool {
        let (path, other) = (&self.all[module].path, &self.all[other].path);
        path.len() > other.len() && path.starts_with(other)
    }

    /// The item that `path` leads to, as written in `module`; `None` if it leads to a module or out of the crate.
    pub(crate) fn item(&self, module: usize, path: &[String]) -> Option<Item> {
        // The path's tail may be a variant or a method of the item.
        let whole = self.resolve(module, path, &mut Vec::new())?;
        let leads_there = |end: &usize| self.resolve(module, &path[..*end], &mut Vec::new()) == Some(whole);
        let end = (1..=path.len()).find(leads_there)?;
        match whole {
            Target::ItemOf(module) => Some(Item { module, name: path[end - 1].clone() }),
            Target::Module(_) => None,
        }
    }

    // `folder` holds the files of its children.
    fn add_file(
        &mut self,
        tree: &Tree,
        file: &Path,
        folder: &Path,
        parent: Option<usize>,
        path: Vec<String>,
    ) -> usize {
        let text = tree.text(file).unwrap_or_else(|| panic!("{}: no such file", file.display()));
        self.add_body(tree, Body::read(&tokens(text)), file, folder, parent, path)
    }

    fn add_body(
        &mut self,
        tree: &Tree,
        mut body: Body,
        file: &Path,
        folder: &Path,
        parent: Option<usize>,
        path: Vec<String>,
    ) -> usize {
        let children = std::mem::take(&mut body.children);
        let index = self.all.len();
        if let Some(root) = self.all.first_mut() {
            root.body.exported_macros.extend(body.exported_macros.iter().cloned());
        }
        let own = path.clone();
        self.all.push(Module { path, file: file.to_owned(), body, parent, children: BTreeMap::new() });
        for child in children {
            let mut path = own.clone();
            path.push(child.name.clone());
            let name = child.name.clone();
            let at = self.add_child(tree, child, index, folder, path);
            self.all[index].children.insert(name, at);
        }
        index
    }

    fn add_child(
        &mut self,
        tree: &Tree,
        child: Child,
        parent: usize,
        folder: &Path,
        path: Vec<String>,
    ) -> usize {
        let below = folder.join(&child.name);
        let of_parent = self.all[parent].file.clone();
        match (child.body, child.path) {
            (Some(body), _) => self.add_body(tree, body, &of_parent, &below, Some(parent), path),
            (None, Some(named)) => {
                let file = joined(of_parent.parent().expect("a file is in a folder"), &named);
                let below = file.parent().expect("a file is in a folder").to_owned();
                self.add_file(tree, &file, &below, Some(parent), path)
            }
            (None, None) => {
                let alone = folder.join(format!("{}.rs", child.name));
                let file = if tree.text(&alone).is_some() { alone } else { below.join("mod.rs") };
                self.add_file(tree, &file, &below, Some(parent), path)
            }
        }
    }

    // `open` holds the names that are being looked up, because imports can lead back to themselves.
    fn resolve(&self, module: usize, path: &[String], open: &mut Vec<(usize, String)>) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(ROOT),
            "self" => Target::Module(module),
            "super" => Target::Module(self.all[module].parent?),
            name => self.look_up(module, name, !rest.is_empty(), open)?,
        };
        while let (Target::Module(at), Some((name, after))) = (target, rest.split_first()) {
            target = match name.as_str() {
                "super" => Target::Module(self.all[at].parent?),
                // A macro's call can define what no token shows: then it is this module's.
                name => self.look_up(at, name, !after.is_empty(), open).unwrap_or(Target::ItemOf(at)),
            };
            rest = after;
        }
        Some(target)
    }

    /// Looks up a name in a module. A module and an item may share one: a longer path goes on through the module.
    fn look_up(
        &self,
        module: usize,
        name: &str,
        goes_on: bool,
        open: &mut Vec<(usize, String)>,
    ) -> Option<Target> {
        let key = (module, name.to_owned());
        if open.contains(&key) {
            return None;
        }
        open.push(key);
        let candidates = self.candidates(module, name, open);
        open.pop();
        let is_module = |target: &&Target| matches!(target, Target::Module(_));
        candidates.iter().find(|target| is_module(target) == goes_on).or(candidates.first()).copied()
    }

    fn candidates(&self, module: usize, name: &str, open: &mut Vec<(usize, String)>) -> Vec<Target> {
        let here = &self.all[module];
        let mut found: Vec<_> =
            here.children.get(name).map(|child| Target::Module(*child)).into_iter().collect();
        if here.body.items.contains(name) {
            found.push(Target::ItemOf(module));
        }
        if module == ROOT && here.body.exported_macros.contains(name) {
            let defines = |module: &Module| {
                module.body.items.contains(name) && module.body.exported_macros.contains(name)
            };
            found.extend(self.all.iter().position(defines).map(Target::ItemOf));
        }
        for Import { name: brought, path, .. } in &here.body.imports {
            if brought == name {
                // `use a::b` may mean a module and a function.
                let target = self.resolve(module, path, open);
                found.extend(target);
                found.extend(self.module_named(module, path, open));
            } else if brought == "*"
                && let Some(Target::Module(from)) = self.resolve(module, path, open)
            {
                found.extend(self.look_up(from, name, false, open));
            }
        }
        found
    }

    fn module_named(
        &self,
        module: usize,
        path: &[String],
        open: &mut Vec<(usize, String)>,
    ) -> Option<Target> {
        let (last, before) = path.split_last()?;
        let Some(Target::Module(parent)) = self.resolve(module, before, open) else { return None };
        self.all[parent].children.get(last).map(|child| Target::Module(*child))
    }
}

// `folder/../other`, without the dots.
fn joined(folder: &Path, named: &str) -> PathBuf {
    let mut path = folder.to_owned();
    for part in named.split('/') {
        match part {
            ".." => {
                path.pop();
            }
            "." => {}
            name => path.push(name),
        }
    }
    path
}
