//! Errors and logs tell why: what Redis said, once for each cause and not for each message.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use channel_layer::{ChannelLayer, ChannelLayerExt, Error};
use tracing::subscriber::DefaultGuard;

use crate::support::{
    dialect::{Dialect, Speaker, answer},
    layer, number, numbered,
    server::Server,
    until,
};

/// What is logged on this thread, without colours and times.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// Lines of this level that hold this text.
    fn count(&self, level: &str, text: &str) -> usize {
        let bytes = self.0.lock().expect("nobody panics with it");
        let text_of_log = String::from_utf8_lossy(&bytes);
        let is_meant = |line: &&str| line.trim_start().starts_with(level) && line.contains(text);
        text_of_log.lines().filter(is_meant).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A server that refuses messages to groups, in every mode, and whatever a script would write.
macro_rules! refusing {
    ($code:literal) => {
        Dialect {
            command: |words| {
                let is_group = |name: &&str| name.contains(":g:") || name.contains("__group__");
                let is_message = words[0] == "PUBLISH" && words.get(1).is_some_and(is_group);
                let is_script = words[0].starts_with("EVAL") && words[1] != "return 1";
                let error = concat!("redis.error_reply('", $code, " because')");
                (is_message || is_script).then(|| answer(error))
            },
            reply: |frame| frame,
        }
    };
}

#[tokio::test]
async fn what_redis_says_is_shown_by_every_error() {
    let server = Server::start();
    // Whether it passes: the call had no effect then, and may be made again.
    let cases = [
        (refusing!("BUSY"), "BUSY", true),
        (refusing!("CLUSTERDOWN"), "CLUSTERDOWN", true),
        (refusing!("LOADING"), "LOADING", true),
        (refusing!("MASTERDOWN"), "MASTERDOWN", true),
        (refusing!("MISCONF"), "MISCONF", true),
        (refusing!("MOVED"), "MOVED", false),
        (refusing!("NOAUTH"), "NOAUTH", true),
        (refusing!("NOPERM"), "NOPERM", false),
        (refusing!("OOM"), "OOM", true),
        (refusing!("READONLY"), "READONLY", true),
        (refusing!("TRYAGAIN"), "TRYAGAIN", true),
        (refusing!("WRONGTYPE"), "WRONGTYPE", false),
    ];
    for (dialect, code, passes) in cases {
        let speaker = Speaker::to(server.port, dialect).await;
        for mode in ["core", "native", "pubsub"] {
            let one = layer(&format!("{}?mode={mode}&prefix={mode}", speaker.address())).await;
            let error = one.group_send_message("g", numbered(1)).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains(code) && text.contains("because"), "{mode}: {text}");
            assert_eq!(matches!(error, Error::Unavailable(_)), passes, "{mode}: {error:?}");
            assert_eq!(matches!(error, Error::Backend(_)), !passes, "{mode}: {error:?}");
        }
    }
}

#[tokio::test]
async fn why_there_is_no_connection_is_told_once_and_by_every_call() {
    for mode in ["core", "native", "pubsub"] {
        let mut server = Server::start();
        let acl = |rule: &[&str]| server.cli(&[&["acl", "setuser", "app"], rule].concat());
        acl(&["on", ">old", "~*", "&*", "+@all"]);
        let address = server.address().replace("//", "//app:old@") + "?mode=" + mode;
        let one = layer(&address).await;
        let mailbox = one.new_channel().await.unwrap();
        let (log, _guard) = Log::begin();

        acl(&["resetpass", ">new"]);
        server.cli(&["client", "kill", "user", "app"]);
        until("attempts fail", || async { one.stats().connect_failed >= 4 }).await;
        for _ in 0..20 {
            let refused = one.group_send_message("g", numbered(1)).await.unwrap_err();
            assert!(refused.to_string().contains("WRONGPASS"), "{mode}: {refused}");
        }
        one.join("g", mailbox.channel()).await.unwrap();
        assert_eq!(log.count("WARN", "lost the connection"), 1, "{mode}");
        assert_eq!((log.count("WARN", "WRONGPASS"), log.count("ERROR", "")), (1, 0), "{mode}");

        let failed = one.stats().connect_failed;
        server.kill();
        until("other attempts fail", || async { one.stats().connect_failed >= failed + 3 }).await;
        assert_eq!(log.count("WARN", "refused"), 1, "{mode}");
        assert!(log.count("WARN", "") <= 3, "{mode}");

        tokio::task::spawn_blocking(move || server.restart()).await.unwrap();
        drop(one);
    }
}

#[tokio::test]
async fn a_layer_that_cannot_begin_says_why() {
    let server = Server::start();
    for (rule, code) in [
        (&["on", ">other"][..], "WRONGPASS"),
        (&["on", ">p", "~*", "&*", "+@all", "-publish"], "NOPERM"),
        (&["on", ">p", "~*", "&nothing", "+@all"], "NOPERM"),
    ] {
        server.cli(&["acl", "deluser", "app"]);
        server.cli(&[&["acl", "setuser", "app"], rule].concat());
        for mode in ["core", "native", "pubsub"] {
            let address = server.address().replace("//", "//app:p@") + "?mode=" + mode;
            let error = channel_layer_redis::RedisLayer::connect(&address).await.unwrap_err();
            assert!(error.to_string().contains(code), "{mode}: {error}");
        }
    }
}

/// Callers are told of a fault that every message meets; the log is theirs.
#[tokio::test]
async fn the_log_does_not_grow_with_the_messages() {
    let server = Server::start();
    let (log, _guard) = Log::begin();
    let one = layer(&server.address()).await;
    let jobs = "jobs".parse().unwrap();
    one.send(&jobs, numbered(1)).await.unwrap();
    assert_eq!(number(&one.receive(&jobs).await.unwrap()), 1);
    server.cli(&["config", "set", "maxmemory", "1"]);
    for _ in 0..200 {
        let refused = one.send(&jobs, numbered(1)).await.unwrap_err();
        assert!(refused.to_string().contains("OOM"), "{refused}");
    }
    assert_eq!((log.count("WARN", ""), log.count("ERROR", "")), (0, 0));
}
