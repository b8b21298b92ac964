//! Test names are short.

use std::path::Path;

use proc_macro2::TokenTree;

use crate::tree::{Tree, has_ending, tokens};

const LONGEST_NAME: usize = 60;
const LONGEST_MEDIAN: usize = 32;

#[test]
fn no_test_name_is_too_long() {
    let all = all();
    let long = all.iter().filter(|(_, name)| name.len() > LONGEST_NAME);
    let long: Vec<_> = long.map(|(file, name)| format!("{file}: {name} ({})", name.len())).collect();
    assert!(long.is_empty(), "{} names:\n{}", long.len(), long.join("\n"));
}

#[test]
fn test_names_are_short_on_the_whole() {
    let mut lengths: Vec<_> = all().iter().map(|(_, name)| name.len()).collect();
    assert!(lengths.len() > 1_000, "the tests were not read");
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= LONGEST_MEDIAN, "the median of {} names is {median}", lengths.len());
}

/// Each test of the workspace, with its file.
fn all() -> Vec<(String, String)> {
    let tree = Tree::workspace();
    let sources = tree.files().filter(|(path, _)| is_source(path));
    sources
        .flat_map(|(path, text)| {
            let file = path.display().to_string();
            test_names(&tokens(text)).into_iter().map(move |name| (file.clone(), name))
        })
        .collect()
}

fn is_source(path: &Path) -> bool {
    has_ending(path, "rs") && !path.components().any(|part| part.as_os_str() == "ui")
}

/// The names of the functions that follow `#[test]` or `#[..::test(..)]`, also within modules and macros.
fn test_names(tokens: &[TokenTree]) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_test = false;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                let is_attribute =
                    at > 0 && matches!(&tokens[at - 1], TokenTree::Punct(mark) if mark.as_char() == '#');
                match is_attribute {
                    true => is_test |= ends_in_test(&inner),
                    false => found.extend(test_names(&inner)),
                }
            }
            TokenTree::Ident(keyword) if keyword == "fn" => {
                if is_test {
                    found.extend(tokens.get(at + 1).map(ToString::to_string));
                }
                is_test = false;
            }
            _ => {}
        }
    }
    found
}

/// Whether an attribute's path ends in `test`.
fn ends_in_test(attribute: &[TokenTree]) -> bool {
    let path = attribute.iter().take_while(|token| !matches!(token, TokenTree::Group(_)));
    path.last().is_some_and(|last| matches!(last, TokenTree::Ident(name) if name == "test"))
}

mod self_tests {
    use super::{test_names, tokens};

    #[test]
    fn finds_each_kind_of_test() {
        let text = "#[test] fn a() {} fn b() {} mod tests { #[tokio::test(start_paused = true)] async fn c() {} }\n\
            proptest! { #[test] fn d(x in 0..9) {} } #[cfg(test)] fn e() {} /// Docs\n#[test]\n#[ignore]\nfn f() {}\n\
            macro_rules! g { () => { #[test] fn h() {} } }";
        assert_eq!(test_names(&tokens(text)), ["a", "c", "d", "f", "h"]);
    }
}
