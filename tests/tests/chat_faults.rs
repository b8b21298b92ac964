//! The chat in two processes over Redis, through every fault that the layer handles: members stay
//! connected, are notified when messages may have been missed, and receive all messages again.

use std::time::{Duration, Instant};

use channels_tests::{Lane, Member, Server as Chat, within};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use self::{
    proxy::{Manners, Proxy},
    sentinel::Sentinels,
    server::Server as Redis,
};

// The rest of these is used by the layer's tests.
#[allow(dead_code)]
#[path = "../../channel-layer-redis/tests/support/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../../channel-layer-redis/tests/support/proxy.rs"]
mod proxy;
#[allow(dead_code)]
#[path = "../../channel-layer-redis/tests/support/sentinel.rs"]
mod sentinel;
#[allow(dead_code)]
#[path = "../../channel-layer-redis/tests/support/server.rs"]
mod server;

const MEMBERS: usize = 10;

/// Two processes, and members of one room, alternately in either.
struct Room {
    chats: [Chat; 2],
    members: Vec<Member>,
}

impl Room {
    async fn over(one: &str, two: &str) -> Self {
        let chat = async |url| Chat::chat_with_layer(url, Lane::Handler).await;
        let chats = [chat(one).await, chat(two).await];
        let mut members = Vec::new();
        for n in 0..MEMBERS {
            members.push(Member::join(&chats[n % 2], "lobby").await);
        }
        let mut room = Self { chats, members };
        room.hears_each_other("before").await;
        room
    }

    /// Asserts that the members in each process receive the messages from both.
    async fn hears_each_other(&mut self, when: &str) {
        for sender in 0..2 {
            let text = format!("{when}, from {sender}");
            self.members[sender].say(&text).await;
            for member in &mut self.members {
                while next(member).await["message"] != text.as_str() {}
            }
        }
    }

    /// Waits until each member has been notified of a gap.
    async fn is_told_of_a_gap(&mut self) {
        for member in &mut self.members {
            is_told(member).await;
        }
    }
}

async fn is_told(member: &mut Member) {
    loop {
        if let Some(notice) = next(member).await["notice"].as_str() {
            assert!(notice.contains("may have been missed"), "{notice}");
            return;
        }
    }
}

async fn next(member: &mut Member) -> Value {
    let value = next_or_error(member).await;
    assert!(value.get("error").is_none(), "{value}");
    value
}

async fn next_or_error(member: &mut Member) -> Value {
    let told = within("a message, a notice or an error", member.receive()).await;
    serde_json::from_str(told.to_text().expect("text")).expect("JSON")
}

/// Opens a new WebSocket, and returns the status line and the headers of the answer.
async fn answer_to_a_newcomer(chat: &Chat) -> String {
    let mut stream = TcpStream::connect(chat.address).await.expect("the server accepts connections");
    let request = format!(
        "GET /ws/chat/lobby/ HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        chat.address
    );
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = vec![0; 4096];
    let count = within("an answer", stream.read(&mut answer)).await.expect("the server answers");
    String::from_utf8_lossy(&answer[..count]).to_lowercase()
}

