//! The compile errors of common mistakes. `TRYBUILD=overwrite cargo test --test diagnostics` accepts new ones.

#[test]
fn compile_errors_name_this_crate() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
