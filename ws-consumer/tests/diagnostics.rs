//! The compile errors that newcomers will meet, frozen. `TRYBUILD=overwrite cargo test --test diagnostics` takes new ones.

#[test]
fn compile_errors_name_this_crate() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