/// Asserts, in every mode, that a member that sends during the outage gets an error and stays connected.
#[tokio::test]
async fn clients_stay_in_a_redis_outage() {
    for mode in ["core", "native", "pubsub"] {
        let mut redis = Redis::start();
        let address = format!("{}?mode={mode}&capacity=1000", redis.address());
        let mut room = Room::over(&address, &address).await;
        redis.kill();
        for turn in 0..8 {
            for member in &mut room.members {
                member.say(&format!("said in an outage, {turn}")).await;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let answer = answer_to_a_newcomer(&room.chats[0]).await;
        assert!(answer.starts_with("http/1.1 503") && answer.contains("retry-after:"), "{mode}: {answer}");
        redis.restart();
        for member in &mut room.members {
            let mut errors = 0;
            loop {
                let told = next_or_error(member).await;
                errors += usize::from(told.get("error").is_some());
                if told["notice"].as_str().is_some_and(|notice| notice.contains("may have been missed")) {
                    break;
                }
            }
            assert!(errors >= 7, "{mode}: told of {errors} of 8");
        }
        room.hears_each_other("after").await;
    }
}

#[tokio::test]
async fn fourteen_seconds_without_redis() {
    let mut redis = Redis::start();
    let mut room = Room::over(&redis.address(), &redis.address()).await;
    redis.kill();
    sleep(Duration::from_secs(14)).await;
    redis.restart();
    room.is_told_of_a_gap().await;
    room.hears_each_other("after").await;
}

#[tokio::test]
async fn a_half_open_link() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.port).await;
    let mut room = Room::over(&proxy.address(), &redis.address()).await;
    proxy.set(Manners::Swallow);
    sleep(Duration::from_secs(5)).await;
    proxy.set(Manners::Pass);
    for member in room.members.iter_mut().step_by(2) {
        is_told(member).await;
    }
    room.hears_each_other("after").await;
}

#[tokio::test]
async fn survives_a_cut_slow_subscriber() {
    let redis = Redis::start();
    redis.cli(&["config", "set", "client-output-buffer-limit", "pubsub 64kb 64kb 1"]);
    let proxy = Proxy::to(redis.port).await;
    // Its timeout is longer than the server's.
    let mut room = Room::over(&redis.address(), &(proxy.address() + "?timeout=15s")).await;
    proxy.set(Manners::Stall);
    let started = Instant::now();
    while redis.cli(&["client", "list", "type", "pubsub"]).lines().count() == 2 {
        room.members[0].say(&"x".repeat(30_000)).await;
        sleep(Duration::from_millis(20)).await; // the others have to keep up
        assert!(started.elapsed() < Duration::from_secs(20), "the server never cuts it off");
    }
    proxy.set(Manners::Pass);
    for member in room.members.iter_mut().skip(1).step_by(2) {
        is_told(member).await;
    }
    room.hears_each_other("after").await;
}

#[tokio::test]
async fn a_server_without_memory() {
    let redis = Redis::start();
    let mut room = Room::over(&redis.address(), &redis.address()).await;
    redis.cli(&["config", "set", "maxmemory", "1"]);
    room.hears_each_other("what needs no memory").await;
    sleep(Duration::from_secs(2)).await; // heartbeats and a probe
    redis.cli(&["config", "set", "maxmemory", "0"]);
    room.hears_each_other("after").await;
}

#[tokio::test]
async fn survives_a_full_disk() {
    let redis = Redis::start_with(&["--save", "3600 1"]);
    let mut room = Room::over(&redis.address(), &redis.address()).await;
    let gone = redis.dir().join("gone");
    std::fs::create_dir(&gone).expect("a folder");
    redis.cli(&["config", "set", "dir", &gone.to_string_lossy()]);
    std::fs::remove_dir(&gone).expect("it is empty");
    redis.cli(&["set", "something", "to-save"]);
    redis.cli(&["bgsave"]);
    let started = Instant::now();
    while !redis.cli(&["info", "persistence"]).contains("rdb_last_bgsave_status:err") {
        assert!(started.elapsed() < Duration::from_secs(20), "the save does not fail");
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_secs(2)).await; // heartbeats, which are refused
    room.hears_each_other("what needs no disk").await;
}

#[tokio::test]
async fn follows_sentinel_failovers() {
    let mut sentinels = Sentinels::start();
    let mut room = Room::over(&sentinels.address(), &sentinels.address()).await;
    sentinels.fail_over();
    sentinels.wait_for_master(1);
    room.is_told_of_a_gap().await;
    room.hears_each_other("moved").await;
    sentinels.servers[1].kill();
    sentinels.wait_for_master(0);
    room.is_told_of_a_gap().await;
    room.hears_each_other("after").await;
}
