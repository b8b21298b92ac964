//! The workspace's files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proc_macro2::{TokenStream, TokenTree};

/// The folder of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are a member of the workspace").to_owned()
}

/// The text of every written file, by its path within the workspace.
pub(crate) struct Tree {
    files: BTreeMap<PathBuf, String>,
}

impl Tree {
    /// The whole workspace, without build output and installed packages. It is read once for all tests.
    pub(crate) fn workspace() -> &'static Self {
        static WORKSPACE: OnceLock<Tree> = OnceLock::new();
        WORKSPACE.get_or_init(Self::read)
    }

    fn read() -> Self {
        let mut files = BTreeMap::new();
        add_files(&workspace(), Path::new(""), &mut files);
        assert!(files.contains_key(Path::new("tests/tests/house/tree.rs")), "the search finds this file");
        Self { files }
    }

    /// A tree that exists only in a test.
    pub(crate) fn from_texts(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned()));
        Self { files: files.collect() }
    }

    pub(crate) fn text(&self, path: &Path) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.files.iter().map(|(path, text)| (path.as_path(), text.as_str()))
    }

    /// Each crate's folder with the root files of its library and programs.
    pub(crate) fn roots_of_all(&self) -> Vec<(&Path, PathBuf)> {
        let manifests = self.files.keys().filter(|path| path.ends_with("Cargo.toml"));
        let folders = manifests.filter_map(|path| path.parent());
        folders.flat_map(|folder| self.roots(folder).into_iter().map(move |root| (folder, root))).collect()
    }

    fn roots(&self, folder: &Path) -> Vec<PathBuf> {
        let programs = folder.join("src/bin");
        let candidates = ["src/lib.rs", "src/main.rs"].map(|root| folder.join(root)).into_iter();
        let roots = candidates.filter(|root| self.files.contains_key(root));
        roots.chain(self.files.keys().filter(|path| path.parent() == Some(&programs)).cloned()).collect()
    }
}

fn add_files(workspace: &Path, within: &Path, files: &mut BTreeMap<PathBuf, String>) {
    let folder = workspace.join(within);
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let entry = entry.expect("a folder's entries can be listed");
        let name = entry.file_name();
        if name == "target" || name == "node_modules" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        let path = within.join(&name);
        match entry.file_type().expect("an entry has a type").is_dir() {
            true => add_files(workspace, &path, files),
            false if is_written(&path) => {
                let text = fs::read_to_string(entry.path()).expect("a source file is text");
                files.insert(path, text);
            }
            false => {}
        }
    }
}

fn is_written(path: &Path) -> bool {
    ["rs", "py", "sh", "js", "ts", "css", "html", "lua", "md", "toml", "json"]
        .iter()
        .any(|end| has_ending(path, end))
}

pub(crate) fn has_ending(path: &Path, end: &str) -> bool {
    path.extension().is_some_and(|extension| extension == end)
}

/// A source file's tokens: comments are gone, and a string is one token.
pub(crate) fn tokens(text: &str) -> Vec<TokenTree> {
    let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{error} in\n{text}"));
    stream.into_iter().collect()
}
