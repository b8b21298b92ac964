//! Compatibility with Python's channels_redis: messages arrive unchanged in both directions.

mod support;

use std::{collections::HashMap, sync::Arc, time::Duration};

use channel_layer::{
    Audience, ChannelLayer, ChannelLayerExt, ChannelName, Error, Map, Message, Value, value::to_value,
};
use channel_layer_redis::{RedisConfig, RedisLayer};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value as Json, json};
use support::{
    group, is_silent, next, number, numbered,
    python::{Python, freeze_map, thaw_message},
    server::Server,
    until,
};
use tokio::time::{sleep, timeout};

/// A setting on both sides.
struct Setting {
    mode: &'static str,
    /// The options of an address.
    options: &'static str,
    /// The settings in `CHANNEL_LAYERS`.
    config: fn() -> Json,
}

const SETTINGS: [Setting; 6] = [
    Setting { mode: "core", options: "", config: || json!({}) },
    Setting {
        mode: "core",
        options: "&serializer_format=json&random_prefix_length=8",
        config: || json!({"serializer_format": "json", "random_prefix_length": 8}),
    },
    Setting {
        mode: "core",
        options: "&symmetric_encryption_keys=new&symmetric_encryption_keys=old",
        // The other side still has the old keys, or another order.
        config: || json!({"symmetric_encryption_keys": ["old", "new"]}),
    },
    Setting { mode: "pubsub", options: "", config: || json!({}) },
    Setting {
        mode: "pubsub",
        options: "&serializer_format=json",
        config: || json!({"serializer_format": "json"}),
    },
    Setting {
        mode: "pubsub",
        options: "&symmetric_encryption_keys=new&symmetric_encryption_keys=old",
        config: || json!({"symmetric_encryption_keys": ["old", "new"]}),
    },
];

impl Setting {
    fn holds_bytes(&self) -> bool {
        !self.options.contains("json")
    }
}

async fn pair(servers: &[&Server], mode: &str, options: &str, config: Json) -> (Arc<RedisLayer>, Python) {
    support::log();
    let hosts: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let address = format!("redis://{}/0?mode={mode}{options}", hosts.join(","));
    let mut config = config;
    config["hosts"] = servers.iter().map(|server| json!(server.address())).collect();
    let rust = RedisLayer::connect(&address).await.expect("Redis is up");
    (Arc::new(rust), Python::layer(mode, &config).await)
}

