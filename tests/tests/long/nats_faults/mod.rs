//! Two chats on one nats-server, and members that send all the time, through faults of the server.

use std::time::Duration;

use channels_tests::{Lane, Server as Chat};
use tokio::{
    sync::watch,
    task::block_in_place,
    time::{Instant, sleep},
};

use crate::redis_faults::{
    member::{self, Log},
    process,
    proxy::{Manners, Proxy},
    report::{Report, live_since},
};

// The rest of it is used by the layer's tests.
#[allow(dead_code)]
#[path = "../../../../examples/nats-layer/tests/it/server.rs"]
mod server;

pub(crate) use self::server::Server as Nats;

const TO_A_ROOM: usize = 20;
/// Longer than the layer's heartbeat and timeout together.
const OUTAGE: Duration = Duration::from_secs(2);
/// The time of sending before a fault, and after recovery.
const BEFORE: Duration = Duration::from_millis(300);
const AFTER: Duration = Duration::from_millis(300);
/// The time until all messages under way have been received.
const SETTLES: Duration = Duration::from_millis(600);

/// A fault of the server, or of the network on the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connections of one chat are cut.
    Cut,
    /// The process is stopped.
    Freeze,
    /// The connection of one chat carries nothing, and is not closed.
    HalfOpen,
    /// `kill -9`; the server returns after two seconds.
    Kill,
    /// `kill -9`; the server returns at once.
    Restart,
    /// The process is stopped, but too briefly for the layer to notice.
    ShortFreeze,
}

impl Fault {
    #[allow(dead_code)] // the short test names its faults
    pub(crate) const ALL: &[Self] =
        &[Self::Kill, Self::Freeze, Self::Restart, Self::ShortFreeze, Self::HalfOpen, Self::Cut];

    /// Causes the fault, and returns the moment at which it is over.
    async fn happen(self, nats: &mut Nats, proxy: &Proxy) -> Instant {
        match self {
            Self::Cut => {
                proxy.set(Manners::Refuse);
                sleep(Duration::from_millis(100)).await;
                proxy.set(Manners::Pass);
            }
            Self::Freeze => freeze(nats, OUTAGE).await,
            Self::HalfOpen => {
                proxy.set(Manners::Swallow);
                sleep(OUTAGE).await;
                proxy.set(Manners::Pass);
            }
            Self::Kill => {
                nats.kill();
                sleep(OUTAGE).await;
                block_in_place(|| nats.restart());
            }
            Self::Restart => block_in_place(|| nats.restart()),
            Self::ShortFreeze => freeze(nats, Duration::from_millis(300)).await,
        }
        Instant::now()
    }
}

async fn freeze(nats: &Nats, time: Duration) {
    nats.freeze();
    sleep(time).await;
    nats.thaw();
}

/// The server, the chats and the members.
pub(crate) struct Deployment {
    nats: Nats,
    proxy: Proxy,
    _chats: [Chat; 2],
    log: std::sync::Arc<Log>,
    speak: watch::Sender<bool>,
    _members: tokio::task::JoinSet<()>,
}

impl Deployment {
    /// Opens rooms of 20 members. The second chat reaches the server through a proxy.
    pub(crate) async fn open(members: usize) -> Self {
        let nats = Nats::start();
        let proxy = Proxy::to(nats.port).await;
        let through_proxy = format!("nats://127.0.0.1:{}", proxy.port);
        let one = Chat::chat_with_layer(&nats.address(), Lane::Handler).await;
        let two = Chat::chat_with_layer(&through_proxy, Lane::Handler).await;
        let (speak, may_speak) = watch::channel(true);
        let (log, members) = member::gather([&one, &two], members, TO_A_ROOM, &may_speak);
        let deployment = Self { nats, proxy, _chats: [one, two], log, speak, _members: members };
        let live = live_since(&deployment.log, Instant::now()).await;
        assert!(live.is_some(), "the members do not hear each other to begin with");
        deployment.quiet().await;
        deployment.log.take();
        deployment
    }

    /// Causes the faults one after the other.
    ///
    /// # Panics
    /// If a member was closed, a message was doubled, out of order or lost without a notice, or recovery took long.
    pub(crate) async fn live_through(&mut self, faults: &[Fault]) {
        println!(
            "fault | live after | said | not heard | told of a gap | of an error | closed | doubled | out of order"
        );
        let mut failures = Vec::new();
        for fault in faults {
            self.speak.send_replace(true);
            live_since(&self.log, Instant::now()).await;
            sleep(BEFORE).await;
            let over = fault.happen(&mut self.nats, &self.proxy).await;
            let live = live_since(&self.log, over).await;
            sleep(AFTER).await;
            self.quiet().await;
            let report = Report::new(&self.log, |id| id / TO_A_ROOM, live);
            println!("{fault:?} | {report}");
            let example = report.example.as_deref().unwrap_or_default();
            failures.extend(report.faults().iter().map(|failure| format!("{fault:?}: {failure} {example}")));
        }
        assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    }

    async fn quiet(&self) {
        self.speak.send_replace(false);
        sleep(SETTLES).await;
    }
}
