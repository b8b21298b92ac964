//! Two chats on one Redis, and 200 members that send all the time, through each fault of Redis.
//!
//! `CHANNELS_FAULTS=kill,pause` runs only those whose names contain one of these words, `CHANNELS_MODES=core` only those modes.

use std::{env, time::Duration};

use channels_tests::{Lane, Server as Chat};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use self::{
    fault::Fault,
    member::Log,
    proxy::Proxy,
    report::{Report, live_since},
    server::Server as Redis,
};

mod fault;
pub(crate) mod member;
// The rest of these is used by the layer's tests.
#[allow(dead_code)]
#[path = "../../../../channel-layer-redis/tests/support/process.rs"]
pub(crate) mod process;
#[allow(dead_code)]
#[path = "../../../../channel-layer-redis/tests/support/proxy.rs"]
pub(crate) mod proxy;
pub(crate) mod report;
#[allow(dead_code)]
#[path = "../../../../channel-layer-redis/tests/support/server.rs"]
mod server;

const MEMBERS: usize = 200;
const TO_A_ROOM: usize = 20;
const MODES: [&str; 3] = ["native", "pubsub", "core"];
/// The time of sending before a fault, and after recovery.
const BEFORE: Duration = Duration::from_millis(300);
const AFTER: Duration = Duration::from_millis(500);
/// The time until all messages under way have been received.
const SETTLES: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_live_through_redis_faults() {
    let mut faults = Vec::new();
    println!(
        "mode | fault | live after | said | not heard | told of a gap | of an error | closed | doubled | out of order"
    );
    for mode in MODES.into_iter().filter(|mode| is_wanted("CHANNELS_MODES", mode)) {
        let mut deployment = Deployment::open(mode).await;
        for fault in Fault::ALL.iter().filter(|fault| is_wanted("CHANNELS_FAULTS", fault.name())) {
            let report = deployment.live_through(*fault).await;
            println!("{mode} | {} | {report}", fault.name());
            for fallen in report.faults() {
                let example = report.example.as_deref().unwrap_or_default();
                faults.push(format!("{mode}, {}: {fallen} {example}", fault.name()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn is_wanted(variable: &str, name: &str) -> bool {
    env::var(variable).map_or(true, |words| words.split(',').any(|word| name.contains(word)))
}

/// All faults in one mode.
struct Deployment {
    redis: Redis,
    proxy: Proxy,
    _chats: [Chat; 2],
    log: std::sync::Arc<Log>,
    speak: watch::Sender<bool>,
    _members: tokio::task::JoinSet<()>,
}

impl Deployment {
    async fn open(mode: &str) -> Self {
        let redis = Redis::start_with(&["--enable-debug-command", "local"]);
        let proxy = Proxy::to(redis.port).await;
        // In mode core a process has one queue for all of its members; bursts are not tested here.
        let url = |address: String| format!("{address}?mode={mode}&capacity=1000");
        let one = Chat::chat_with_layer(&url(redis.address()), Lane::Handler).await;
        let two = Chat::chat_with_layer(&url(proxy.address()), Lane::Handler).await;
        let (speak, may_speak) = watch::channel(true);
        let (log, members) = member::gather([&one, &two], MEMBERS, TO_A_ROOM, &may_speak);
        let deployment = Self { redis, proxy, _chats: [one, two], log, speak, _members: members };
        let live = live_since(&deployment.log, Instant::now()).await;
        assert!(live.is_some(), "{mode}: the members do not hear each other to begin with");
        deployment.quiet().await;
        deployment.log.take();
        deployment
    }

    async fn live_through(&mut self, fault: Fault) -> Report {
        self.speak.send_replace(true);
        live_since(&self.log, Instant::now()).await;
        sleep(BEFORE).await;
        let over = fault.happen(&mut self.redis, &self.proxy).await;
        let live = live_since(&self.log, over).await;
        sleep(AFTER).await;
        self.quiet().await;
        Report::new(&self.log, |id| id / TO_A_ROOM, live)
    }

    async fn quiet(&self) {
        self.speak.send_replace(false);
        sleep(SETTLES).await;
    }
}
