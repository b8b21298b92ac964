//! Within a crate the modules stand in one order, and a module uses only those before it. And no file grows too long.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

const CRATES: [(&str, &str); 3] = [
    (
        "channel-layer",
        "sync error name value message config capability events mailbox layer ext hub memory backbone wrap registry conformance docs",
    ),
    ("channel-layer-redis", "sync error format config stats link modes layer schemes fuzz_targets docs"),
    (
        "ws-consumer",
        "error frame scope wire socket application consumer json http worker router middleware transport resume server testing docs",
    ),
];

const LONGEST_FILE: usize = 500;

#[test]
fn modules_use_only_those_before_them() {
    let faults: Vec<_> = CRATES.iter().flat_map(|(name, order)| faults_of_crate(name, order)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let files = files_below(&workspace());
    assert!(
        files.iter().any(|file| file.ends_with("tests/tests/use_direction.rs")),
        "the walk finds this file"
    );
    let too_long: Vec<_> = files.iter().filter_map(|file| too_long(file)).collect();
    assert!(too_long.is_empty(), "\n{}", too_long.join("\n"));
}

fn faults_of_crate(name: &str, order: &str) -> Vec<String> {
    let source = workspace().join(name).join("src");
    let root = fs::read_to_string(source.join("lib.rs"))
        .unwrap_or_else(|error| panic!("{name}/src/lib.rs: {error}"));
    let mut order = Order::new(order, &root);
    let mut files = Vec::new();
    for file in
        files_below(&source).into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs"))
    {
        let within = file.strip_prefix(&source).expect("found below it").to_owned();
        let Some(place) = Place::of(&within) else { continue };
        let text = fs::read_to_string(&file).expect("a source file is text");
        order.add_macros(&place, &text);
        files.push((within, place, text));
    }
    let mut faults = Vec::new();
    for (within, place, text) in files {
        let label = format!("{name}/src/{}", within.display());
        faults.extend(order.faults(&place, &text).into_iter().map(|fault| format!("{label}{fault}")));
    }
    faults
}

/// Where a file stands in its crate: its top-level module, and how many `super` lead to the crate's root.
struct Place {
    module: String,
    depth: usize,
}

impl Place {
    /// `None` for the crate's root, which sees everything, and for files that hold only tests.
    fn of(path: &Path) -> Option<Self> {
        let mut names: Vec<_> =
            path.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
        if names.last().is_some_and(|last| last == "mod") {
            names.pop();
        }
        let root = names.len() == 1 && matches!(names[0].as_str(), "lib" | "main");
        if root || names.iter().any(|name| name == "tests") {
            return None;
        }
        Some(Self { depth: names.len(), module: names.swap_remove(0) })
    }
}

/// A crate's modules in their order, and what its root re-exports from each.
struct Order {
    modules: Vec<String>,
    exported: BTreeMap<String, String>,
}

impl Order {
    fn new(modules: &str, root: &str) -> Self {
        let modules: Vec<_> = modules.split(' ').map(str::to_owned).collect();
        let mut exported = BTreeMap::new();
        for path in paths_after_use(&tokens(root)) {
            let names = path.iter().filter(|name| !matches!(name.as_str(), "crate" | "self"));
            let names: Vec<_> = names.cloned().collect();
            if let [module, .., name] = names.as_slice() {
                exported.insert(name.clone(), module.clone());
            }
        }
        Self { modules, exported }
    }

    /// An exported macro lives at the root, whatever module defines it.
    fn add_macros(&mut self, place: &Place, text: &str) {
        for exported in text.split("#[macro_export]").skip(1) {
            let name =
                exported.split_once("macro_rules!").and_then(|(_, rest)| rest.split_whitespace().next());
            let name = name.map(|name| name.trim_end_matches('{').to_owned());
            self.exported.extend(name.map(|name| (name, place.module.clone())));
        }
    }

    fn faults(&self, place: &Place, text: &str) -> Vec<String> {
        let Some(here) = self.position(&place.module) else {
            return vec![format!(": the module {:?} is not in its crate's list", place.module)];
        };
        let used = names_at_root(&tokens(text), place.depth);
        let faults = used.into_iter().filter_map(|(line, name)| match self.position(self.home_of(&name)) {
            Some(there) if there <= here => None,
            Some(_) => {
                Some(format!(":{line}: {:?} stands before {name:?} and must not use it", place.module))
            }
            None => Some(format!(":{line}: which module holds `crate::{name}`?")),
        });
        faults.collect()
    }

    // A name taken from the crate's root comes from the module that the root has it from.
    fn home_of<'a>(&'a self, name: &'a str) -> &'a str {
        self.exported.get(name).map_or(name, String::as_str)
    }

    fn position(&self, module: &str) -> Option<usize> {
        self.modules.iter().position(|other| other == module)
    }
}

fn tokens(text: &str) -> Vec<TokenTree> {
    let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{error} in\n{text}"));
    stream.into_iter().collect()
}

/// Every name that follows `crate::`, or as many `super::` as lead to the root, with its line; tests left out.
fn names_at_root(tokens: &[TokenTree], depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if let Some(end) = end_of_test_item(&tokens[at..]) {
            at += end;
            continue;
        }
        if let Some((inner, length)) = inline_module(&tokens[at..]) {
            found.extend(names_at_root(&inner, depth + 1));
            at += length;
            continue;
        }
        let supers = count_supers(&tokens[at..]);
        if is_ident(&tokens[at], "crate") && is_path_step(&tokens[at + 1..]) {
            found.extend(first_names(&tokens[at + 3..]));
        } else if supers >= depth {
            found.extend(first_names(&tokens[at + 3 * depth..]));
        } else if let TokenTree::Group(group) = &tokens[at] {
            let inner: Vec<_> = group.stream().into_iter().collect();
            found.extend(names_at_root(&inner, depth));
        }
        at += (3 * supers).max(1);
    }
    found
}

