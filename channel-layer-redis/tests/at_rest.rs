//! The data at rest in Redis: its readability, and the messages that Python writes.

mod acl;
mod payloads;
#[cfg(feature = "sessions")]
mod sessions;
mod support;

use std::{path::Path, process::Command};

use channel_layer::{ChannelLayer, ChannelName, Message};
use support::{layer, python::python, server::Server};

/// All data in Redis.
fn all(server: &Server) -> String {
    let keys = server.cli(&["keys", "*"]);
    let values = keys.lines().map(|key| server.cli(&["zrange", key, "0", "-1"]));
    let all: Vec<_> = keys.lines().map(str::to_owned).chain(values).collect();
    all.join("\n")
}

#[tokio::test]
async fn encrypted_messages_are_unreadable() {
    for (options, readable) in [("", true), ("&symmetric_encryption_keys=a", false)] {
        for serializer in ["json", "msgpack"] {
            let server = Server::start();
            let address = format!("{}?mode=core&serializer_format={serializer}{options}", server.address());
            let (one, jobs) = (layer(&address).await, "jobs".parse::<ChannelName>().unwrap());
            one.send(&jobs, Message::new("resize").with("secret", "canary")).await.unwrap();
            let lies_there = all(&server);
            assert!(lies_there.contains("jobs"), "nothing waits: {lies_there:?}");
            for word in ["canary", "secret", "resize"] {
                assert_eq!(lies_there.contains(word), readable, "{serializer}, {word}: {lies_there:?}");
            }
            let same = layer(&address).await;
            let read = same.receive(&jobs).await.unwrap();
            assert_eq!(read.get("secret").and_then(|secret| secret.as_str()), Some("canary"));
        }
    }
}

#[test]
fn vectors_match_pythons_msgpack() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked = Command::new(python())
        .arg("-B")
        .arg(crate_folder.join("tests/peers/vectors.py"))
        .arg(crate_folder.join("../channel-layer/vectors/message.json"))
        .output()
        .unwrap();
    let (counts, errors) =
        (String::from_utf8(checked.stdout).unwrap(), String::from_utf8(checked.stderr).unwrap());
    assert!(checked.status.success(), "{errors}");
    assert_eq!(counts, "28 10\n", "both ways, and read");
}
