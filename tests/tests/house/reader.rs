//! Reads the tokens of a module's body: what it defines, imports and names. Test code is left out.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Group, TokenTree};

/// The body of a module.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// The names of items defined here.
    pub(crate) items: BTreeSet<String>,
    /// The types and traits among the items.
    pub(crate) types: BTreeSet<String>,
    /// The items that `#[macro_export]` puts at the crate's root.
    pub(crate) exported_macros: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    /// The paths in code.
    pub(crate) mentions: Vec<Vec<String>>,
    pub(crate) children: Vec<Child>,
}

/// A leaf of a `use`.
#[derive(Debug)]
pub(crate) struct Import {
    /// The name that it brings into scope; `*` for a glob.
    pub(crate) name: String,
    pub(crate) path: Vec<String>,
    /// Whether it hands the name on, as `pub use` and `pub(crate) use` do.
    pub(crate) is_export: bool,
}

/// A module declared in this one.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) name: String,
    /// The file named by `#[path]`.
    pub(crate) path: Option<String>,
    /// `None` if it is in a file of its own.
    pub(crate) body: Option<Body>,
}

impl Body {
    pub(crate) fn read(tokens: &[TokenTree]) -> Self {
        let mut body = Self::default();
        body.read_items(tokens);
        body
    }

    // The items of a module, each with the attributes before it.
    fn read_items(&mut self, tokens: &[TokenTree]) {
        let mut attributes = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            if let Some(length) = inner_attribute(&tokens[at..]).or_else(|| test_item(&tokens[at..])) {
                at += length;
            } else if let Some(attribute) = attribute(&tokens[at..]) {
                self.read_code(&tokens[at..at + 2]);
                attributes.push(attribute);
                at += 2;
                continue;
            } else if let Some((child, length)) = child(&tokens[at..], &attributes) {
                self.children.push(child);
                at += length;
            } else {
                let length = item_length(&tokens[at..]);
                let item = &tokens[at..at + length];
                self.items.extend(item_name(item));
                self.types.extend(item_name(item).filter(|_| is_type(item)));
                if attributes.iter().any(|attribute| attribute.to_string().contains("macro_export")) {
                    self.exported_macros.extend(item_name(item));
                }
                self.read_code(item);
                at += length;
            }
            attributes.clear();
        }
    }

    // Code of any kind, with the code in its brackets.
    fn read_code(&mut self, tokens: &[TokenTree]) {
        let mut at = 0;
        while at < tokens.len() {
            if let Some(length) = test_item(&tokens[at..]) {
                at += length;
            } else if is_ident(&tokens[at], "use") && !is_capture(&tokens[at..]) {
                let length = tokens[at..].iter().position(|token| is_punct(token, ';'));
                let end = at + length.unwrap_or(tokens.len() - at);
                let is_export = at > 0 && is_visibility(&tokens[..at]);
                self.imports.extend(leaves(&tokens[at + 1..end], &[], is_export));
                at = end;
            } else if let Some((mention, length)) = mention(tokens, at) {
                self.mentions.extend(mention);
                at += length;
            } else {
                if let TokenTree::Group(group) = &tokens[at] {
                    self.read_code(&inner(group));
                }
                at += 1;
            }
        }
    }
}

/// The length of an item that only tests have, with its attributes.
fn test_item(tokens: &[TokenTree]) -> Option<usize> {
    let text = attribute(tokens)?.to_string().replace(' ', "");
    let is_test = ["cfg(test)", "cfg(any(test,fuzzing))", "test"].contains(&text.as_str())
        || text.starts_with("cfg(all(test,");
    let mut start = 2;
    while is_test && attribute(&tokens[start..]).is_some() {
        start += 2;
    }
    is_test.then(|| start + item_length(&tokens[start..]))
}

/// The length of an attribute of the whole module, as the one that holds its documentation.
fn inner_attribute(tokens: &[TokenTree]) -> Option<usize> {
    let [hash, mark, TokenTree::Group(_), ..] = tokens else { return None };
    (is_punct(hash, '#') && is_punct(mark, '!')).then_some(3)
}

fn attribute(tokens: &[TokenTree]) -> Option<proc_macro2::TokenStream> {
    match tokens {
        [hash, TokenTree::Group(group), ..]
            if is_punct(hash, '#') && group.delimiter() == Delimiter::Bracket =>
        {
            Some(group.stream())
        }
        _ => None,
    }
}

fn child(tokens: &[TokenTree], attributes: &[proc_macro2::TokenStream]) -> Option<(Child, usize)> {
    let start = tokens.iter().take(3).position(|token| is_ident(token, "mod"))?;
    if start > 0 && !is_visibility(&tokens[..start]) {
        return None;
    }
    let [_, TokenTree::Ident(name), end, ..] = &tokens[start..] else { return None };
    let body = match end {
        TokenTree::Group(group) => Some(Body::read(&inner(group))),
        _ => None,
    };
    let path = attributes.iter().find_map(|attribute| {
        let text = attribute.to_string();
        let text = text.strip_prefix("path")?.trim_start().strip_prefix('=')?;
        Some(text.trim().trim_matches('"').to_owned())
    });
    Some((Child { name: name.to_string(), path, body }, start + 3))
}

