//! The length of files.

use std::path::Path;

use crate::tree::{Tree, has_ending};

const LONGEST_FILE: usize = 500;

#[test]
fn no_file_is_too_long() {
    let tree = Tree::workspace();
    let too_long: Vec<_> = tree.files().filter_map(|(path, text)| too_long(path, text)).collect();
    assert!(too_long.is_empty(), "\n{}", too_long.join("\n"));
}

fn too_long(path: &Path, text: &str) -> Option<String> {
    let is_prose = ["md", "toml", "json"].iter().any(|end| has_ending(path, end));
    let lines = text.lines().count();
    (!is_prose && lines > LONGEST_FILE).then(|| format!("{}: {lines} lines", path.display()))
}

mod self_tests {
    use super::{Path, too_long};

    #[test]
    fn counts_lines() {
        let file = Path::new("long.rs");
        assert_eq!(too_long(file, &"\n".repeat(500)), None);
        assert!(too_long(file, &"\n".repeat(501)).is_some());
        assert_eq!(too_long(Path::new("long.md"), &"\n".repeat(501)), None);
    }
}
