//! Rules are documented where `cargo doc` shows them.

use std::{fs, path::Path};

/// Modules whose documentation is internal.
const INTERNAL: [&str; 2] = ["limiter/table.rs", "middleware/mod.rs"];

/// `cargo doc` renders nothing of private modules: what is said there beyond a title belongs to a public type.
#[test]
fn docs_link_to_no_private_module() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut left = vec![source.join("middleware"), source.join("socket")];
    let mut hidden = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory of the crate");
            left.extend(entries.map(|entry| entry.expect("readable").path()));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let is_internal = INTERNAL.iter().any(|internal| path.ends_with(internal));
        if !is_internal && text.lines().take_while(|line| line.starts_with("//!")).any(|line| line == "//!") {
            hidden.push(path);
        }
    }
    assert!(hidden.is_empty(), "{hidden:#?}");
}
