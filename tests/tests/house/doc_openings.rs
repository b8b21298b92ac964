//! A block of documentation opens with a noun phrase or a verb, not with a question, a pronoun or a clause.

use crate::tree::{Tree, has_ending};

const FORBIDDEN: &[&str] = &[
    "Also",
    "And",
    "Are",
    "As",
    "But",
    "Can",
    "Could",
    "Did",
    "Do",
    "Does",
    "Everything",
    "Had",
    "Has",
    "Have",
    "He",
    "How",
    "If",
    "Is",
    "It",
    "Must",
    "No",
    "Nobody",
    "Not",
    "Nothing",
    "Once",
    "One",
    "Or",
    "Otherwise",
    "Should",
    "So",
    "Somebody",
    "That",
    "The same",
    "Then",
    "There",
    "These",
    "They",
    "This",
    "Those",
    "Told",
    "Was",
    "What",
    "When",
    "Where",
    "Which",
    "Who",
    "Whom",
    "Whose",
    "Why",
    "Will",
    "Would",
];

#[test]
fn documentation_opens_plainly() {
    let tree = Tree::workspace();
    let sources = tree.files().filter(|(path, _)| has_ending(path, "rs"));
    let mut found = Vec::new();
    let mut read = 0;
    for (path, text) in sources {
        for block in blocks(text) {
            read += 1;
            if is_wrong(&block.text) {
                let shown: String = block.text.chars().take(60).collect();
                found.push(format!("{}:{}: {shown}", path.display(), block.line));
            }
        }
    }
    assert!(read > 1_000, "the sources were not read");
    assert!(found.is_empty(), "{} blocks:\n{}", found.len(), found.join("\n"));
}

/// A block of documentation, without its marks.
struct DocBlock {
    line: usize,
    text: String,
}

fn blocks(source: &str) -> Vec<DocBlock> {
    let mut blocks: Vec<DocBlock> = Vec::new();
    let mut mark_before = "";
    for (at, line) in source.lines().enumerate() {
        let line = line.trim_start();
        let mark = ["///", "//!"].into_iter().find(|mark| line.starts_with(mark)).unwrap_or("");
        let text = line[mark.len()..].trim();
        match blocks.last_mut() {
            _ if mark.is_empty() || text.starts_with('/') => {}
            Some(block) if mark == mark_before => {
                block.text.push(' ');
                block.text.push_str(text);
            }
            _ => blocks.push(DocBlock { line: at + 1, text: text.to_owned() }),
        }
        mark_before = mark;
    }
    blocks
}

fn is_wrong(text: &str) -> bool {
    let text = text.trim_start();
    let opens_with = |word: &&str| {
        text.strip_prefix(*word)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
    };
    FORBIDDEN.iter().any(opens_with) || is_question(text)
}

/// Whether the first sentence is a question.
fn is_question(text: &str) -> bool {
    let ends = text.char_indices().filter(|(_, mark)| ".?!:".contains(*mark));
    let mut ends = ends.filter(|(at, _)| text[at + 1..].chars().next().is_none_or(char::is_whitespace));
    ends.next().is_some_and(|(_, mark)| mark == '?')
}

mod self_tests {
    use super::{blocks, is_wrong};

    #[test]
    fn finds_each_wrong_opening() {
        let wrong = [
            "What this is.",
            "Who waits.",
            "Nothing.",
            "The same for all.",
            "If it is set.",
            "It's one.",
            "Open or closed?",
            "Several words, then a question? Yes.",
            "One per group.",
            "Is this open?",
        ];
        assert!(wrong.iter().all(|text| is_wrong(text)));
        let right = [
            "Whether it is open.",
            "Returns what was sent.",
            "Note: it can wait.",
            "Iterates over `a?` and [`b`].",
            "Wholly new.",
            "Theirs",
            "`Nothing` to send.",
            "Nonempty.",
        ];
        assert!(!right.iter().any(|text| is_wrong(text)));
    }

    #[test]
    fn reads_blocks() {
        let text = "//! Module\n//! docs.\n\nuse a;\n/// First.\n/// Second.\nfn f() {\n    // no\n    /// Third?\n    let x;\n}\n//// no";
        let found: Vec<_> = blocks(text).into_iter().map(|block| (block.line, block.text)).collect();
        let expected = [(1, "Module docs."), (5, "First. Second."), (9, "Third?")];
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    }
}