fn all_types(with_bytes: bool) -> Message {
    let message = Message::new("all.types")
        .with("null", Value::Null)
        .with("bool", true)
        .with("ints", Value::list([i64::MIN, -1, 0, 127, 128, 1 << 40, i64::MAX]))
        .with("large", u64::MAX)
        .with("floats", Value::list([-0.5, 0.0, 1.0, 1e300, 1e16, 1e-7]))
        .with("text", "汉字 \0 ✓ 🦀 \"quoted\"")
        .with("map", Value::Map(Map::from([("nested", Value::list(["a", ""]))])));
    if with_bytes { message.with("bytes", Value::bytes([0, 159, 146, 150])) } else { message }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_arrive_both_ways() {
    let server = Server::start();
    for setting in SETTINGS {
        let prefix = format!("&prefix=p{}", next_prefix());
        let options = format!("{}{prefix}", setting.options);
        let mut config = (setting.config)();
        config["prefix"] = json!(&prefix[8..]);
        let (rust, mut python) = pair(&[&server], setting.mode, &options, config).await;
        let message = all_types(setting.holds_bytes());
        let frozen = freeze_map(message.map());
        let theirs = python.new_channel().await;
        let mut ours = rust.new_channel().await.unwrap();

        rust.send(&theirs.parse().unwrap(), message.clone()).await.unwrap();
        assert_eq!(python.receive(&theirs, 5.0).await.unwrap(), message, "{} send", setting.options);
        python.call("send", json!([ours.channel().as_str(), frozen])).await;
        assert_eq!(next(&mut ours).await, message, "{} send to us", setting.options);

        rust.join("room.1", ours.channel()).await.unwrap();
        python.call("group_add", json!(["room.1", theirs])).await;
        sleep(Duration::from_millis(50)).await; // pubsub: Python does not wait for the confirmation
        for from_python in [false, true] {
            if from_python {
                python.call("group_send", json!(["room.1", frozen])).await;
            } else {
                let _ = rust.group_send_message("room.1", message.clone()).await.unwrap();
            }
            assert_eq!(next(&mut ours).await, message);
            assert_eq!(python.receive(&theirs, 5.0).await.unwrap(), message);
        }
        rust.leave("room.1", ours.channel()).await.unwrap();
        python.call("group_discard", json!(["room.1", theirs])).await;
        let _ = rust.group_send_message("room.1", message.clone()).await.unwrap();
        python.call("group_send", json!(["room.1", frozen])).await;
        assert!(is_silent(&mut ours).await && python.receive(&theirs, 0.2).await.is_none());
        assert_eq!(rust.stats().unreadable, 0);
    }
}

/// The prefix of a setting.
fn next_prefix() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serde_bytes_become_bytes() {
    #[derive(serde::Serialize)]
    #[serde(tag = "type", rename = "photo")]
    struct Photo {
        #[serde(with = "serde_bytes")]
        told: Vec<u8>,
        untold: Vec<u8>,
    }
    let server = Server::start();
    let (rust, mut python) = pair(&[&server], "core", "", json!({})).await;
    let theirs = python.new_channel().await;
    let photo = Photo { told: vec![1, 255], untold: vec![1, 255] };
    rust.send(&theirs.parse().unwrap(), Message::encode(&photo).unwrap()).await.unwrap();
    let received = python.receive(&theirs, 5.0).await.unwrap();
    assert_eq!(received.get("told"), Some(&Value::bytes([1, 255])));
    assert_eq!(received.get("untold"), Some(&Value::list([1, 255])), "a list of numbers by default");
    assert_eq!(to_value(&photo).unwrap().as_map().unwrap()["told"], Value::bytes([1, 255]));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::vec(("[a-zé]{0,4}", inner), 0..4)
                .prop_map(|entries| Value::Map(entries.into_iter().collect())),
        ]
    })
}

fn random_messages(count: usize) -> Vec<Message> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let value = any_value();
    let make = |n: usize, runner: &mut TestRunner| {
        let value = value.new_tree(runner).expect("nothing is rejected").current();
        Message::new("random").with("n", n as i64).with("value", value)
    };
    (0..count).map(|n| make(n, &mut runner)).collect()
}

/// Sends 2,500 in each direction of each mode: 10,000 in all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_messages_round_trip() {
    let server = Server::start();
    let messages = random_messages(2500);
    for mode in ["core", "pubsub"] {
        let options = "&capacity=5000&byte_capacity=100000000";
        let (rust, mut python) = pair(&[&server], mode, options, json!({})).await;
        let (theirs, mut ours) = (python.new_channel().await, rust.new_channel().await.unwrap());
        let name: ChannelName = theirs.parse().unwrap();
        for messages in messages.chunks(50) {
            // Fifty at a time: Python's local buffer drops the oldest beyond its capacity.
            for message in messages {
                rust.send(&name, message.clone()).await.unwrap();
            }
            let received = python.call("receive_many", json!([theirs, messages.len(), 5.0])).await;
            let received: Vec<_> = received.as_array().unwrap().iter().map(thaw_message).collect();
            assert!(received == messages, "{mode}: Python received something else");
            let frozen: Vec<_> = messages.iter().map(|message| freeze_map(message.map())).collect();
            python.call("send_many", json!([ours.channel().as_str(), frozen])).await;
            for message in messages {
                assert!(next(&mut ours).await == *message, "{mode}: {:?}", message.map());
            }
        }
    }
}

