//! Clients written in Python, which speak the protocol with code that is not ours.

use std::env;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokio::process::Command;

use crate::program::Program;

/// Runs `tests/peers/<script>`, and fails unless each of its checks passed.
///
/// The script prints one JSON object: the name of each check, and `true` or what went wrong. `checks` are the names it
/// must have, so that a script which forgets a check cannot pass.
pub async fn verdict(script: &str, arguments: &[String], checks: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script);
    let mut command = Command::new(python());
    command.arg("-B").arg(path).args(arguments);
    let (status, program) = Program::run(command).await;
    let stdout = program.stdout();
    let found: Map<String, Value> = serde_json::from_str(&stdout)
        .unwrap_or_else(|_| panic!("{script} gave no verdict ({status}): {stdout:?}\n{}", program.stderr()));
    let failed: Vec<_> = found.iter().filter(|(_, outcome)| **outcome != Value::Bool(true)).collect();
    assert!(failed.is_empty(), "{script}: {failed:#?}");
    for check in checks {
        assert!(found.contains_key(*check), "{script} has not done the check {check:?}");
    }
    assert!(status.success(), "{script} ended with {status}");
}

/// The interpreter that has the packages of `tests/peers/requirements.txt`.
pub fn python() -> PathBuf {
    let python = environment().join("bin/python");
    assert!(python.exists(), "{} is missing: run tests/run.sh", python.display());
    python
}

fn environment() -> PathBuf {
    if let Some(folder) = env::var_os("CHANNELS_TEST_VENV") {
        return PathBuf::from(folder);
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| env::home_dir().map(|home| home.join(".cache")));
    cache.expect("HOME or XDG_CACHE_HOME is set").join("channels-rs/venv")
}
