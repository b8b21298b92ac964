//! The compile errors that newcomers will meet, frozen. `TRYBUILD=overwrite cargo test --test diagnostics` takes new ones.

#[test]
fn mistakes_are_told_in_the_words_of_this_crate() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
