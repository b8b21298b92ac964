//! Checks of the source tree: the file graph, the lengths of files, and the words.

mod arrows;
mod circles;
mod doc_openings;
mod documents;
mod lengths;
mod modules;
mod names;
mod reader;
mod test_names;
mod tree;
mod type_names;
