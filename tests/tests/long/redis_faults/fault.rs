//! Faults of a Redis server, or of the network on the way to it.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

use super::{
    proxy::{Manners, Proxy},
    server::Server as Redis,
};

/// Longer than the layer's heartbeat and timeout together.
const OUTAGE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Freeze,
    HalfOpen,
    Kill,
    KillPubsub,
    KillNormal,
    Shutdown,
    ShortFreeze,
    DebugSleep,
    DebugReload,
    Pause,
    NoMemory,
    NoDisk,
    FlushAll,
    DeleteKeys,
    OutputBuffer,
    Replica,
    Acl,
    NoPublish,
    MaxClients,
}

impl Fault {
    pub(crate) const ALL: &[Self] = &[
        Self::Kill,
        Self::Shutdown,
        Self::Freeze,
        Self::ShortFreeze,
        Self::HalfOpen,
        Self::KillPubsub,
        Self::KillNormal,
        Self::Pause,
        Self::NoMemory,
        Self::NoDisk,
        Self::FlushAll,
        Self::DeleteKeys,
        Self::DebugReload,
        Self::DebugSleep,
        Self::OutputBuffer,
        Self::Replica,
        Self::Acl,
        Self::NoPublish,
        Self::MaxClients,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Freeze => "SIGSTOP for 2 s",
            Self::HalfOpen => "half-open link of one chat for 2 s",
            Self::Kill => "kill -9, back after 2 s",
            Self::KillPubsub => "CLIENT KILL TYPE pubsub",
            Self::KillNormal => "CLIENT KILL TYPE normal",
            Self::Shutdown => "SHUTDOWN, back after 2 s",
            Self::ShortFreeze => "SIGSTOP for 0.5 s",
            Self::DebugSleep => "DEBUG SLEEP 2",
            Self::DebugReload => "DEBUG RELOAD",
            Self::Pause => "CLIENT PAUSE 2000",
            Self::NoMemory => "OOM (maxmemory 1)",
            Self::NoDisk => "MISCONF",
            Self::FlushAll => "FLUSHALL",
            Self::DeleteKeys => "DEL of the groups' keys",
            Self::OutputBuffer => "subscribers cut by their output buffer",
            Self::Replica => "REPLICAOF elsewhere (READONLY)",
            Self::Acl => "ACL without channels and keys",
            Self::NoPublish => "ACL without PUBLISH and scripts",
            Self::MaxClients => "CLIENT KILL while maxclients is reached",
        }
    }

    /// Causes the fault, and returns when it is over; recovery is measured from then on.
    pub(crate) async fn happen(self, redis: &mut Redis, proxy: &Proxy) -> Instant {
        let mut admin = Admin::on(redis);
        match self {
            Self::Freeze => freeze(redis, OUTAGE).await,
            Self::ShortFreeze => freeze(redis, Duration::from_millis(500)).await,
            Self::HalfOpen => {
                proxy.set(Manners::Swallow);
                sleep(OUTAGE).await;
                proxy.set(Manners::Pass);
            }
            Self::Kill => {
                redis.kill();
                sleep(OUTAGE).await;
                block_in_place(|| redis.restart());
            }
            Self::Shutdown => {
                admin.send("SHUTDOWN NOSAVE");
                sleep(OUTAGE).await;
                block_in_place(|| redis.restart());
            }
            Self::KillPubsub => admin.ask("CLIENT KILL TYPE pubsub"),
            Self::KillNormal => admin.ask("CLIENT KILL TYPE normal"),
            Self::Pause => {
                admin.ask("CLIENT PAUSE 2000 ALL");
                sleep(Duration::from_secs(2)).await;
            }
            Self::DebugSleep => block_in_place(|| admin.ask("DEBUG SLEEP 2")),
            Self::DebugReload => admin.ask("DEBUG RELOAD"),
            Self::NoMemory => no_memory(&mut admin).await,
            Self::NoDisk => no_disk(redis, &mut admin).await,
            Self::FlushAll => admin.ask("FLUSHALL"),
            Self::DeleteKeys => {
                let keys =
                    "for _, key in ipairs(redis.call('keys', '*group*')) do redis.call('del', key) end";
                admin.ask(&format!("EVAL \"{keys}\" 0"));
            }
            Self::OutputBuffer => overflow(&mut admin),
            Self::Replica => between(&mut admin, "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE").await,
            Self::Acl => {
                let taken = "ACL SETUSER default resetchannels resetkeys";
                between(&mut admin, taken, "ACL SETUSER default allchannels allkeys").await;
            }
            Self::NoPublish => {
                let taken = "ACL SETUSER default -publish -eval -evalsha";
                between(&mut admin, taken, "ACL SETUSER default +publish +eval +evalsha").await;
            }
            Self::MaxClients => {
                admin.ask("CONFIG SET maxclients 1");
                admin.ask("CLIENT KILL TYPE pubsub");
                admin.ask("CLIENT KILL TYPE normal");
                sleep(OUTAGE).await;
                admin.ask("CONFIG SET maxclients 10000");
            }
        }
        Instant::now()
    }
}

