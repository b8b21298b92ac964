//! Each test that the tables of `tests/README.md` name exists.

use std::{collections::BTreeMap, fs, path::Path};

/// `file::the_test_s_name`, or `file::its_beginning_..`
fn named(table: &str) -> impl Iterator<Item = (&str, &str)> {
    let code = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    let tests = code
        .filter_map(|code| code.split_once("::"))
        .map(|(file, test)| (file, test.split("..").next().unwrap_or(test)));
    tests.filter(|(_, test)| test.contains('_') && !test.contains(':'))
}

/// Adds the sources by the name of their file, or of their folder for a `main.rs`.
fn sources(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let name = if entry.ends_with("main.rs") { folder.file_name() } else { entry.file_stem() };
            let text = fs::read_to_string(&entry).expect("a source");
            found.entry(name.expect("a name").to_string_lossy().into_owned()).or_default().push_str(&text);
        }
    }
}

#[test]
fn tables_name_existing_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member of the workspace");
    let mut all = BTreeMap::new();
    for folder in ["tests/tests", "ws-consumer/tests", "channel-layer-redis/tests"] {
        sources(&root.join(folder), &mut all);
    }
    let table = fs::read_to_string(root.join("tests/README.md")).expect("the tables");
    let exists =
        |file: &str, test: &str| all.get(file).is_some_and(|text| text.contains(&format!("fn {test}")));
    let missing: Vec<_> = named(&table).filter(|(file, test)| !exists(file, test)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(named(&table).count() > 50, "the tables were not read");
}

#[test]
fn shown_servers_set_a_backlog() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member of the workspace");
    let mut shown = BTreeMap::new();
    let examples = fs::read_dir(root.join("examples")).expect("the examples");
    let examples =
        examples.map(|entry| entry.expect("an entry").path().join("src")).filter(|src| src.is_dir());
    let others = ["ws-consumer/src", "ws-consumer/benches"].map(|folder| root.join(folder));
    examples.chain(others).for_each(|folder| sources(&folder, &mut shown));
    for readme in ["README.md", "ws-consumer/README.md"] {
        shown.insert(readme.to_owned(), fs::read_to_string(root.join(readme)).expect("it is there"));
    }
    // Its backlog is 128; that of `ws_consumer::listen` is enough for thousands.
    let short = ["TcpListener", "::bind("].concat();
    let found: Vec<_> =
        shown.iter().filter(|(_, text)| text.contains(&short)).map(|(file, _)| file).collect();
    assert!(found.is_empty(), "{found:?}");
    assert!(shown.len() > 50, "the sources were not read");
}
