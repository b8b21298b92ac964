//! ARCHITECTURE.md and the other documents describe the tree as it is.

use std::collections::BTreeMap;
use std::path::Path;

use crate::arrows::{Arrows, between_siblings};
use crate::modules::crates;
use crate::tree::{Tree, has_ending};

const LONGEST_ITEM: usize = 60;

const CRATES: [&str; 3] = ["channel-layer", "channel-layer-redis", "ws-consumer"];

#[test]
fn architecture_lists_modules_in_order() {
    let tree = Tree::workspace();
    let text = tree.text(Path::new("ARCHITECTURE.md")).expect("the document");
    for name in CRATES {
        let found = crates().iter().find(|each| each.folder == Path::new(name)).expect("a library");
        let declared = found.modules.iter().filter_map(|(_, module)| match module.path.as_slice() {
            [name] => Some(name.clone()),
            _ => None,
        });
        // Modules of documentation have no code.
        let declared = declared.filter(|module| !["docs", "django", "operations"].contains(&module.as_str()));
        let (declared, arrows): (Vec<_>, _) = (declared.collect(), between_siblings(&found.modules));
        let right = order(&declared, &arrows).join(" ");
        let faults = order_faults(&listed(text, name), declared, &arrows);
        assert!(faults.is_empty(), "{name}:\n{}\nAn order that is right: {right}", faults.join("\n"));
    }
}

#[test]
fn documents_name_files_that_exist() {
    let tree = Tree::workspace();
    let files: Vec<_> = tree.files().map(|(path, _)| format!("/{}", path.display())).collect();
    let documents =
        ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "tests/README.md", "docs/glossary.md"];
    let mut missing = Vec::new();
    for document in documents {
        let text = tree.text(Path::new(document)).unwrap_or_else(|| panic!("{document} is missing"));
        missing.extend(unknown_paths(text, &files).into_iter().map(|path| format!("{document}: {path}")));
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

/// The table on the crate's front page is the only list of features.
#[test]
fn front_page_names_every_feature() {
    let tree = Tree::workspace();
    let manifest = tree.text(Path::new("ws-consumer/Cargo.toml")).expect("the manifest");
    let section = manifest.split("[features]").nth(1).and_then(|rest| rest.split("\n[").next());
    let entries = section.expect("the features").lines().filter(|line| !line.starts_with('#'));
    let declared: Vec<_> = entries.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    let page = tree.text(Path::new("ws-consumer/src/lib.rs")).expect("the front page");
    let table = page.split("//! | feature | adds |").nth(1).and_then(|rest| rest.split("//!\n").next());
    let rows = table.expect("the table").lines().filter_map(|line| line.strip_prefix("//! | `"));
    let listed: Vec<_> = rows.filter_map(|row| row.split_once('`')).map(|(name, _)| name).collect();
    let sorted = |mut names: Vec<&str>| {
        names.sort_unstable();
        names.join(" ")
    };
    assert!(declared.len() > 5, "the manifest was not read: {declared:?}");
    assert_eq!(sorted(listed), sorted(declared));
}

#[test]
fn items_of_architecture_are_short() {
    let tree = Tree::workspace();
    let text = tree.text(Path::new("ARCHITECTURE.md")).expect("the document");
    let items = items(text);
    assert!(items.len() > 40, "the document was not read");
    let long = items.iter().filter(|item| item.split_whitespace().count() > LONGEST_ITEM);
    let long: Vec<_> = long.map(String::as_str).collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn run_sh_names_tests_that_exist() {
    let tree = Tree::workspace();
    let script = tree.text(Path::new("tests/run.sh")).expect("the script");
    let names: Vec<_> = script.lines().filter_map(test_variable).collect();
    assert!(names.len() >= 2, "the script was not read");
    let is_test = |name: &&str| tree.files().any(|(_, text)| text.contains(&format!("fn {name}(")));
    let missing: Vec<_> = names.iter().filter(|name| !is_test(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The value of a variable such as `redis_faults_test`: a filter for a test that has been renamed would skip none.
fn test_variable(line: &str) -> Option<&str> {
    let (variable, value) = line.split_once('=')?;
    (variable.ends_with("_test") && !variable.contains(' ')).then_some(value)
}

/// The modules in the first column of a crate's table, in their order. Those of one row are one place in it.
fn listed(text: &str, name: &str) -> Vec<(String, usize)> {
    let heading = format!("### `{name}`");
    let table = text.lines().skip_while(|line| *line != heading).skip(1);
    let table = table.take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("| `"));
    let columns = table.filter_map(|line| line.split('|').nth(1));
    columns
        .enumerate()
        .flat_map(|(row, column)| code(column).map(move |module| (module.to_owned(), row)))
        .collect()
}

fn order_faults(listed: &[(String, usize)], declared: Vec<String>, arrows: &Arrows<String>) -> Vec<String> {
    let rows: BTreeMap<_, _> = listed.iter().map(|(module, row)| (module.as_str(), *row)).collect();
    let mut faults = Vec::new();
    if rows.len() < listed.len() {
        faults.push("a module is listed twice".to_owned());
    }
    faults.extend(
        declared
            .iter()
            .filter(|module| !rows.contains_key(module.as_str()))
            .map(|module| format!("{module} is not listed")),
    );
    faults.extend(
        rows.keys()
            .filter(|module| !declared.iter().any(|name| name == *module))
            .map(|module| format!("{module} does not exist")),
    );
    for (from, targets) in arrows {
        for (to, names) in targets {
            if let (Some(above), Some(below)) = (rows.get(to.as_str()), rows.get(from.as_str()))
                && above > below
            {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                faults.push(format!("{from} is above {to}, and uses {}", names.join(", ")));
            }
        }
    }
    faults
}

/// An order in which modules use only those before them. Modules in a circle are left out.
fn order(declared: &[String], arrows: &Arrows<String>) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    let uses = |module: &String| arrows.get(module).into_iter().flat_map(|targets| targets.keys());
    let is_next = |order: &Vec<String>, module: &&String| {
        !order.contains(module) && uses(module).all(|used| order.contains(used))
    };
    while let Some(next) = declared.iter().find(|module| is_next(&order, module)) {
        order.push(next.clone());
    }
    order
}

/// The texts between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn unknown_paths(text: &str, files: &[String]) -> Vec<String> {
    let prose = text.split("```").step_by(2);
    let paths = prose.flat_map(code).filter(|code| is_path(code));
    let is_unknown = |path: &&str| {
        let path = path.trim_start_matches('/');
        !files.iter().any(|file| match path.strip_suffix('/') {
            Some(folder) => file.contains(&format!("/{folder}/")),
            None => file.ends_with(&format!("/{path}")),
        })
    };
    paths.filter(is_unknown).map(str::to_owned).collect()
}

fn is_path(code: &str) -> bool {
    let is_plain = code.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-/".contains(letter));
    let endings = ["rs", "md", "lua", "json", "py", "js", "sh"];
    is_plain
        && (code.len() > 1 && code.ends_with('/')
            || endings.iter().any(|end| has_ending(Path::new(code), end)))
}

/// The list items of a document, each with its further lines.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        if let Some(first) = line.trim_start().strip_prefix("* ") {
            items.push(first.to_owned());
            is_open = true;
        } else if is_open && line.starts_with(' ') {
            let item = items.last_mut().expect("an item is open");
            item.push(' ');
            item.push_str(line.trim());
        } else {
            is_open = false;
        }
    }
    items
}