async fn freeze(redis: &Redis, time: Duration) {
    redis.freeze();
    sleep(time).await;
    redis.thaw();
}

async fn between(admin: &mut Admin, before: &str, after: &str) {
    admin.ask(before);
    sleep(OUTAGE).await;
    admin.ask(after);
}

async fn no_memory(admin: &mut Admin) {
    admin.ask("CONFIG SET maxmemory 1");
    sleep(OUTAGE).await;
    let refused = admin.try_ask("SET something else");
    assert!(refused.contains("OOM"), "{refused}");
    admin.ask("CONFIG SET maxmemory 0");
}

async fn no_disk(redis: &Redis, admin: &mut Admin) {
    let gone = redis.dir().join("gone");
    std::fs::create_dir(&gone).expect("a folder");
    admin.ask("CONFIG SET save \"3600 1\"");
    admin.ask(&format!("CONFIG SET dir {}", gone.display()));
    std::fs::remove_dir(&gone).expect("it is empty");
    admin.ask("SET something to-save");
    admin.ask("BGSAVE");
    sleep(OUTAGE).await;
    let refused = admin.try_ask("SET something else");
    assert!(refused.contains("MISCONF"), "{refused}");
    admin.ask("CONFIG SET save \"\"");
    admin.ask(&format!("CONFIG SET dir {}", redis.dir().display()));
}

/// Publishes more than a subscriber's buffer may hold, within one command, so that none is read in between.
fn overflow(admin: &mut Admin) {
    admin.ask("CONFIG SET client-output-buffer-limit \"pubsub 1mb 1mb 1\"");
    let flood = "local text = string.rep('x', 1000000) \
                 for _, channel in ipairs(redis.call('pubsub', 'channels')) do \
                 for _ = 1, 3 do redis.call('publish', channel, text) end end";
    admin.ask(&format!("EVAL \"{flood}\" 0"));
    admin.ask("CONFIG SET client-output-buffer-limit \"pubsub 32mb 8mb 60\"");
}

/// A connection opened before the fault, as no other can be opened during it.
struct Admin(BufReader<TcpStream>);

impl Admin {
    fn on(redis: &Redis) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", redis.port)).expect("Redis accepts connections");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, command: &str) {
        let sent = self.0.get_mut().write_all(format!("{command}\r\n").as_bytes());
        sent.expect("Redis reads");
    }

    fn ask(&mut self, command: &str) {
        let answer = self.try_ask(command);
        assert!(!answer.starts_with('-'), "{command}: {answer}");
    }

    /// The first line of the answer.
    fn try_ask(&mut self, command: &str) -> String {
        self.send(command);
        let mut line = String::new();
        self.0.read_line(&mut line).expect("Redis answers");
        line
    }
}
