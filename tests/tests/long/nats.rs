//! The chat on NATS through every fault of the server.

use crate::nats_faults::{Deployment, Fault};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_live_through_nats_faults() {
    let mut deployment = Deployment::open(200).await;
    for _ in 0..3 {
        deployment.live_through(Fault::ALL).await;
    }
}
