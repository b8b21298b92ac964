//! The committed corpora of the fuzz targets, run through the targets' functions, so that no fixed defect returns. Those of
//! the Redis layer run in that crate's tests, which can reach its private functions.

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "it is a crate of its own where it is fuzzed")]
mod harness;

use std::{fs, path::Path};

type Target = fn(&[u8]);

/// Runs all inputs of a target, and returns their number.
fn run(target: &str, function: Target) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let inputs = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs = inputs.map(|input| input.expect("a file").path());
    inputs
        .map(|input| {
            println!("{}", input.display()); // shown when it fails
            function(&fs::read(input).expect("a file"));
        })
        .count()
}

#[test]
fn fuzz_corpora_pass() {
    let targets: [(&str, Target); 10] = [
        ("addresses", harness::addresses),
        ("frames", harness::frames),
        ("grants", harness::grants),
        ("messages", harness::messages),
        ("names", harness::names),
        ("origins", harness::origins),
        ("requests", harness::requests),
        ("routes", harness::routes),
        ("sessions", harness::sessions),
        ("values", harness::values),
    ];
    for (target, function) in targets {
        assert!(run(target, function) > 0, "no corpus of {target}");
    }
}

/// Asserts that each target has a corpus, and each corpus a target.
#[test]
fn every_fuzz_target_has_a_corpus() {
    let names = |folder: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let mut names: Vec<_> =
            entries.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names("fuzz_targets"), names("corpus"));
    let run_here_or_in_the_redis_layer =
        [include_str!("corpus.rs"), include_str!("../../channel-layer-redis/src/fuzz_targets.rs")].concat();
    for target in names("corpus") {
        assert!(run_here_or_in_the_redis_layer.contains(&format!("(\"{target}\", ")), "nobody runs {target}");
    }
}
