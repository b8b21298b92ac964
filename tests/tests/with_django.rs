//! The example with Django: its script, a member at each server, and Python's verdict.

use std::{net::TcpListener, path::Path};

use channels_tests::{Program, Signal, path_of, python, verdict};
use tokio::process::Command;

/// The checks of both lanes. With ready frames the Rust chat understands no events.
const CHECKS: [&str; 5] = [
    "a message from Rust's page reaches both",
    "50 messages keep their order",
    "a message from Django's page reaches both",
    "a Django view reaches both",
    "a management command reaches both",
];

#[tokio::test]
async fn django_shares_a_room_with_rust() {
    share_a_room("core", "handler").await;
}

#[tokio::test]
async fn so_they_do_by_pubsub() {
    share_a_room("pubsub", "handler").await;
}

#[tokio::test]
async fn ready_frames_reach_django() {
    share_a_room("core", "frame").await;
}

async fn share_a_room(mode: &str, lane: &str) {
    let [redis, django, rust] = free_ports();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/with-django");
    let mut command = Command::new(folder.join("run.sh"));
    command.env("REDIS_PORT", &redis).env("DJANGO_PORT", &django).env("RUST_PORT", &rust);
    command.env("MODE", mode).env("LANE", lane).env("PYTHON", python()).env("CHAT_BIN", path_of("chat"));
    let ready = |line: &str| line.starts_with("ready: ").then_some(());
    let (mut program, ()) = Program::start(command, ready).await;
    // The management command is started by the peer, with the peer's environment.
    let checks = if lane == "frame" { &CHECKS[..2] } else { &CHECKS[..] };
    let layer = if mode == "core" { "core.RedisChannelLayer" } else { "pubsub.RedisPubSubChannelLayer" };
    let address = format!("redis://127.0.0.1:{redis}/0");
    verdict("with_django.py", &[django, rust, address, layer.to_owned(), lane.to_owned()], checks).await;
    program.signal(Signal::TERM); // the script ends what it started
    program.wait().await;
}

fn free_ports() -> [String; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port().to_string())
}
