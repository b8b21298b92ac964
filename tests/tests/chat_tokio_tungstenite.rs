//! The chat from outside: real sockets, tokio-tungstenite as the client, on both lanes.

use std::collections::BTreeMap;
use std::sync::Arc;

use channels_tests::{Ending, Lane, Member, Program, Server, Signal, ask, ask_upgrade, within};
use tokio::sync::Barrier;
use tokio_tungstenite::tungstenite::Message;

/// Defines a test per lane for each function.
macro_rules! on_both_lanes {
    ($($name:ident),* $(,)?) => {
        mod handler_lane {
            $(#[tokio::test] async fn $name() { super::$name(super::Lane::Handler).await; })*
        }
        mod frame_lane {
            $(#[tokio::test] async fn $name() { super::$name(super::Lane::Frame).await; })*
        }
    };
}

on_both_lanes!(
    all_members_and_the_sender_hear_a_message,
    another_room_hears_nothing,
    each_senders_messages_keep_their_order,
    text_arrives_unchanged,
    bad_input_keeps_the_connection,
    bad_input_is_no_news_to_others,
    who_left_is_not_missed,
    sigterm_closes_sockets_with_1001_and_ends_well,
);

async fn all_members_and_the_sender_hear_a_message(lane: Lane) {
    let server = Server::chat(lane).await;
    let mut ann = Member::join(&server, "lobby").await;
    let mut bob = Member::join(&server, "lobby").await;
    ann.say("hello").await;
    assert_eq!(ann.hear().await, "hello");
    assert_eq!(bob.hear().await, "hello");
    bob.say("hello yourself").await;
    assert_eq!(ann.hear().await, "hello yourself");
    assert_eq!(bob.hear().await, "hello yourself");
}

// No waiting for silence: the first message that the other room receives must be one of its members'.
async fn another_room_hears_nothing(lane: Lane) {
    let server = Server::chat(lane).await;
    let mut ann = Member::join(&server, "kitchen").await;
    let mut bob = Member::join(&server, "kitchen2").await;
    ann.say("for the kitchen").await;
    assert_eq!(ann.hear().await, "for the kitchen");
    bob.say("for myself").await;
    assert_eq!(bob.hear().await, "for myself");
    ann.say("again").await;
    assert_eq!(ann.hear().await, "again");
}

// A room may drop messages of a member that reads too slowly, so nobody sends the next 16 messages
// before all members have received all that came before.
async fn each_senders_messages_keep_their_order(lane: Lane) {
    let server = Server::chat(lane).await;
    let listener = Member::join(&server, "order").await;
    let ann = Member::join(&server, "order").await;
    let bob = Member::join(&server, "order").await;
    let turn = Arc::new(Barrier::new(3));
    let ann = tokio::spawn(speak_in_turns(ann, Some("ann"), Arc::clone(&turn)));
    let bob = tokio::spawn(speak_in_turns(bob, Some("bob"), Arc::clone(&turn)));
    let heard = speak_in_turns(listener, None, turn).await;
    let in_order: Vec<_> = (0..TURNS * MESSAGES_A_TURN).collect();
    let expected = BTreeMap::from(["ann", "bob"].map(|name| (name.to_owned(), in_order.clone())));
    assert_eq!(heard, expected);
    assert_eq!(within("the speakers", ann).await.expect("ann hears all"), expected);
    assert_eq!(within("the speakers", bob).await.expect("bob hears all"), expected);
}

const TURNS: usize = 13;
const MESSAGES_A_TURN: usize = 16;

/// Sends `<name> 0`, `<name> 1`, ..., a few in each turn, and returns the numbers that each sender's
/// messages had, in the order received.
async fn speak_in_turns(
    mut member: Member,
    name: Option<&'static str>,
    turn: Arc<Barrier>,
) -> BTreeMap<String, Vec<usize>> {
    let mut heard = BTreeMap::<String, Vec<usize>>::new();
    for first in (0..TURNS).map(|turn| turn * MESSAGES_A_TURN) {
        for number in first..first + MESSAGES_A_TURN {
            if let Some(name) = name {
                member.say(&format!("{name} {number}")).await;
            }
        }
        for _ in 0..2 * MESSAGES_A_TURN {
            let text = member.hear().await;
            let (name, number) = text.split_once(' ').expect("a name and a number");
            heard.entry(name.to_owned()).or_default().push(number.parse().expect("a number"));
        }
        within("the other members' turn", turn.wait()).await;
    }
    heard
}

async fn text_arrives_unchanged(lane: Lane) {
    let texts = [
        "",
        " spaces around ",
        "汉字 עברית العربية हिन्दी",
        "e\u{301} is not \u{e9}",
        "👩‍👩‍👧‍👦 \u{1F1EB}\u{1F1F7} \u{10FFFF}",
        "\u{0}\u{1}\u{7f}\u{85}\u{2028}\u{feff}\r\n\t\"\\/",
        r#"{"message":"not twice decoded \u0041"}"#,
        "<b>&amp;</b>",
    ];
    let server = Server::chat(lane).await;
    let mut ann = Member::join(&server, "words").await;
    let mut bob = Member::join(&server, "words").await;
    for text in texts {
        ann.say(text).await;
        assert_eq!(bob.hear().await, text);
        assert_eq!(ann.hear().await, text);
    }
    // Escapes in the JSON are up to the sender; members receive the text.
    ann.send(Message::text(r#"{"message":"\u6c49\ud83d\ude00\n"}"#)).await;
    assert_eq!(bob.hear().await, "汉😀\n");
    // Browsers send half of a pair when a text was cut between the two.
    ann.send(Message::text(r#"{"message":"half \ud83d"}"#)).await;
    assert_eq!(bob.hear().await, "half \u{fffd}");
}

fn bad_frames() -> Vec<Message> {
    let texts = [
        "",
        "not json",
        "{",
        "null",
        "[]",
        "{}",
        "\"message\"",
        r#"{"text":"x"}"#,
        r#"{"message":7}"#,
        r#"{"message":null}"#,
        r#"{"message":"\ud8"}"#,
        r#"{"message":"x"} trailing"#,
    ];
    let binary: [&[u8]; 3] = [b"", b"{\"message\":\"in binary\"}", &[0xff, 0xfe, 0x00]];
    let binary = binary.into_iter().map(|bytes| Message::binary(bytes.to_vec()));
    texts.into_iter().map(Message::text).chain(binary).collect()
}

async fn bad_input_keeps_the_connection(lane: Lane) {
    let server = Server::chat(lane).await;
    let mut ann = Member::join(&server, "lobby").await;
    for frame in bad_frames() {
        ann.send(frame.clone()).await;
        let error = ann.hear_error().await;
        assert!(!error.is_empty(), "no reason was given for {frame:?}");
        ann.say("still here").await;
        assert_eq!(ann.hear().await, "still here", "after {frame:?}");
    }
}

async fn bad_input_is_no_news_to_others(lane: Lane) {
    let server = Server::chat(lane).await;
    let mut ann = Member::join(&server, "lobby").await;
    let mut bob = Member::join(&server, "lobby").await;
    for frame in bad_frames() {
        ann.send(frame).await;
        ann.hear_error().await;
    }
    ann.say("after all that").await;
    assert_eq!(bob.hear().await, "after all that");
}

async fn who_left_is_not_missed(lane: Lane) {
    let server = Server::chat(lane).await;
    let mut ann = Member::join(&server, "door").await;
    let bob = Member::join(&server, "door").await;
    let eve = Member::join(&server, "door").await;
    assert_eq!(bob.leave().await, Ending::Closed(1000));
    // Without a close frame: the connection is cut.
    drop(eve);
    for text in ["one", "two", "three"] {
        ann.say(text).await;
        assert_eq!(ann.hear().await, text);
    }
}

async fn sigterm_closes_sockets_with_1001_and_ends_well(lane: Lane) {
    let mut server = Server::chat(lane).await;
    let mut ann = Member::join(&server, "lobby").await;
    let bob = Member::join(&server, "another").await;
    ann.say("before").await;
    assert_eq!(ann.hear().await, "before");
    server.program.signal(Signal::TERM);
    assert_eq!(ann.ending().await, Ending::Closed(1001));
    assert_eq!(bob.ending().await, Ending::Closed(1001));
    let status = server.program.wait().await;
    assert_eq!(status.code(), Some(0), "{status}");
}

#[tokio::test]
async fn ctrl_c_ends_it_well_too() {
    let mut server = Server::chat(Lane::Handler).await;
    let ann = Member::join(&server, "lobby").await;
    server.program.signal(Signal::INT);
    assert_eq!(ann.ending().await, Ending::Closed(1001));
    let status = server.program.wait().await;
    assert_eq!(status.code(), Some(0), "{status}");
}

#[tokio::test]
async fn stdout_names_the_address() {
    let mut server = Server::chat(Lane::Handler).await;
    let mut ann = Member::join(&server, "lobby").await;
    ann.send(Message::text("not json")).await;
    ann.hear_error().await;
    server.program.signal(Signal::TERM);
    ann.ending().await;
    server.program.wait().await;
    assert_eq!(server.program.stdout(), format!("chat on http://{}/\n", server.address));
}

#[tokio::test]
async fn error_names_a_busy_port() {
    let holder = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = holder.local_addr().expect("the port is known").to_string();
    let (status, program) = Program::run(Server::chat_command(&address, Lane::Handler)).await;
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    assert!(program.stderr().contains(&address), "stderr: {:?}", program.stderr());
    assert!(!program.stderr().contains("panicked"), "stderr: {:?}", program.stderr());
    assert_eq!(program.stdout(), "");
}

#[tokio::test]
async fn invalid_rooms_get_400() {
    let server = Server::chat(Lane::Handler).await;
    let too_long = "x".repeat(95);
    for room in ["a%20b", "%E6%B1%89", "a!b", "a%0A", "%00", "a%2Fb", "%FF", too_long.as_str()] {
        let answer = ask_upgrade(server.address, &format!("/ws/chat/{room}/"), &[]).await;
        assert_eq!(answer.status, 400, "room {room:?}: {answer:?}");
    }
}

#[tokio::test]
async fn longest_room_name_works() {
    let server = Server::chat(Lane::Handler).await;
    let room = "x".repeat(94);
    let mut ann = Member::join(&server, &room).await;
    ann.say("all letters").await;
    assert_eq!(ann.hear().await, "all letters");
    let mut bob = Member::join(&server, "A-z_0.9").await;
    bob.say("all kinds").await;
    assert_eq!(bob.hear().await, "all kinds");
}

#[tokio::test]
async fn foreign_origins_get_403() {
    let server = Server::chat(Lane::Handler).await;
    let port = server.address.port();
    let foreign = [
        "http://evil.example".to_owned(),
        "null".to_owned(),
        format!("http://127.0.0.1.evil.example:{port}"),
        format!("http://127.0.0.1:{}", port ^ 1),
        format!("http://user@127.0.0.1:{port}"),
        "http://[".to_owned(),
        String::new(),
    ];
    for origin in foreign {
        let header = format!("Origin: {origin}");
        let answer = ask_upgrade(server.address, "/ws/chat/lobby/", &[&header]).await;
        assert_eq!(answer.status, 403, "origin {origin:?}: {answer:?}");
    }
}

#[tokio::test]
async fn accepts_same_host_and_no_origin() {
    let server = Server::chat(Lane::Handler).await;
    let same = format!("Origin: http://{}", server.address);
    let headers: [&[&str]; 2] = [&[&same], &[]];
    for headers in headers {
        let answer = ask_upgrade(server.address, "/ws/chat/lobby/", headers).await;
        assert_eq!(answer.status, 101, "{headers:?}: {answer:?}");
        // The sample key and its answer in RFC 6455, section 1.3.
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }
}

#[tokio::test]
async fn what_has_no_route_is_404() {
    let server = Server::chat(Lane::Handler).await;
    assert_eq!(ask(server.address, "/nope", &[]).await.status, 404);
    assert_eq!(ask(server.address, "/static/nope.js", &[]).await.status, 404);
    assert_eq!(ask_upgrade(server.address, "/ws/nope/", &[]).await.status, 404);
    assert_eq!(ask_upgrade(server.address, "/ws/chat/a/b/", &[]).await.status, 404);
}

#[tokio::test]
async fn pages_and_their_parts_are_served() {
    let server = Server::chat(Lane::Handler).await;
    let parts = [
        ("/", "text/html", "id=\"room-input\""),
        ("/chat/lobby/", "text/html", "id=\"message-input\""),
        ("/static/style.css", "text/css", ":root"),
        ("/static/room.css", "text/css", ".message"),
        ("/static/room.js", "text/javascript", "WebSocket"),
        ("/static/index.js", "text/javascript", "roomFor"),
        ("/static/icon.svg", "image/svg+xml", "<svg"),
    ];
    for (path, kind, mark) in parts {
        let answer = ask(server.address, path, &[]).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let found = answer.header("content-type").unwrap_or_default();
        assert!(found.starts_with(kind), "{path} is {found:?}");
        assert!(answer.body.contains(mark), "{path} has no {mark:?}");
    }
}

#[tokio::test]
async fn a_page_allows_no_foreign_code() {
    let server = Server::chat(Lane::Handler).await;
    for path in ["/", "/chat/lobby/"] {
        let answer = ask(server.address, path, &[]).await;
        let policy = answer.header("content-security-policy").unwrap_or_default();
        let closed = ["default-src 'none'", "default-src 'self'"].iter().any(|rule| policy.contains(rule));
        assert!(closed, "{path}: {policy:?}");
        assert!(!policy.contains("unsafe-") && !policy.contains('*'), "{path}: {policy:?}");
    }
}

#[tokio::test]
async fn form_leads_to_the_room() {
    let server = Server::chat(Lane::Handler).await;
    let answer = ask(server.address, "/?num=lobby", &[]).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    assert_eq!(answer.header("location"), Some("/chat/lobby/"));
}

// User input must not become a header line or another host.
#[tokio::test]
async fn the_form_redirects_nowhere_else() {
    let server = Server::chat(Lane::Handler).await;
    for room in ["%2F%2Fevil.example", "..%2F..%2F", "a%0D%0ASet-Cookie:%20a=b", "a%20b", ""] {
        let answer = ask(server.address, &format!("/?num={room}"), &[]).await;
        assert!(answer.header("set-cookie").is_none(), "room {room:?}: {answer:?}");
        let location = answer.header("location").unwrap_or_default();
        let inside = location.strip_prefix("/chat/").is_some_and(|rest| {
            let room = rest.strip_suffix('/').unwrap_or(rest);
            !room.contains('/') && !room.contains("..")
        });
        assert!(location.is_empty() || inside, "room {room:?}: {answer:?}");
        assert!(answer.status < 500, "room {room:?}: {answer:?}");
    }
}