/// The length of `#[cfg(test)]` and the item it stands before.
fn end_of_test_item(tokens: &[TokenTree]) -> Option<usize> {
    let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = tokens else { return None };
    let text = attribute.stream().to_string().replace(' ', "");
    if hash.as_char() != '#' || !(text == "cfg(test)" || text.starts_with("cfg(all(test,")) {
        return None;
    }
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    };
    let item = tokens[2..].iter().position(ends).expect("an item follows an attribute");
    // `use a::{b};` ends with the semicolon after its braces.
    let semicolon =
        tokens.get(item + 3).is_some_and(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ';'));
    Some(item + 3 + usize::from(semicolon))
}

fn inline_module(tokens: &[TokenTree]) -> Option<(Vec<TokenTree>, usize)> {
    let [keyword, TokenTree::Ident(_), TokenTree::Group(body), ..] = tokens else { return None };
    is_ident(keyword, "mod").then(|| (body.stream().into_iter().collect(), 3))
}

fn count_supers(tokens: &[TokenTree]) -> usize {
    let steps = tokens.chunks(3);
    steps.take_while(|step| is_ident(&step[0], "super") && is_path_step(&step[1..])).count()
}

/// The first name of a path, or of each path in braces.
fn first_names(tokens: &[TokenTree]) -> Vec<(usize, String)> {
    match tokens.first() {
        Some(TokenTree::Ident(name)) => vec![(name.span().start().line, name.to_string())],
        Some(TokenTree::Group(group)) => {
            let inner: Vec<_> = group.stream().into_iter().collect();
            let parts = inner.split(is_comma).filter(|part| !part.is_empty());
            parts.flat_map(first_names).filter(|(_, name)| name != "self").collect()
        }
        _ => Vec::new(),
    }
}

/// The full path of every leaf of every `use`; `a as b` is the leaf `b`.
fn paths_after_use(tokens: &[TokenTree]) -> Vec<Vec<String>> {
    let starts = tokens.iter().enumerate().filter(|(_, token)| is_ident(token, "use"));
    starts.flat_map(|(at, _)| leaves(&tokens[at + 1..], &[])).collect()
}

fn leaves(tokens: &[TokenTree], before: &[String]) -> Vec<Vec<String>> {
    let mut path = before.to_vec();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(name) if name == "as" => {
                path.pop();
            }
            TokenTree::Ident(name) => path.push(name.to_string()),
            TokenTree::Punct(punct) if punct.as_char() == ':' => {}
            TokenTree::Group(group) if at > 0 => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                return inner.split(is_comma).flat_map(|part| leaves(part, &path)).collect();
            }
            _ => break,
        }
    }
    vec![path]
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn is_comma(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')
}

fn is_path_step(tokens: &[TokenTree]) -> bool {
    let colon = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':');
    tokens.len() >= 2 && colon(&tokens[0]) && colon(&tokens[1])
}

fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are a member of the workspace").to_owned()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let entry = entry.expect("a folder's entries can be listed");
        let name = entry.file_name();
        if name == "target" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        match entry.file_type().expect("an entry has a type").is_dir() {
            true => files.extend(files_below(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files
}

fn too_long(file: &Path) -> Option<String> {
    let written = ["rs", "py", "sh", "js", "css", "html"];
    let end = file.extension()?.to_str()?;
    if !written.contains(&end) {
        return None;
    }
    let lines = fs::read_to_string(file).expect("a source file is text").lines().count();
    (lines > LONGEST_FILE).then(|| format!("{}: {lines} lines", file.display()))
}

/// The check must be able to fail: each way to write a wrong use is caught, and what is right passes.
mod the_check_itself {
    use super::{Order, Path, Place, fs, too_long};

    const ROOT: &str = "mod error; mod frame; mod wire;\n\
        pub use error::{Error, Result}; pub use crate::wire::{Wire as Line, inner::Deep};";

    fn faults(file: &str, text: &str) -> Vec<String> {
        let place = Place::of(Path::new(file)).expect("no root");
        Order::new("error frame wire", ROOT).faults(&place, text)
    }

    #[test]
    fn catches_each_way_to_write_a_wrong_use() {
        let wrong = [
            ("frame.rs", "use crate::wire::Wire;"),
            ("frame/mod.rs", "pub use crate::wire;"),
            ("frame/text.rs", "use crate::{error::Error, wire::{self, Wire}};"),
            ("frame.rs", "fn f() -> crate::wire::Wire { todo!() }"),
            ("frame.rs", "fn f() { call!(x, crate::wire::new()) }"),
            ("frame.rs", "use super::wire::Wire;"),
            ("frame/text.rs", "use super::super::wire::Wire;"),
            ("frame.rs", "mod inner { use super::super::wire::Wire; }"),
            ("frame.rs", "use super::{error, wire};"),
            ("frame.rs", "use crate::Line;"),
            ("frame.rs", "use crate::Deep;"),
            ("frame.rs", "macro_rules! m { () => { $crate::wire::new() } }"),
            ("frame.rs", "#[cfg(test)] use crate::{wire}; use crate::wire::Wire;"),
            ("frame.rs", "#[cfg(not(test))] use crate::wire::Wire;"),
        ];
        for (file, text) in wrong {
            let found = faults(file, text);
            assert_eq!(found.len(), 1, "{file}: {text}: {found:?}");
            assert!(found[0].contains("must not use"), "{found:?}");
        }
    }

    #[test]
    fn lets_pass_what_is_right() {
        let right = [
            ("wire.rs", "use crate::frame::Frame; use crate::error; use crate::Result;"),
            ("wire/buffer.rs", "use super::Wire; use super::super::frame; use crate::wire::Wire;"),
            ("frame.rs", "// use crate::wire\n/// [`crate::wire`]\nfn f() { \"crate::wire\"; }"),
            (
                "frame.rs",
                "fn f() {} #[cfg(test)] mod tests { use crate::wire::Wire; use super::super::wire; }",
            ),
            (
                "frame.rs",
                "#[cfg(test)] mod tests;\n#[cfg(all(test, unix))] use crate::{wire::Wire};\nfn g() {}",
            ),
            ("frame.rs", "mod inner { use super::wire::not_the_crates; }"),
        ];
        for (file, text) in right {
            assert_eq!(faults(file, text), Vec::<String>::new(), "{file}: {text}");
        }
        assert!(Place::of(Path::new("lib.rs")).is_none());
        assert!(Place::of(Path::new("frame/tests.rs")).is_none());
    }

    #[test]
    fn finds_the_module_of_an_exported_macro() {
        let mut order = Order::new("frame wire", "");
        let wire = Place::of(Path::new("wire.rs")).expect("a module");
        order.add_macros(&wire, "#[macro_export]\n#[doc(hidden)]\nmacro_rules! wired { () => {} }");
        let frame = Place::of(Path::new("frame.rs")).expect("a module");
        assert!(order.faults(&wire, "fn f() { crate::wired!() }").is_empty());
        assert!(order.faults(&frame, "fn f() { crate::wired!() }")[0].contains("stands before"));
    }

    #[test]
    fn names_a_module_that_is_not_in_the_list() {
        assert!(faults("stray.rs", "")[0].contains("not in its crate's list"));
        assert!(faults("stray/deep/file.rs", "")[0].contains("not in its crate's list"));
        assert!(faults("frame.rs", "use crate::Unknown;")[0].contains("which module holds"));
    }

    #[test]
    fn tells_the_line() {
        assert!(faults("frame.rs", "\n\nuse crate::wire;\n")[0].starts_with(":3: "));
    }

    #[test]
    fn counts_the_lines_of_a_file() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("long.rs");
        fs::write(&file, "\n".repeat(500)).expect("the file can be written");
        assert_eq!(too_long(&file), None);
        fs::write(&file, "\n".repeat(501)).expect("the file can be written");
        assert!(too_long(&file).is_some());
    }
}
