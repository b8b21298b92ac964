//! Errors and logs contain the message of Redis, once for each cause instead of each message.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use channel_layer::{ChannelLayer, ChannelLayerExt, Error, MailboxOptions, MemoryLayer};
use channel_layer_redis::RedisLayer;
use tracing::subscriber::DefaultGuard;

use crate::support::{
    dialect::{Dialect, Speaker, answer},
    layer, next, number, numbered,
    server::Server,
    until,
};

/// The log output of this thread, without colours and times.
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

    /// Lines of this level with this text.
    fn count(&self, level: &str, text: &str) -> usize {
        let bytes = self.0.lock().expect("no holder panics");
        let text_of_log = String::from_utf8_lossy(&bytes);
        let is_meant = |line: &&str| line.trim_start().starts_with(level) && line.contains(text);
        text_of_log.lines().filter(is_meant).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no holder panics").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A server that refuses messages to groups in every mode, and all writes of scripts.
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
async fn errors_show_redis_messages() {
    let server = Server::start();
    // Whether it is temporary: then the call had no effect, and may be repeated.
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
            let address = format!("{}?mode={mode}&prefix={mode}", speaker.address());
            // Mode core checks its required commands when it is opened.
            let error = match RedisLayer::open(address.parse().unwrap()).await {
                Ok(one) => one.group_send_message("g", numbered(1)).await.unwrap_err(),
                Err(error) => {
                    assert_eq!((mode, code), ("core", "NOPERM"), "{error}");
                    error
                }
            };
            let text = error.to_string();
            assert!(text.contains(code) && text.contains("because"), "{mode}: {text}");
            assert_eq!(matches!(error, Error::Unavailable(_)), passes, "{mode}: {error:?}");
            assert_eq!(matches!(error, Error::Backend(_)), !passes, "{mode}: {error:?}");
        }
    }
}

#[tokio::test]
async fn connect_errors_are_logged_once() {
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
async fn failed_start_gives_the_cause() {
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

/// A failure of every message is returned to callers, which log it.
#[tokio::test]
async fn log_does_not_grow_with_traffic() {
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

type Shared = Arc<dyn ChannelLayer>;

/// Tests every layer, within one process and between two.
#[tokio::test]
async fn full_warning_names_the_group() {
    let server = Server::start();
    let mut layers: Vec<(String, Shared, Shared)> = Vec::new();
    for mode in ["core", "native", "pubsub"] {
        let address = format!("{}?mode={mode}&prefix={mode}&capacity=1000", server.address());
        let (one, two) = (Arc::new(layer(&address).await), Arc::new(layer(&address).await));
        layers.push((mode.to_owned(), one.clone(), one));
        layers.push((format!("{mode}-elsewhere"), two, Arc::new(layer(&address).await)));
    }
    let memory: Shared = Arc::new(MemoryLayer::default());
    layers.push(("memory".to_owned(), memory.clone(), memory));
    for (name, one, sender) in layers {
        let (log, _guard) = Log::begin();
        let mut awake = one.new_channel().await.unwrap();
        let asleep = one.open(MailboxOptions::default().with_capacity(5)).await.unwrap();
        let (group, other) = (format!("room-{name}"), format!("quiet-{name}"));
        one.join(&group, awake.channel()).await.unwrap();
        one.join(&group, asleep.channel()).await.unwrap();
        one.join(&other, asleep.channel()).await.unwrap();
        for n in 0..20 {
            let _ = sender.group_send_message(&group, numbered(n)).await.unwrap();
            next(&mut awake).await;
        }
        let lines = log.count("WARN", &format!("group={group} full=1 matched=2"));
        assert!((1..=3).contains(&lines), "{name}: {lines} lines"); // one per second
        assert_eq!(log.count("WARN", &other), 0, "{name}");
    }
}

/// All mailboxes of a process share one inbox in Redis, of the default capacity.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_inbox_is_counted() {
    let server = Server::start();
    let one = layer(&format!("{}?mode=core", server.address())).await;
    let two = layer(&format!("{}?mode=core&capacity=1", server.address())).await;
    let mailboxes = [two.new_channel().await.unwrap(), two.new_channel().await.unwrap()];
    for mailbox in &mailboxes {
        two.join("g", mailbox.channel()).await.unwrap();
    }
    let inbox = format!("asgi{}!", mailboxes[0].channel().as_str().split('!').next().unwrap());
    two.close().await.unwrap(); // no process reads the inbox
    server.cli(&["zadd", "asgi:group:g", "9999999999", mailboxes[0].channel().as_str()]);
    server.cli(&["zadd", "asgi:group:g", "9999999999", mailboxes[1].channel().as_str()]);
    let filled = ["zadd", &inbox].map(str::to_owned).into_iter();
    let filled: Vec<_> =
        filled.chain((0..100).flat_map(|n| ["9999999999".to_owned(), n.to_string()])).collect();
    server.cli(&filled.iter().map(String::as_str).collect::<Vec<_>>());
    let (log, _guard) = Log::begin();
    for n in 0..10 {
        let _ = one.group_send_message("g", numbered(n)).await.unwrap();
    }
    assert_eq!(one.stats().full, 20);
    let lines = log.count("WARN", "group=g full=2 matched=2");
    assert!((1..=3).contains(&lines), "{lines} lines");
}
