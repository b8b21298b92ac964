//! The echo server: frames of all kinds and sizes, by two clients.

use channels_tests::{Ending, Member, Server, Signal, verdict};
use tokio_tungstenite::tungstenite::Message;

const MIB: usize = 1 << 20;

async fn assert_echoed(member: &mut Member, message: Message) {
    member.send(message.clone()).await;
    let echo = member.receive().await;
    // The sizes first: a failure must not print megabytes.
    assert_eq!((echo.len(), echo.is_text()), (message.len(), message.is_text()));
    assert!(echo == message, "the content of {} bytes changed", message.len());
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8).collect()
}

fn text(length: usize) -> String {
    let mut text = "汉é🎉a".repeat(length / 10);
    text.push_str(&"x".repeat(length - text.len()));
    text
}

#[tokio::test]
async fn echoes_text_and_binary() {
    let server = Server::echo(MIB).await;
    let mut member = Member::connect(&server, "/").await;
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
        assert_echoed(&mut member, Message::binary(bytes(length))).await;
        assert_echoed(&mut member, Message::text(text(length))).await;
    }
}

#[tokio::test]
async fn signal_closes_with_1001() {
    let mut server = Server::echo(MIB).await;
    let member = Member::connect(&server, "/").await;
    server.program.signal(Signal::TERM);
    assert_eq!(member.ending().await, Ending::Closed(1001));
    assert!(server.program.wait().await.success());
}

#[tokio::test]
async fn small_messages_keep_order() {
    let server = Server::echo(MIB).await;
    let mut member = Member::connect(&server, "/").await;
    for round in 0..20 {
        for number in 0..50 {
            member.send(Message::text(format!("{round} {number}"))).await;
        }
        for number in 0..50 {
            assert_eq!(member.receive().await, Message::text(format!("{round} {number}")));
        }
    }
}

#[tokio::test]
async fn echoes_one_and_sixteen_mebibytes() {
    let server = Server::echo(16 * MIB).await;
    let mut member = Member::connect(&server, "/").await;
    for length in [MIB, 16 * MIB] {
        assert_echoed(&mut member, Message::binary(bytes(length))).await;
        assert_echoed(&mut member, Message::text(text(length))).await;
    }
    assert_eq!(member.leave().await, Ending::Closed(1000));
}

#[tokio::test]
async fn one_byte_over_the_limit_is_1009() {
    let server = Server::echo(1000).await;
    let mut member = Member::connect(&server, "/").await;
    assert_echoed(&mut member, Message::binary(bytes(1000))).await;
    assert_echoed(&mut member, Message::text(text(1000))).await;
    member.send(Message::binary(bytes(1001))).await;
    assert_eq!(member.ending().await, Ending::Closed(1009));
    let mut another = Member::connect(&server, "/").await;
    another.send(Message::text(text(1001))).await;
    assert_eq!(another.ending().await, Ending::Closed(1009));
}

#[tokio::test]
async fn oversize_disturbs_no_other_client() {
    let server = Server::echo(1000).await;
    let mut quiet = Member::connect(&server, "/").await;
    let mut loud = Member::connect(&server, "/").await;
    loud.send(Message::binary(bytes(1001))).await;
    assert_eq!(loud.ending().await, Ending::Closed(1009));
    assert_echoed(&mut quiet, Message::text("still here")).await;
}

#[tokio::test]
async fn python_websockets_is_content() {
    let server = Server::echo(16 * MIB).await;
    let checks = [
        "text and binary come back",
        "empty messages come back",
        "fragments are one message",
        "1 MiB comes back",
        "16 MiB come back",
        "the close code is 1000",
        "over the limit is 1009",
        "fragments over the limit are 1009",
    ];
    let limited = Server::echo(1000).await;
    verdict("echo_client.py", &[server.ws("/"), limited.ws("/"), "1000".to_owned()], &checks).await;
}
