//! Rules for the sources.

#![allow(clippy::unwrap_used)] // all of it is a test

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// A guard held over an `.await` compiles, is `Send`, and can freeze the whole map.
#[test]
fn no_map_guard_escapes() {
    let with_maps: Vec<_> = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .into_iter()
        .map(|path| (fs::read_to_string(&path).unwrap(), path))
        .filter(|(text, _)| text.contains("use dashmap::"))
        .collect();
    assert!(with_maps.len() >= 2, "the search finds the files there are");
    for (text, path) in with_maps {
        let code =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for forbidden in [".await", "async fn", "pub DashMap", "-> Ref<", "-> RefMut<", "pub(crate) DashMap"]
        {
            assert!(!code.contains(forbidden), "{} holds a DashMap and `{forbidden}`", path.display());
        }
    }
}