/// The length of the item that starts here: to its braces or its semicolon.
fn item_length(tokens: &[TokenTree]) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        token => is_punct(token, ';'),
    };
    let braces_are_inside =
        |token: &TokenTree| ["use", "const", "static"].iter().any(|keyword| is_ident(token, keyword));
    let head: Vec<_> = tokens.iter().take_while(|token| !ends(token)).collect();
    let keyword = head.iter().position(|token| braces_are_inside(token));
    // `const fn` ends with its body, `use a::{b};` and `const A: B = C {};` with a semicolon.
    let to_semicolon = keyword.is_some_and(|at| !head.get(at + 1).is_some_and(|next| is_function(next)));
    let end = match to_semicolon && keyword.is_some_and(|at| at <= 2) {
        true => tokens.iter().position(|token| is_punct(token, ';')),
        false => tokens.iter().position(ends),
    };
    end.map_or(tokens.len(), |end| end + 1)
}

fn is_function(token: &TokenTree) -> bool {
    ["fn", "async", "unsafe", "extern"].iter().any(|keyword| is_ident(token, keyword))
}

/// The name that an item defines; `None` for an `impl`, a `use`, or a call of a macro.
fn item_name(tokens: &[TokenTree]) -> Option<String> {
    const KEYWORDS: [&str; 8] = ["struct", "enum", "trait", "type", "fn", "const", "static", "union"];
    let is_keyword = |token: &TokenTree| KEYWORDS.iter().any(|keyword| is_ident(token, keyword));
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1)?;
        if is_ident(token, "impl") || is_ident(token, "use") {
            return None;
        }
        if is_ident(token, "macro_rules") && is_punct(next, '!') {
            return tokens.get(at + 2).map(ToString::to_string);
        }
        let is_name = matches!(next, TokenTree::Ident(_)) && !is_function(next) && !is_ident(next, "mut");
        if is_keyword(token) && is_name {
            return Some(next.to_string());
        }
    }
    None
}

fn is_type(tokens: &[TokenTree]) -> bool {
    let is_keyword = |token: &&TokenTree| {
        ["struct", "enum", "trait", "type", "union", "fn", "const", "static"]
            .iter()
            .any(|keyword| is_ident(token, keyword))
    };
    let keyword = tokens.iter().find(is_keyword).map(ToString::to_string);
    keyword.is_some_and(|keyword| !matches!(keyword.as_str(), "fn" | "const" | "static"))
}

/// The path that starts at this token, if it may name an item, and how many tokens it takes.
fn mention(tokens: &[TokenTree], at: usize) -> Option<(Option<Vec<String>>, usize)> {
    let TokenTree::Ident(first) = &tokens[at] else { return None };
    let mut path = vec![first.to_string()];
    let mut end = at + 1;
    while is_path_step(&tokens[end..])
        && let Some(TokenTree::Ident(next)) = tokens.get(end + 2)
    {
        path.push(next.to_string());
        end += 3;
    }
    let length = end - at;
    let starts_path = path.len() > 1 || is_path_step(&tokens[end..]);
    if is_continued(&tokens[..at]) || (!starts_path && !may_name_an_item(tokens, at)) {
        return Some((None, length));
    }
    Some((Some(path), length))
}

/// Whether what starts here is a field, a method, a later part of a path, or a lifetime.
fn is_continued(before: &[TokenTree]) -> bool {
    match before {
        [.., first, second] if is_punct(second, '.') => !is_punct(first, '.'),
        [.., first, second] if is_punct(second, ':') => is_punct(first, ':'),
        [.., word] => is_punct(word, '\'') || is_punct(word, '.') || is_ident(word, "in"),
        [] => false,
    }
}

// A variable may have a function's name, so a word in lower case counts only if it is called.
fn may_name_an_item(tokens: &[TokenTree], at: usize) -> bool {
    let word = tokens[at].to_string();
    let is_defined = at > 0
        && ["fn", "struct", "enum", "trait", "type", "let", "mod", "for", "macro_rules"]
            .iter()
            .any(|keyword| is_ident(&tokens[at - 1], keyword));
    let is_called = match tokens.get(at + 1) {
        Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Parenthesis,
        Some(next) => is_punct(next, '!'),
        None => false,
    };
    let is_keyword = ["crate", "self", "super", "Self"].contains(&word.as_str());
    !is_keyword
        && (!is_defined || word.starts_with(char::is_uppercase))
        && (is_called || word.starts_with(char::is_uppercase))
}

