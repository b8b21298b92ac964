//! The paths of the programs under test.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of the example program `name`: from a variable such as `CHAT_BIN` if set, else built here.
pub fn path_of(name: &str) -> PathBuf {
    let variable = format!("{}_BIN", name.to_uppercase());
    if let Some(path) = env::var_os(variable) {
        return PathBuf::from(path);
    }
    // Running cargo costs little when nothing has changed, and a program built from an older source would
    // prove nothing.
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build).join(name)
}

fn build() -> PathBuf {
    let folder = profile_folder();
    let target = folder.parent().expect("a profile's folder lies in the target folder");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let examples = ["auction", "auth", "chat", "echo", "transports", "worker"];
    let examples = examples.into_iter().flat_map(|name| ["-p", name]);
    cargo
        .args(["build", "--quiet", "--features", "chat/nats"])
        .args(examples)
        .arg("--target-dir")
        .arg(target);
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs: it started this test");
    assert!(status.success(), "the examples do not build: {status}");
    folder
}

// This test's own binary lies in TARGET/PROFILE/deps.
fn profile_folder() -> PathBuf {
    let test = env::current_exe().expect("the path of a running test is known");
    let folder = test.ancestors().find(|path| path.ends_with("debug") || path.ends_with("release"));
    folder.expect("tests run from a debug or release folder").to_owned()
}
