//! Content and size: a message arrives as it was sent, by every path.

use super::{
    Harness, Verdict,
    fixture::{Fixture, Route},
    path::{Kind, Path},
};
use crate::{
    error::{Causes, Error},
    message::Message,
    value::{Map, Value},
};

/// The bytes reserved for the names, the type and the envelope around a payload.
const OVERHEAD: usize = 1024;

variants! {
    /// Every kind of value arrives in a mailbox.
    values_arrive = every_value(Route::Local, Kind::Mailbox);
    /// Every kind of value arrives in a mailbox of a peer.
    values_arrive_at_a_peer = every_value(Route::Peer, Kind::Mailbox);
    /// Every kind of value arrives in a group.
    values_arrive_in_a_group = every_value(Route::Local, Kind::Group);
    /// Every kind of value arrives at a group's members in a peer.
    values_arrive_in_a_remote_group = every_value(Route::Peer, Kind::Group);
    /// Every kind of value arrives in a union of groups.
    values_arrive_in_a_union = every_value(Route::Local, Kind::Union);
    /// Every kind of value arrives at the members of a union in a peer.
    values_arrive_in_a_remote_union = every_value(Route::Peer, Kind::Union);
    /// Every kind of value arrives on a named channel.
    values_arrive_on_a_name = every_value(Route::Local, Kind::Named);
    /// Every kind of value arrives on a named channel that a peer receives from.
    values_arrive_on_a_remote_name = every_value(Route::Peer, Kind::Named);
    /// A message of 1 MiB arrives in a mailbox.
    a_mebibyte_arrives = a_mebibyte(Route::Local, Kind::Mailbox);
    /// A message of 1 MiB arrives in a mailbox of a peer.
    a_mebibyte_arrives_at_a_peer = a_mebibyte(Route::Peer, Kind::Mailbox);
    /// A message of 1 MiB arrives in a group.
    a_mebibyte_arrives_in_a_group = a_mebibyte(Route::Local, Kind::Group);
    /// A message of 1 MiB arrives at a group's members in a peer.
    mebibytes_arrive_in_remote_groups = a_mebibyte(Route::Peer, Kind::Group);
    /// A message of 1 MiB arrives on a named channel.
    a_mebibyte_arrives_on_a_name = a_mebibyte(Route::Local, Kind::Named);
    /// A message of 1 MiB arrives on a named channel that a peer receives from.
    mebibytes_arrive_on_remote_names = a_mebibyte(Route::Peer, Kind::Named);
    /// A mailbox of a peer takes a message of the largest size. A larger one is refused before it is sent.
    size_limit_of_mailboxes = the_size_limit(Kind::Mailbox);
    /// A group takes a message of the largest size. A larger one is refused before it is sent.
    size_limit_of_groups = the_size_limit(Kind::Group);
    /// A union takes a message of the largest size. A larger one is refused before it is sent.
    size_limit_of_unions = the_size_limit(Kind::Union);
    /// A named channel takes a message of the largest size. A larger one is refused before it is sent.
    size_limit_of_names = the_size_limit(Kind::Named);
}

/// Sends each value separately first, so that a failure names it, then all of them in one message.
async fn every_value(harness: &dyn Harness, route: Route, kind: Kind) -> Verdict {
    let mut path = Path::open(Fixture::new(harness).await, route, kind).await?;
    let all = Map::from(values());
    for (name, value) in all.iter().chain([("all", &Value::Map(all.clone()))]) {
        let message = Message::new("every.value").with(name, value.clone());
        path.send(message.clone()).await.expect("the message is taken");
        assert_same(&path.next().await, &message);
    }
    path.silent().await;
    Ok(())
}

fn values() -> [(&'static str, Value); 14] {
    let nested = (0..16).fold(Value::list(["innermost"]), |inner, depth: i64| {
        Value::Map(Map::from([("depth", Value::from(depth)), ("inner", Value::List(vec![inner]))]))
    });
    let floats = [-0.5, 0.0, -0.0, 1.0, 0.1, f64::MIN, f64::MAX, f64::MIN_POSITIVE, f64::EPSILON, 5e-324];
    [
        ("null", Value::Null),
        ("truth", Value::list([true, false])),
        ("bounds", Value::list([i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX, (1 << 53) + 1])),
        (
            "steps",
            Value::list([-129_i64, -128, -33, -32, -1, 0, 127, 128, 255, 256, 65_535, 65_536, 1 << 32]),
        ),
        ("unsigned", Value::list([u64::MAX, u64::MAX - 1, 1 << 63])),
        ("floats", Value::list(floats)),
        ("text", Value::list(["", " ", "\0", "\"\\\r\n", "汉字", "🦀", "e\u{301}", "\u{202e}", "\u{feff}"])),
        ("long text", Value::from("é".repeat(40_000))),
        ("bytes", Value::bytes((0..=255).collect::<Vec<u8>>())),
        ("no bytes", Value::bytes([])),
        ("empty", Value::List(vec![Value::List(Vec::new()), Value::Map(Map::new())])),
        ("many", Value::list(0..1_000_i64)),
        ("nested", nested),
        ("", Value::Map(Map::from([("", Value::Null), ("ключ", Value::from(1)), ("type", Value::from(2))]))),
    ]
}

/// Compares with `assert_eq`, except that floats must have equal bits, and that a failure prints only a part.
fn assert_same(received: &Message, sent: &Message) {
    let [got, wanted] = [received, sent].map(|message| format!("{:?}", message.map()));
    let same = received.map() == sent.map() && got == wanted;
    let cut = |text: &str| text.chars().take(300).collect::<String>();
    assert!(same, "the message was changed: {} was sent, {} arrived", cut(&wanted), cut(&got));
}

/// Sends text and bytes, so that the complete message with its envelope has at most 1 MiB.
async fn a_mebibyte(harness: &dyn Harness, route: Route, kind: Kind) -> Verdict {
    let mut path = Path::open(Fixture::roomy(harness).await, route, kind).await?;
    for message in
        [large((1 << 20) - OVERHEAD), Message::new("large").with("bytes", bytes((1 << 20) - OVERHEAD))]
    {
        path.send(message.clone()).await.expect("the message is taken");
        assert_same(&path.next().await, &message);
    }
    path.silent().await;
    Ok(())
}

async fn the_size_limit(harness: &dyn Harness, kind: Kind) -> Verdict {
    let here = Fixture::roomy(harness).await;
    let limit = here.size_limit()?;
    assert!(limit >= 1 << 20, "a limit below 1 MiB");
    let mut path = Path::open(here, Route::Peer, kind).await?;
    let allowed = large(limit - OVERHEAD);
    for size in [limit + 1, limit * 2] {
        match path.send(large(size)).await {
            Err(error @ Error::InvalidMessage(_)) => assert_names_two_sizes(&Causes(&error).to_string()),
            other => panic!("a message above the limit must be invalid, and is {other:?}"),
        }
        path.send(allowed.clone()).await.expect("the message is taken");
        assert_same(&path.next().await, &allowed);
    }
    path.silent().await;
    Ok(())
}

fn assert_names_two_sizes(text: &str) {
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|word| word.len() > 5).count();
    assert!(numbers >= 2, "`{text}` names the size of the message and the limit");
}

fn large(size: usize) -> Message {
    Message::new("large").with("text", "x".repeat(size))
}

fn bytes(size: usize) -> Value {
    Value::bytes((0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>())
}
