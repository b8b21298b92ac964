//! The client's files, compiled in, with their digests.

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256, Sha384};

/// A file of the client.
pub(super) struct ClientFile {
    /// The path below the folder of the client: `channels.js` or `src/wire.js`.
    pub(super) path: &'static str,
    pub(super) text: &'static str,
}

macro_rules! client_files {
    ($($path:literal)+) => {
        [$(ClientFile { path: $path, text: include_str!(concat!("../../client/", $path)) }),+]
    };
}

/// The module with the client's exports.
pub(super) const ENTRY: &str = "channels.js";
pub(super) const TYPES: &str = "channels.d.ts";

pub(super) static FILES: [ClientFile; 15] = client_files! {
    "channels.js"
    "channels.d.ts"
    "src/address.js"
    "src/calls.js"
    "src/carrier.js"
    "src/choice.js"
    "src/events.js"
    "src/http.js"
    "src/liveness.js"
    "src/options.js"
    "src/page.js"
    "src/retry-wait.js"
    "src/session.js"
    "src/text.js"
    "src/wire.js"
};

/// The name of this version of the files: 16 hexadecimal digits of a digest of all of them. One name for all, because the
/// modules import each other by relative paths, which then need no rewriting.
pub(super) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    for file in &FILES {
        // The separators keep two different sets of files apart.
        digest.update(file.path);
        digest.update([0]);
        digest.update(file.text);
        digest.update([0]);
    }
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
});

/// Returns the file at a path below the folder of the client.
pub(super) fn find(path: &str) -> Option<&'static ClientFile> {
    FILES.iter().find(|file| file.path == path)
}

/// Returns the modules, without the types.
pub(super) fn modules() -> impl Iterator<Item = &'static ClientFile> {
    FILES.iter().filter(|file| file.path.ends_with(".js"))
}

/// Returns the value of an `integrity` attribute (Subresource Integrity).
pub(super) fn integrity(text: &str) -> String {
    format!("sha384-{}", BASE64_STANDARD.encode(Sha384::digest(text)))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn all_modules_are_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("client");
        let entries = fs::read_dir(folder.join("src")).expect("the client has modules");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
        let mut expected: Vec<_> = names.map(|name| format!("src/{name}")).collect();
        expected.sort();
        let embedded: Vec<_> = FILES.iter().map(|file| file.path).filter(|path| path.contains('/')).collect();
        assert_eq!(embedded, expected);
    }

    #[test]
    fn imported_modules_exist() {
        for file in modules() {
            let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let imports = file.text.lines().filter(|line| line.starts_with("import "));
            for import in imports {
                let name = import.split('"').nth(1).and_then(|name| name.strip_prefix("./"));
                let name = name.unwrap_or_else(|| panic!("{} imports from elsewhere: {import}", file.path));
                let target = [folder, name].join("/");
                assert!(find(target.trim_start_matches('/')).is_some(), "{}: {import}", file.path);
            }
        }
        assert!(find(ENTRY).is_some_and(|file| file.text.contains("import ")), "more than one module");
    }

    #[test]
    fn integrity_is_that_of_browsers() {
        // The digest of the empty text.
        let empty = "sha384-OLBgp1GsljhM2TJ+sbHjaiH9txEUvgdDTAzHv2P24donTt6/529l+9Ua0vFImLlb";
        assert_eq!(integrity(""), empty);
    }
}
