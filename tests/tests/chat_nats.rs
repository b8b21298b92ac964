//! The chat in two processes over NATS, without faults and when the server dies.

use channels_tests::{Lane, Member, Server};

use self::nats_faults::{Deployment, Fault, Nats};

#[path = "long/redis_faults"]
mod redis_faults {
    pub(crate) mod member;
    // The rest of these is used by the layer's tests.
    #[allow(dead_code)]
    #[path = "../../../../channel-layer-redis/tests/support/process.rs"]
    pub(crate) mod process;
    #[allow(dead_code)]
    #[path = "../../../../channel-layer-redis/tests/support/proxy.rs"]
    pub(crate) mod proxy;
    pub(crate) mod report;
}
#[path = "long/nats_faults/mod.rs"]
mod nats_faults;

const MESSAGES: usize = 50;

#[tokio::test]
async fn nats_chats_hear_each_other() {
    let nats = Nats::start();
    for lane in [Lane::Handler, Lane::Frame] {
        let servers = [
            Server::chat_with_layer(&nats.address(), lane).await,
            Server::chat_with_layer(&nats.address(), lane).await,
        ];
        let mut members = Vec::new();
        for n in 0..4 {
            members.push(Member::join(&servers[n % 2], "lobby").await);
        }
        for n in 0..MESSAGES {
            members[0].say(&format!("a {n}")).await;
            members[1].say(&format!("b {n}")).await;
        }
        for member in &mut members {
            let mut heard = Vec::new();
            for _ in 0..2 * MESSAGES {
                heard.push(member.hear().await);
            }
            for sender in ["a", "b"] {
                let of_sender: Vec<_> =
                    heard.iter().filter(|text| text.starts_with(sender)).cloned().collect();
                let sent: Vec<_> = (0..MESSAGES).map(|n| format!("{sender} {n}")).collect();
                assert_eq!(of_sender, sent);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_outlive_nats_faults() {
    Deployment::open(20).await.live_through(&[Fault::Restart, Fault::Freeze]).await;
}
