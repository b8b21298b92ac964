//! The chat judged by Python's `websockets`.

use channels_tests::{Lane, Server, verdict};

const CHECKS: [&str; 9] = [
    "a message reaches both",
    "100 messages keep their order",
    "fragments are one message",
    "a ping is answered",
    "a message of 200 KB arrives whole",
    "an empty message arrives",
    "bad input is answered",
    "compression may be offered",
    "the close code is 1000",
];

#[tokio::test]
async fn python_client_on_the_event_lane() {
    judge(Lane::Handler).await;
}

#[tokio::test]
async fn python_client_on_the_frame_lane() {
    judge(Lane::Frame).await;
}

async fn judge(lane: Lane) {
    let server = Server::chat(lane).await;
    verdict("chat_client.py", &[server.ws("/ws/chat/python/")], &CHECKS).await;
}