/// Every leaf of a `use`; `a as b` brings in `b`.
fn leaves(tokens: &[TokenTree], before: &[String], is_export: bool) -> Vec<Import> {
    let mut path = before.to_vec();
    let mut name = None;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if word == "as" => {
                name = tokens.get(at + 1).map(ToString::to_string);
                break;
            }
            // `a::{self}` is `a`.
            TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
            TokenTree::Ident(word) => path.push(word.to_string()),
            TokenTree::Group(group) => {
                let parts = inner(group);
                let parts = parts.split(|token| is_punct(token, ',')).filter(|part| !part.is_empty());
                return parts.flat_map(|part| leaves(part, &path, is_export)).collect();
            }
            TokenTree::Punct(mark) if mark.as_char() == '*' => name = Some("*".to_owned()),
            _ => {}
        }
    }
    let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
    vec![Import { name, path, is_export }]
}

// `use` in a return type, as in `impl Future + use<'a>`.
fn is_capture(tokens: &[TokenTree]) -> bool {
    tokens.get(1).is_some_and(|next| is_punct(next, '<'))
}

fn is_visibility(before: &[TokenTree]) -> bool {
    match before {
        [.., word, TokenTree::Group(group)] => {
            is_ident(word, "pub") && group.delimiter() == Delimiter::Parenthesis
        }
        [.., word] => is_ident(word, "pub"),
        [] => false,
    }
}

fn inner(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn is_punct(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

fn is_path_step(tokens: &[TokenTree]) -> bool {
    tokens.len() >= 2 && is_punct(&tokens[0], ':') && is_punct(&tokens[1], ':')
}

mod self_tests {
    use super::Body;
    use crate::tree::tokens;

    fn read(text: &str) -> Body {
        Body::read(&tokens(text))
    }

    #[test]
    fn finds_each_kind_of_item() {
        let body = read(
            "pub struct A; pub(crate) enum B { X } pub async fn c() {} const D: E = E { x: 1 }; pub const fn f() {}\n\
             static G: u8 = 1; type H = fn(u8); #[derive(Debug)] pub trait I: J { fn k(); } macro_rules! l { () => {} }\n\
             impl M for &'static N { fn o() {} const P: u8 = 1; } impl<T: Q> R for T { type S = U; }\n\
             pub(crate) const unsafe fn v() {} #[cfg(test)] struct W; #[test] fn x() {}",
        );
        let names: Vec<_> = body.items.iter().map(String::as_str).collect();
        assert_eq!(names, ["A", "B", "D", "G", "H", "I", "c", "f", "l", "v"]);
        assert_eq!(body.types.iter().map(String::as_str).collect::<Vec<_>>(), ["A", "B", "H", "I"]);
    }

    #[test]
    fn finds_each_leaf_of_a_use() {
        let body = read(
            "use a::b; pub use c::{d::{self, E}, f as g}; pub(crate) use h::*; fn i() { use j::k; }\n\
             fn l() -> impl M + use<'_> {} use n::O as _;",
        );
        let found: Vec<_> = body
            .imports
            .iter()
            .map(|import| {
                format!(
                    "{}{}={}",
                    if import.is_export { "pub " } else { "" },
                    import.path.join("."),
                    import.name
                )
            })
            .collect();
        assert_eq!(found, ["a.b=b", "pub c.d=d", "pub c.d.E=E", "pub c.f=g", "pub h=*", "j.k=k", "n.O=_"]);
    }

    #[test]
    fn finds_paths_in_code() {
        let body = read(
            "fn f(x: A) -> b::C { let name = 1; name.method(); call(x); E::F::<G>::new(); vec![h::i()]; self.j; &'k L; mac!(M) }",
        );
        let found: Vec<_> = body.mentions.iter().map(|path| path.join(".")).collect();
        assert_eq!(found, ["A", "b.C", "call", "E.F", "G", "vec", "h.i", "L", "mac", "M"]);
    }

    #[test]
    fn leaves_tests_out() {
        let body = read(
            "#[cfg(test)] mod tests { use a::B; } #[cfg(any(test, fuzzing))] mod fuzzed; #[cfg(test)] use c::{D}; #[cfg(all(test, unix))] #[path = \"x\"] mod e;\n\
             #[test] fn f() { G::h() } #[cfg(not(test))] use i::J; mod k { fn l() {} } #[path = \"m.rs\"] pub(crate) mod n;",
        );
        assert!(body.items.is_empty(), "{body:?}");
        assert_eq!(body.imports.len(), 1);
        let children: Vec<_> = body
            .children
            .iter()
            .map(|child| (child.name.as_str(), child.path.as_deref(), child.body.is_some()))
            .collect();
        assert_eq!(children, [("k", None, true), ("n", Some("m.rs"), false)]);
    }
}
