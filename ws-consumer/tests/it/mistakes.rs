//! The cause of a call that cannot be carried out: the server, unless the client's texts made it invalid.

use channel_layer::{ChannelLayerExt, GroupName};
use serde::Deserialize;
use serde_json::json;
use ws_consumer::{Consumer, Error, Frame, NoEvents, Result, Router, Socket};

use crate::support::Server;

const TOO_LONG: &str =
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

#[derive(Deserialize)]
struct Join {
    room: String,
}

/// Makes the mistake that the frame names.
async fn mistake(socket: &mut Socket, what: &str) -> Result<()> {
    match what {
        "group_add" => socket.group_add("no spaces").await,
        "group_add owned" => socket.group_add(String::from("no/slashes")).await,
        "group_discard" => socket.group_discard("no spaces").await,
        "empty" => socket.group_add("").await,
        "long" => socket.group_add(TOO_LONG).await,
        "mark" => socket.group_send("a!b", &json!({ "type": "x" })).await,
        "number" => socket.group_send("g", &5).await,
        "number pipelined" => socket.group_send_pipelined("g", &5).await,
        "list" => socket.group_send("g", &[1]).await,
        "key" => socket.group_send_json("g", &std::collections::HashMap::from([((1, 2), 3)])).await,
        "send_to" => {
            let channel = socket.channel().await?.clone();
            socket.send_to(&channel, &5).await
        }
        "submit" => socket.submit("work", &5).await,
        "submit name" => socket.submit("no spaces", &json!({ "type": "x" })).await,
        "send_json" => socket.send_json(&std::collections::HashMap::from([((1, 2), 3)])).await,
        "layer" => Ok(socket.layer().clone().group_send_event("no spaces", &5).await.map(drop)?),
        "accept" => socket.accept().await,
        other => panic!("{other}"),
    }
}

const MISTAKES: [&str; 15] = [
    "group_add",
    "group_add owned",
    "group_discard",
    "empty",
    "long",
    "mark",
    "number",
    "number pipelined",
    "list",
    "key",
    "send_to",
    "submit",
    "submit name",
    "send_json",
    "layer",
];

/// Makes the mistake that its URL names in `connect`, or a frame after `do `; joins the room named after
/// `join`.
#[derive(Default)]
struct Clumsy;

impl Consumer for Clumsy {
    type Event = NoEvents;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let what = socket.scope().param("what")?.to_owned();
        match what.strip_prefix("join ") {
            Some(room) => socket.group_add(format!("chat_{room}")).await?,
            None if what != "accept" => return mistake(socket, &what).await,
            None => {}
        }
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        if let Some(what) = frame.text()?.strip_prefix("do ") {
            return mistake(socket, what).await;
        }
        let room = match frame.json::<Join>() {
            Ok(Join { room }) => room,
            Err(_) => frame.text()?.trim_start_matches("/join ").to_owned(),
        };
        socket.group_add(room).await?;
        socket.send_text("joined").await
    }
}

fn server() -> Server {
    Server::new(Router::new().consumer("/{what}", Clumsy::default))
}

#[tokio::test]
async fn server_faults_are_500_and_1011() {
    for what in MISTAKES {
        let server = server();
        // What needs an accepted socket fails for that reason, which is the server's fault as well.
        assert_eq!(server.refusal(&format!("/{}", what.replace(' ', "%20"))).await, 500, "{what}");
        let mut client = server.connect("/accept").await;
        client.send(&format!("do {what}")).await;
        assert_eq!(client.close_code().await, 1011, "{what}");
    }
}

#[tokio::test]
async fn client_names_are_client_faults() {
    let long = "x".repeat(200);
    for room in ["no%20spaces", "%E6%B1%89", "a%2Fb", "a!b", &long] {
        assert_eq!(server().refusal(&format!("/join%20{room}")).await, 400, "{room}");
    }
    let mut client = server().connect("/accept").await;
    for frame in [
        json!({ "room": "no spaces" }).to_string(),
        json!({ "room": "" }).to_string(),
        json!({ "room": "汉" }).to_string(),
        r#"{ "room": "\u6c49" }"#.to_owned(),
        r#"{ "room": "\ud83d" }"#.to_owned(),
        json!({ "room": long }).to_string(),
        json!({ "room": "a!b", "more": [{ "deep": "a" }] }).to_string(),
        "/join no spaces".to_owned(),
        "/join a/b".to_owned(),
        "汉".to_owned(),
    ] {
        client.send(&frame).await;
        assert!(client.text().await.starts_with(r#"{"error":"a name "#), "{frame}");
    }
    client.send(r#"{ "room": "lobby" }"#).await;
    assert_eq!(client.text().await, "joined");
}

#[tokio::test]
async fn earlier_frames_excuse_nothing() {
    let mut client = server().connect("/accept").await;
    client.send(r#"{ "room": "no spaces" }"#).await;
    assert!(client.text().await.contains("error"));
    client.send("do group_add").await;
    assert_eq!(client.close_code().await, 1011);
}

#[tokio::test]
async fn input_names_are_checked() {
    #[derive(Deserialize)]
    struct Named {
        group: GroupName,
    }
    async fn read(mut socket: Socket) -> Result<()> {
        socket.accept().await?;
        while let Some(input) = socket.next().await? {
            let ws_consumer::Input::Frame(frame) = input else { continue };
            let outcome = frame.json::<Named>().map(|named| named.group);
            let outcome = outcome.or_else(|_| Ok::<_, Error>(frame.text()?.parse::<GroupName>()?));
            let fault =
                outcome.map_or_else(|error| format!("{:?}", error.fault()), |group| group.to_string());
            socket.send_text(fault).await?;
        }
        Ok(())
    }
    let mut client = Server::new(read).connect("/").await;
    for (said, heard) in [
        (r#"{"group":"lobby"}"#, "lobby"),
        (r#"{"group":"no spaces"}"#, "Client"),
        ("lobby", "lobby"),
        ("no spaces", "Client"),
    ] {
        client.send(said).await;
        assert_eq!(client.text().await, heard, "{said}");
    }
}

#[tokio::test]
async fn error_hook_sees_the_location() {
    struct Curious;
    impl Consumer for Curious {
        type Event = NoEvents;
        async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
            mistake(socket, frame.text()?).await
        }
        async fn error(&mut self, socket: &mut Socket, error: Error) -> Result<()> {
            let Error::Misuse(misuse) = &error else { return Err(error) };
            let told = format!("{} {}", misuse.call(), misuse.location().file());
            socket.send_text(told).await
        }
    }
    let mut client = Server::new(ws_consumer::consumer(|| Curious)).connect("/").await;
    for (what, call) in [
        ("group_add", "group_add"),
        ("number", "group_send"),
        ("number pipelined", "group_send_pipelined"),
        ("submit", "submit"),
        ("send_json", "json"),
    ] {
        client.send(what).await;
        let told = client.text().await;
        assert!(told.starts_with(&format!("{call} ")) && told.ends_with("mistakes.rs"), "{told}");
    }
}
