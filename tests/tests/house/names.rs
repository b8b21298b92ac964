//! Names are those of `docs/glossary.md`: no metaphors, and plain constructors and errors.

use std::collections::BTreeSet;
use std::path::Path;

use proc_macro2::TokenTree;

use crate::modules::crates;
use crate::tree::{Tree, has_ending, tokens};

/// Words of other trades.
const METAPHORS: &[&str] = &[
    "crowd",
    "desk",
    "door",
    "farewell",
    "hoard",
    "inhabitant",
    "leg",
    "news",
    "place",
    "post",
    "room",
    "screening",
    "seldom",
    "stage",
    "stay",
    "told",
    "visitor",
    "walk",
    "who",
];

/// Words that mean what they say where they stand: the beginning of the path, the word, and the reason.
const MEANT: &[(&str, &str, &str)] =
    &[("examples", "room", "a chat has rooms"), ("ws-consumer/src/resume", "post", "the method POST")];

/// The types that are errors by their trait and have another name, each with its reason.
const ERRORS: &[(&str, &str)] = &[("Layered", "an error of a test")];

#[test]
fn no_metaphor_in_a_name() {
    let tree = Tree::workspace();
    let mut found = BTreeSet::new();
    for each in crates() {
        for (_, module) in each.modules.iter() {
            let file = module.file.display().to_string();
            let wrong = module.body.types.iter().filter(|name| has_metaphor(&file, name));
            found.extend(wrong.map(|name| format!("{file}: {name}")));
        }
    }
    for (path, _) in rust_files(tree) {
        let file = path.display().to_string();
        let stem = path.file_stem().expect("a file has a name").to_string_lossy();
        found.extend(has_metaphor(&file, &stem).then_some(file));
    }
    assert_none(&found);
}

#[test]
fn constructors_have_plain_names() {
    let tree = Tree::workspace();
    let found = rust_files(tree).filter(|(path, _)| !path.starts_with("tests/tests/house"));
    let found = found.flat_map(|(path, text)| {
        functions(&tokens(text)).into_iter().map(move |name| format!("{}: {name}", path.display()))
    });
    assert_none(&found.filter(|found| found.ends_with(": of") || found.ends_with(": expect")).collect());
}

#[test]
fn errors_end_in_error() {
    let tree = Tree::workspace();
    let is_test =
        |path: &Path| path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
    let found = rust_files(tree).filter(|(path, _)| !is_test(path));
    let found = found.flat_map(|(path, text)| {
        errors(&tokens(text)).into_iter().map(move |name| format!("{}: {name}", path.display()))
    });
    let is_allowed = |found: &String| ERRORS.iter().any(|(name, _)| found.ends_with(&format!(": {name}")));
    assert_none(&found.filter(|found| !found.ends_with("Error") && !is_allowed(found)).collect());
}

fn assert_none(found: &BTreeSet<String>) {
    let shown: Vec<_> = found.iter().map(String::as_str).collect();
    assert!(found.is_empty(), "{} names:\n{}", found.len(), shown.join("\n"));
}

fn rust_files(tree: &Tree) -> impl Iterator<Item = (&Path, &str)> {
    tree.files().filter(|(path, _)| has_ending(path, "rs"))
}

fn has_metaphor(path: &str, name: &str) -> bool {
    let is_meant =
        |word: &str| MEANT.iter().any(|(within, meant, _)| path.starts_with(within) && *meant == word);
    let singular = |word: &String| word.strip_suffix('s').unwrap_or(word).to_owned();
    let is_metaphor = |word: &String| METAPHORS.contains(&word.as_str()) && !is_meant(word);
    // Alone it says nothing of what it holds.
    name.eq_ignore_ascii_case("own")
        || words(name).iter().any(|word| is_metaphor(word) || is_metaphor(&singular(word)))
}

/// The words of `CamelCase` or `snake_case`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            words.push(String::new());
        }
        words.last_mut().expect("there is one").extend(letter.to_lowercase().filter(|letter| *letter != '_'));
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The names of all functions and methods.
fn functions(tokens: &[TokenTree]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(keyword) if keyword == "fn" => {
                found.extend(tokens.get(at + 1).map(ToString::to_string));
            }
            TokenTree::Group(group) => {
                found.extend(functions(&group.stream().into_iter().collect::<Vec<_>>()))
            }
            _ => {}
        }
    }
    found
}

/// The types with an `impl Error for` or a `derive(Error)`.
fn errors(tokens: &[TokenTree]) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_derived = false;
    for (at, token) in tokens.iter().enumerate() {
        let next = || tokens.get(at + 1).map(ToString::to_string).unwrap_or_default();
        match token {
            TokenTree::Group(group) => {
                let text = group.stream().to_string();
                is_derived |= text.replace(' ', "").starts_with("derive(") && text.contains("Error");
                found.extend(errors(&group.stream().into_iter().collect::<Vec<_>>()));
            }
            TokenTree::Ident(word) if word == "struct" || word == "enum" => {
                found.extend(is_derived.then(next));
                is_derived = false;
            }
            TokenTree::Ident(word) if word == "Error" || word == "StdError" => {
                let for_type = next() == "for" && tokens.first().is_some_and(|_| !is_generic(&tokens[..at]));
                found.extend(
                    for_type.then(|| tokens.get(at + 2).map(ToString::to_string).unwrap_or_default()),
                );
            }
            _ => {}
        }
    }
    found
}

// `From<Error> for A` has a bracket between.
fn is_generic(before: &[TokenTree]) -> bool {
    matches!(before.last(), Some(TokenTree::Punct(mark)) if mark.as_char() == '<')
}

mod self_tests {
    use super::{errors, functions, has_metaphor, tokens};

    #[test]
    fn finds_a_metaphor() {
        assert!(
            ["Door", "BackDoors", "front_door", "stay", "Own", "Rooms"]
                .iter()
                .all(|name| has_metaphor("", name))
        );
        assert!(
            !["Indoor", "legal", "Placement", "retry", "write_your_own"]
                .iter()
                .any(|name| has_metaphor("", name))
        );
        assert!(!has_metaphor("examples/chat/src/room.rs", "Room"));
    }

    #[test]
    fn finds_each_function() {
        let text = "fn a() { fn b() {} } impl C { pub fn of() {} } trait D { async fn expect(&self); } macro_rules! e { () => { fn f() {} } }";
        assert_eq!(functions(&tokens(text)), ["a", "b", "of", "expect", "f"]);
    }

    #[test]
    fn finds_each_error() {
        let text = "impl std::error::Error for A {} impl StdError for B {} #[derive(Debug, Error)] #[error(\"no\")] pub enum C {}\n\
            #[derive(Debug)] struct D; #[derive(thiserror::Error)] struct E; impl From<Error> for F {} use a::{derived::I, Error}; struct J; mod g { impl Error for H {} }";
        assert_eq!(errors(&tokens(text)), ["A", "B", "C", "E", "H"]);
    }
}