mod self_tests {
    use super::{BTreeMap, items, listed, order, order_faults, test_variable, unknown_paths};
    use crate::arrows::Arrows;

    const TEXT: &str = "### `c`\n\n| module | contents |\n|---|---|\n| `a`, `b` | first |\n| `d` | second |\n\n### `e`\n| `f` | |\n";

    #[test]
    fn finds_each_fault_of_a_table() {
        let modules = listed(TEXT, "c");
        assert_eq!(modules, [("a".to_owned(), 0), ("b".to_owned(), 0), ("d".to_owned(), 1)]);
        let faults = |declared: &[&str], from: &str, to: &str| {
            let names = ["X".to_owned()].into();
            let arrows = Arrows::from([(from.to_owned(), BTreeMap::from([(to.to_owned(), names)]))]);
            order_faults(&modules, declared.iter().map(|name| (*name).to_owned()).collect(), &arrows)
        };
        assert!(faults(&["a", "b", "d"], "d", "a").is_empty());
        assert_eq!(faults(&["a", "b", "d"], "a", "d"), ["a is above d, and uses X"]);
        assert_eq!(faults(&["a", "d", "e"], "d", "a"), ["e is not listed", "b does not exist"]);
    }

    #[test]
    fn finds_an_order() {
        let names = || ["X".to_owned()].into();
        let arrows = Arrows::from([("a".to_owned(), BTreeMap::from([("b".to_owned(), names())]))]);
        assert_eq!(order(&["a".to_owned(), "b".to_owned()], &arrows), ["b", "a"]);
    }

    #[test]
    fn finds_paths_that_do_not_exist() {
        let files = ["/c/src/a.rs".to_owned(), "/c/src/b/mod.rs".to_owned()];
        let text = "`src/a.rs` `a.rs` `b/` `c/src/b/` `Type` `a::b` `kill -9` `/` ```\n`x.rs`\n``` `x/` `y.rs` `ra.rs`";
        assert_eq!(unknown_paths(text, &files), ["x/", "y.rs", "ra.rs"]);
    }

    #[test]
    fn reads_variables_of_the_script() {
        assert_eq!(test_variable("slow_test=a_name"), Some("a_name"));
        assert_eq!(test_variable("log=$(mktemp)"), None);
        assert_eq!(test_variable("  step \"x_test\" --test=y"), None);
    }

    #[test]
    fn reads_items() {
        assert_eq!(items("* One\n  two.\n* Three.\n\nOther\n  text."), ["One two.", "Three."]);
    }
}