/// Sends a thousand from each side: each arrives exactly once at both, in order per sender.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_room_receives_in_order() {
    const MESSAGES: i64 = 1000;
    let server = Server::start();
    for mode in ["core", "pubsub"] {
        let options = "&capacity=5000";
        let (rust, mut sender) = pair(&[&server], mode, options, json!({"capacity": 5000})).await;
        let (_, mut listener) = pair(&[&server], mode, options, json!({"capacity": 5000})).await;
        let theirs = listener.new_channel().await;
        let mut ours = rust.new_channel().await.unwrap();
        rust.join("room", ours.channel()).await.unwrap();
        listener.call("group_add", json!(["room", theirs])).await;
        sleep(Duration::from_millis(100)).await;
        listener.call("work", json!([theirs])).await;
        let from = |side: &str, n: i64| json!({"type": "chat", "from": side, "n": n});
        let from_python: Vec<_> = (0..MESSAGES).map(|n| from("python", n)).collect();
        sender.begin("group_send_many", json!(["room", from_python])).await;
        let sending = tokio::spawn({
            let rust = rust.clone();
            async move {
                for n in 0..MESSAGES {
                    let message = Message::new("chat").with("from", "rust").with("n", n);
                    let _ = rust.group_send_message("room", message).await.unwrap();
                }
            }
        });
        let mut heard: HashMap<String, Vec<i64>> = HashMap::new();
        for _ in 0..2 * MESSAGES {
            note(&mut heard, &next(&mut ours).await);
        }
        sending.await.unwrap();
        sender.end().await;
        assert!(is_silent(&mut ours).await);
        check_room(mode, "Rust", &heard, MESSAGES);
        let mut log = json!([]);
        for _ in 0..200 {
            log = listener.call("worked", json!([theirs])).await;
            if log.as_array().unwrap().len() as i64 >= 2 * MESSAGES {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let mut heard = HashMap::new();
        log.as_array().unwrap().iter().for_each(|message| note(&mut heard, &thaw_message(message)));
        check_room(mode, "Python", &heard, MESSAGES);
    }
}

fn note(heard: &mut HashMap<String, Vec<i64>>, message: &Message) {
    let from = message.get("from").and_then(Value::as_str).expect("a sender").to_owned();
    heard.entry(from).or_default().push(number(message));
}

fn check_room(mode: &str, who: &str, heard: &HashMap<String, Vec<i64>>, messages: i64) {
    for from in ["python", "rust"] {
        let expected: Vec<_> = (0..messages).collect();
        let got = heard.get(from).cloned().unwrap_or_default();
        assert!(got == expected, "{mode}: {who} heard {} of {from}'s messages, or not in order", got.len());
    }
}

/// Two workers in Rust, one in Python, 6,000 jobs: none lost, none twice in Rust.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_workers_share_a_channel() {
    const JOBS: i64 = 6000;
    let server = Server::start();
    let options = "&capacity=10000";
    let (one, mut python) = pair(&[&server], "core", options, json!({"capacity": 10_000})).await;
    let (two, _) = pair(&[&server], "core", options, json!({})).await;
    let jobs: ChannelName = "jobs".parse().unwrap();
    let done = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut workers = tokio::task::JoinSet::new();
    for layer in [one.clone(), two] {
        let (jobs, done) = (jobs.clone(), done.clone());
        workers.spawn(async move {
            loop {
                let job = layer.receive(&jobs).await.expect("Redis is up");
                done.lock().unwrap().push(number(&job));
            }
        });
    }
    python.call("work", json!(["jobs"])).await;
    for n in 0..JOBS {
        one.send(&jobs, numbered(n)).await.unwrap();
    }
    until("the channel is empty", async || server.cli(&["zcard", "asgijobs"]) == "0").await;
    sleep(Duration::from_millis(300)).await;
    workers.shutdown().await;
    let by_python = python.call("worked", json!(["jobs"])).await;
    let by_python: Vec<_> =
        by_python.as_array().unwrap().iter().map(|job| number(&thaw_message(job))).collect();
    let by_rust = std::mem::take(&mut *done.lock().unwrap());
    eprintln!("jobs done: {} by Rust, {} by Python", by_rust.len(), by_python.len());
    let unique: std::collections::HashSet<_> = by_rust.iter().collect();
    assert_eq!(unique.len(), by_rust.len(), "duplicated by Rust");
    let all: std::collections::HashSet<_> = by_rust.iter().chain(&by_python).collect();
    assert_eq!(all.len() as i64, JOBS, "lost");
    assert_eq!((by_rust.len() + by_python.len()) as i64, JOBS, "done twice");
    assert!(!by_python.is_empty(), "Python has its share");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_keep_capacity() {
    let server = Server::start();
    let (rust, mut python) = pair(&[&server], "core", "&capacity=3", json!({"capacity": 3})).await;
    let jobs: ChannelName = "jobs".parse().unwrap();
    for n in 0..3 {
        rust.send(&jobs, numbered(n)).await.unwrap();
    }
    assert_eq!(python.call("send", json!(["jobs", {"type": "a"}])).await, json!("full"));
    assert_eq!(number(&python.receive("jobs", 5.0).await.unwrap()), 0);
    assert_eq!(python.call("send", json!(["jobs", {"type": "test.numbered", "n": 3}])).await, json!("ok"));
    assert!(matches!(rust.send(&jobs, numbered(4)).await, Err(Error::ChannelFull { .. })));
    for n in 1..4 {
        assert_eq!(number(&rust.receive(&jobs).await.unwrap()), n);
    }
    let theirs: ChannelName = python.new_channel().await.parse().unwrap();
    for n in 0..3 {
        rust.send(&theirs, numbered(n)).await.unwrap();
    }
    assert!(matches!(rust.send(&theirs, numbered(3)).await, Err(Error::ChannelFull { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flush_affects_both_sides() {
    let server = Server::start();
    let (rust, mut python) = pair(&[&server], "core", "", json!({})).await;
    let jobs: ChannelName = "jobs".parse().unwrap();
    let mut ours = rust.new_channel().await.unwrap();
    for by_python in [false, true] {
        sleep(Duration::from_millis(200)).await; // the last pop of a cancelled receiver may still be pending
        rust.join("room", ours.channel()).await.unwrap();
        rust.send(&jobs, numbered(1)).await.unwrap();
        if by_python {
            python.call("flush", json!([])).await;
        } else {
            rust.flush().await.unwrap();
        }
        assert_eq!(server.cli(&["keys", "*"]), "");
        assert!(timeout(Duration::from_millis(200), rust.receive(&jobs)).await.is_err());
        python.call("group_send", json!(["room", {"type": "a"}])).await;
        assert!(is_silent(&mut ours).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_survive_silence() {
    let mut server = Server::start();
    for mode in ["core", "pubsub"] {
        let (rust, mut python) = pair(&[&server], mode, "", json!({})).await;
        let mut ours = rust.new_channel().await.unwrap();
        let theirs = python.new_channel().await;
        rust.join("room", ours.channel()).await.unwrap();
        let name: ChannelName = theirs.parse().unwrap();
        python.begin("receive", json!([theirs, 20.0])).await;
        assert!(timeout(Duration::from_millis(5500), ours.recv()).await.is_err());
        rust.send(&name, numbered(1)).await.unwrap();
        assert_eq!(number(&thaw_message(&python.end().await)), 1, "{mode}: Python after 5.5 s");
        python.call("group_send", json!(["room", {"type": "a", "n": 2}])).await;
        assert_eq!(number(&next(&mut ours).await), 2, "{mode}: Rust after 5.5 s");

        tokio::task::block_in_place(|| server.restart());
        until("Rust is connected again", async || rust.is_connected()).await;
        // Its connections broke with the server, and redis-py raises one error.
        let mut fresh = pair(&[&server], mode, "", json!({})).await.1;
        let received = async {
            loop {
                fresh.call("group_send", json!(["room", {"type": "a", "n": 3}])).await;
                if let Ok(message) = timeout(Duration::from_millis(200), ours.recv()).await {
                    return number(&message);
                }
            }
        };
        assert_eq!(
            timeout(support::PATIENCE, received).await.expect("in time"),
            3,
            "{mode}: after a restart"
        );
    }
}

/// Whole names and their parts up to the `!` have one hash, so that direct sends arrive in both directions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_sends_on_several_hosts() {
    let servers = [Server::start(), Server::start(), Server::start()];
    let servers: Vec<_> = servers.iter().collect();
    for mode in ["core", "pubsub"] {
        let (rust, mut python) = pair(&servers, mode, "", json!({})).await;
        for n in 0..30 {
            let mut ours = rust.new_channel().await.unwrap();
            python.call("send", json!([ours.channel().as_str(), {"type": "a", "n": n}])).await;
            assert_eq!(number(&next(&mut ours).await), n, "{mode}");
        }
        let theirs = python.new_channel().await;
        for n in 0..30 {
            rust.send(&theirs.parse().unwrap(), numbered(n)).await.unwrap();
            assert_eq!(number(&python.receive(&theirs, 10.0).await.expect("it arrives")), n, "{mode}");
        }
        let mut ours = rust.new_channel().await.unwrap();
        for n in 0..10 {
            let name = format!("room-{n}");
            rust.join(name.as_str(), ours.channel()).await.unwrap();
            python.call("group_send", json!([name, {"type": "a", "n": n}])).await;
            assert_eq!(number(&next(&mut ours).await), n, "{mode}");
        }
    }
}

/// Keys, members, scores and lifetimes equal Django's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_equal_djangos() {
    let server = Server::start();
    let (rust, mut python) =
        pair(&[&server], "core", "&random_prefix_length=0", json!({"random_prefix_length": 0})).await;
    let theirs = python.new_channel().await;
    rust.send(&"chat-task".parse().unwrap(), Message::new("a.b")).await.unwrap();
    rust.send(&theirs.parse().unwrap(), Message::new("x")).await.unwrap();
    rust.group_add(&group("room.1"), &theirs.parse().unwrap()).await.unwrap();
    let head = theirs.split_inclusive('!').next().unwrap();
    let mut keys: Vec<_> = server.cli(&["keys", "*"]).lines().map(str::to_owned).collect();
    keys.sort();
    assert_eq!(keys, ["asgi:group:room.1".to_owned(), "asgichat-task".to_owned(), format!("asgi{head}")]);
    for (key, lifetime) in [("asgi:group:room.1", 86_400), ("asgichat-task", 60)] {
        let ttl: i64 = server.cli(&["ttl", key]).parse().unwrap();
        assert!((lifetime - 2..=lifetime).contains(&ttl), "{key}: {ttl}");
    }
    assert_eq!(server.cli(&["zrange", "asgi:group:room.1", "0", "-1"]), theirs);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let scored = server.cli(&["zrange", "asgichat-task", "0", "-1", "withscores"]);
    let score: f64 = scored.lines().nth(1).unwrap().parse().unwrap();
    assert!((now - score).abs() < 5.0, "{score}");
    assert_eq!(python.receive("chat-task", 5.0).await.unwrap(), Message::new("a.b"));
    assert_eq!(python.receive(&theirs, 5.0).await.unwrap(), Message::new("x"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_mailbox_leaves_the_group() {
    let server = Server::start();
    let (rust, _) = pair(&[&server], "core", "", json!({})).await;
    let (stays, goes) = (rust.new_channel().await.unwrap(), rust.new_channel().await.unwrap());
    for mailbox in [&stays, &goes] {
        rust.join("room", mailbox.channel()).await.unwrap();
    }
    drop(goes);
    let members = async || server.cli(&["zrange", "asgi:group:room", "0", "-1"]);
    until("the dropped one has left", async || members().await == stays.channel().as_str()).await;
    rust.close().await.unwrap();
    assert_eq!(members().await, "");
}

/// An exception, which Django's format cannot express, works between Rust processes and does not affect Python.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exceptions_leave_python_alone() {
    let server = Server::start();
    for mode in ["core", "pubsub"] {
        let (rust, mut python) = pair(&[&server], mode, "", json!({})).await;
        let mut ours = rust.new_channel().await.unwrap();
        let theirs = python.new_channel().await;
        rust.join("room", ours.channel()).await.unwrap();
        python.call("group_add", json!(["room", theirs])).await;
        sleep(Duration::from_millis(50)).await;
        let others = Audience::from(group("room")).except(ours.channel());
        let _ = rust.group_send(&others, numbered(1)).await.unwrap();
        assert_eq!(number(&python.receive(&theirs, 5.0).await.unwrap()), 1);
        assert!(is_silent(&mut ours).await);
    }
}

#[tokio::test]
async fn mismatched_settings_are_counted() {
    let server = Server::start();
    let (rust, mut python) = pair(&[&server], "core", "&symmetric_encryption_keys=a", json!({})).await;
    let mut ours = rust.new_channel().await.unwrap();
    python.call("send", json!([ours.channel().as_str(), {"type": "a"}])).await;
    until("it is counted", async || rust.stats().unreadable == 1).await;
    assert!(is_silent(&mut ours).await);
    let config: RedisConfig = server.address().parse().unwrap();
    assert!(!format!("{:?}", config.with_symmetric_encryption_keys(["canary"])).contains("canary"));
}
