//! The JavaScript client of ws-consumer, compiled in: a page imports `channels.js`, which imports its modules.

/// The module at this path, such as `channels.js` or `src/wire.js`.
pub(crate) fn module(path: &str) -> Option<&'static str> {
    MODULES.iter().find(|(name, _)| *name == path).map(|(_, text)| *text)
}

macro_rules! modules {
    ($($path:literal)+) => {
        &[$(($path, include_str!(concat!("../../../ws-consumer/client/", $path)))),+]
    };
}

const MODULES: &[(&str, &str)] = modules! {
    "channels.js"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imported_modules_exist() {
        for (path, text) in MODULES {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let imports = text.lines().filter(|line| line.starts_with("import "));
            for import in imports {
                let name = import.split('"').nth(1).and_then(|name| name.strip_prefix("./"));
                let name = name.unwrap_or_else(|| panic!("{path} imports from elsewhere: {import}"));
                let target = [folder, name].join("/");
                assert!(module(target.trim_start_matches('/')).is_some(), "{path}: {import}");
            }
        }
        assert!(MODULES[0].1.contains("import "), "the client is more than one module");
    }
}
