//! A placeholder that the next commit fills.
fn main() {}
