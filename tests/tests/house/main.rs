//! Checks of the source tree: the file graph, the module order, and the lengths of files.

mod arrows;
mod circles;
mod lengths;
mod modules;
mod reader;
mod tree;
