//! The documentation's test of a WebSocket: its lines are those of `tests_a_socket`.

use ws_consumer::testing::TestApp;

async fn tests_a_socket() {
    let mut client = TestApp::new(crate::support::echo).websocket("/testws/");
    client.connect().await.expect("accepted");
    client.send_to("hello").await;
    client.assert_sent("hello").await;
    client.disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn a_test_is_short() {
    tests_a_socket().await;
}
