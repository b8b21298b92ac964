//! A simulation of layers on a bus that fails at random, by seed. Each member receives the messages of each sender in
//! order and at most once, every outage is reported, and all members receive again when it is over.

use std::collections::HashMap;

use proptest::prelude::*;
use tokio::{runtime::Builder, time::sleep};

use super::*;
use crate::{
    backbone::{
        bus::{Bus, BusBackbone, BusOptions},
        envelope::{self, Header},
    },
    events::LayerEvent,
    ext::ChannelLayerExt,
};

const PROCESSES: usize = 3;
const STEPS: usize = 150;

struct Process {
    layer: Arc<HubLayer<BusBackbone>>,
    members: Vec<Member>,
    events: LayerEvents,
}

struct Member {
    mailbox: Mailbox,
    /// The last number of each sender.
    last: HashMap<i64, i64>,
}

impl Process {
    async fn new(bus: &Bus) -> Self {
        let layer = HubLayer::connect(bus.backbone(), HubOptions::default()).await.unwrap();
        let events = layer.events();
        Self { layer: Arc::new(layer), members: Vec::new(), events }
    }

    async fn add_member(&mut self) {
        let mailbox = self.layer.new_channel().await.unwrap();
        self.layer.join("group", mailbox.channel()).await.unwrap();
        self.members.push(Member { mailbox, last: HashMap::new() });
    }

    /// Checks that the events alternate between the begin and the end of an outage. A lost probe counts as an outage
    /// too.
    async fn check_events(&mut self) {
        let (mut begun, mut ended) = (0, 0);
        while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, self.events.next()).await {
            match event {
                LayerEvent::Disconnected => begun += 1,
                LayerEvent::Reconnected { .. } => ended += 1,
                _ => {}
            }
            assert!(begun - ended <= 1 && ended <= begun, "{event:?} out of turn");
        }
        assert_eq!(begun, ended);
    }
}

impl Member {
    fn drain(&mut self) {
        while let Some(message) = self.mailbox.try_recv() {
            let [sender, number] =
                ["sender", "number"].map(|key| message.get(key).and_then(|n| n.as_i64()).unwrap());
            let last = self.last.insert(sender, number).unwrap_or(-1);
            assert!(number > last, "{number} of {sender} after {last}");
        }
    }
}

async fn simulate(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let bus = Bus::with_options(BusOptions {
        seed,
        acknowledges: !seed.is_multiple_of(3),
        ..BusOptions::default()
    });
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(Process::new(&bus).await);
    }
    let mut numbers = [0; PROCESSES];
    for _ in 0..STEPS {
        let at = random.usize(..PROCESSES);
        match random.u8(..20) {
            0..3 => processes[at].add_member().await,
            3..5 if !processes[at].members.is_empty() => drop(processes[at].members.swap_remove(0)),
            5 => bus.set_options(BusOptions {
                loses_one_in: Some(5),
                repeats_one_in: Some(5),
                seed,
                ..BusOptions::default()
            }),
            6 => bus.set_options(BusOptions { seed, ..BusOptions::default() }),
            7 => {
                if random.bool() {
                    bus.sever()
                } else {
                    bus.freeze()
                }
                sleep(Duration::from_millis(random.u64(..4000))).await;
                bus.mend();
            }
            8 => sleep(Duration::from_millis(random.u64(..3000))).await,
            _ => {
                let (layer, number) = (processes[at].layer.clone(), numbers[at]);
                numbers[at] += 1;
                let message = Message::new("m").with("sender", at as i64).with("number", number);
                let _ = layer.group_send_message("group", message).await; // the bus may be away
            }
        }
        processes.iter_mut().flat_map(|process| &mut process.members).for_each(Member::drain);
    }
    bus.mend();
    bus.set_options(BusOptions::default());
    sleep(Duration::from_secs(20)).await;
    let message = Message::new("m").with("sender", 99).with("number", 0);
    let _ = processes[0].layer.group_send_message("group", message).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    for process in &mut processes {
        process.members.iter_mut().for_each(|member| {
            member.drain();
            assert!(member.last.contains_key(&99), "every member hears again");
        });
        process.check_events().await;
        assert!(process.layer.hub().ledger().is_balanced());
    }
}

#[test]
fn delivers_in_order_despite_faults() {
    for seed in 0..40 {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        println!("seed {seed}");
        runtime.block_on(simulate(seed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn forged_envelopes_are_harmless(
        forged in prop::collection::vec((0_u8..8, 0_u8..4, prop::collection::vec(any::<u8>(), 0..60)), 1..20),
        sequence in any::<u64>(),
    ) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let bus = Bus::new();
            let mut process = Process::new(&bus).await;
            process.add_member().await;
            let topic_of_process = format!("channels:n:{}", process.layer.process());
            for (kind, topic, rest) in forged {
                let header = Header { publisher: 1, number: 2, sequence, lifetime: Duration::from_secs(60) };
                let mut bytes = envelope::encode(&header, &Target::Probe, None).unwrap();
                bytes[1] = kind;
                bytes.truncate(30);
                bytes.extend(rest);
                bus.inject(["channels:g:group", "channels:c:all", topic_of_process.as_str(), ""][usize::from(topic)], &bytes);
            }
            sleep(Duration::from_secs(1)).await;
            assert!(process.layer.hub().ledger().is_balanced());
            assert!(process.layer.health().await.is_ok());
        });
    }
}
