//! The documentation's tour of a `WebsocketConsumer`: a group, a subprotocol, both kinds of frames, a close code. As a function, for a
//! connection that needs no hooks.

use ws_consumer::{Close, Result, Socket, testing::TestApp};

async fn tour(mut socket: Socket) -> Result<()> {
    socket.group_add("broadcast").await?;
    socket.accept_with("subprotocol").await?;
    while socket.next().await?.is_some() {
        socket.send_text("Hello world!").await?;
        socket.send_bytes("Hello world!").await?;
        socket.close(4123).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_tour_of_a_connection() {
    let mut client = TestApp::new(tour).websocket("/").with_subprotocols(&["other", "subprotocol"]);
    assert_eq!(client.connect().await.unwrap().subprotocol.as_deref(), Some("subprotocol"));
    client.send_to("anything").await;
    client.assert_sent("Hello world!").await;
    client.assert_sent(&b"Hello world!"[..]).await;
    assert_eq!(client.receive_close().await, Close::from(4123));
    client.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_subprotocol_must_be_offered() {
    let mut client = TestApp::new(tour).websocket("/");
    assert_eq!(client.connect().await.unwrap_err().status, 500);
}
