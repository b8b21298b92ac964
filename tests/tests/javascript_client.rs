//! The tests of the JavaScript client, on Node's runner, and the check of its types.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

#[test]
fn javascript_client_tests_pass() {
    let client = client();
    let files = test_files(&client);
    assert!(files.len() >= 10, "the tests are found: {files:?}");
    // Node 20 has a WebSocket behind this flag; later versions accept the flag.
    let run = Command::new("node")
        .args(["--experimental-websocket", "--test", "--test-reporter=tap"])
        .args(files)
        .current_dir(&client)
        .output()
        .unwrap_or_else(|error| panic!("node: {error}; install Node 20 or newer (Debian: nodejs)"));
    let (told, complaints) = (text(&run.stdout), text(&run.stderr));
    assert!(run.status.success(), "{told}\n{complaints}");
    assert!(counted(&told, "pass") >= 240, "hardly a test ran:\n{told}");
    assert_eq!((counted(&told, "skipped"), counted(&told, "todo")), (0, 0), "{told}");
}

/// The folder's programs have a line after `@ts-expect-error` for each mistake that has to be an error.
#[test]
fn client_types_are_checked() {
    let types = client().join("test/types");
    let run = Command::new(env::var_os("CHANNELS_TSC").unwrap_or_else(|| "tsc".into()))
        .args(["--listFiles", "--project"])
        .arg(&types)
        .output()
        .unwrap_or_else(|error| {
            panic!("tsc: {error}; install TypeScript 4.8 or newer (Debian: node-typescript)")
        });
    let told = text(&run.stdout);
    assert!(run.status.success(), "{told}\n{}", text(&run.stderr));
    for file in ["client/channels.d.ts", "test/types/events.ts", "test/types/requests.ts"] {
        assert!(told.contains(file), "{file} is checked:\n{told}");
    }
    for (file, errors) in [("events.ts", 8), ("requests.ts", 9)] {
        let cases = fs::read_to_string(types.join(file)).expect("the cases");
        assert!(cases.matches("// @ts-expect-error: ").count() >= errors, "{file}");
    }
}

fn client() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ws-consumer/client")
}

fn test_files(client: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(client.join("test")).expect("the client has a folder of tests");
    let files = entries.map(|entry| entry.expect("a folder's entries can be listed").path());
    let mut files: Vec<_> = files.filter(|file| file.to_string_lossy().ends_with(".test.js")).collect();
    files.sort();
    files
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads the number from the runner's last lines, such as `# pass 12`.
fn counted(told: &str, what: &str) -> usize {
    let line = format!("# {what} ");
    let number = told.lines().rev().find_map(|text| text.strip_prefix(&line));
    number
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or_else(|| panic!("no count of {what}:\n{told}"))
}
