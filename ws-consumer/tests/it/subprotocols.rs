//! The subprotocols and the path of a request are the same for an application over every transport.

use std::sync::Arc;

use channel_layer::MemoryLayer;
use ws_consumer::{
    Accept, Limits, Result, Resume, Router, Socket, Transport,
    middleware::{Guard, GuardRequest, UserId},
};

use crate::support::{
    Server,
    sessions::{ALL, SessionClient},
};

/// Accepts the last offer, and sends the offers.
async fn tell(mut socket: Socket) -> Result<()> {
    let scope = socket.scope();
    let offers: Vec<_> = scope.subprotocols().map(str::to_owned).collect();
    let told = format!("{} {} {:?} {offers:?}", scope.path(), scope.raw_path(), scope.uri.query());
    let mut accept = Accept::default();
    accept.subprotocol = offers.last().cloned();
    socket.accept_with(accept).await?;
    socket.send_text(told).await?;
    while socket.next().await?.is_some() {}
    Ok(())
}

async fn told(
    server: &Server,
    path: &str,
    offers: &[&str],
    transport: Transport,
) -> (String, Option<String>) {
    let mut client = SessionClient::new(&server.service, path);
    if transport == Transport::WebSocket {
        let offers = [&["channels.v1"], offers].concat().join(", ");
        client.headers.push(("sec-websocket-protocol", offers));
    } else if !offers.is_empty() {
        let names = offers.iter().map(|name| {
            let name = name.replace('%', "%25").replace('+', "%2B").replace('#', "%23");
            format!("protocol={}", name.replace('&', "%26"))
        });
        let sign = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{sign}{}", names.collect::<Vec<_>>().join("&"));
        client = SessionClient::new(&server.service, &path);
    }
    client.connect(transport).await.expect("let in");
    let text = client.text().await;
    (text, client.open["protocol"].as_str().map(str::to_owned))
}

#[tokio::test(start_paused = true)]
async fn offers_are_equal_on_all_transports() {
    let layer = Arc::new(MemoryLayer::default());
    let router = Router::new().application("/{rest:path}", tell);
    let server = Server::with_sessions(router, &layer, Resume::default(), Limits::default());
    for transport in ALL {
        for (path, offers, expected) in [
            ("/x", &["v3.chat", "v2.chat"][..], r#"/x /x None ["v3.chat", "v2.chat"]"#),
            ("/x?a=1", &["chat+json"], r#"/x /x Some("a=1") ["chat+json"]"#),
            ("/x", &[], "/x /x None []"),
            ("/x", &["a%2Bb", "x|y~z'`!#$&*^_.-"], r#"/x /x None ["a%2Bb", "x|y~z'`!#$&*^_.-"]"#),
            ("/x?protocols=1&=", &["v1", "v1.1"], r#"/x /x Some("protocols=1&=") ["v1", "v1.1"]"#),
            ("/a%20b%2Fc", &["v1"], r#"/a b/c /a%20b%2Fc None ["v1"]"#),
            ("/%E6%B1%89?q=%20", &[], "/\u{6c49} /%E6%B1%89 Some(\"q=%20\") []"),
        ] {
            let (text, chosen) = told(&server, path, offers, transport).await;
            assert_eq!(text, expected, "{transport:?}");
            assert_eq!(chosen.as_deref(), offers.last().copied(), "{transport:?}");
        }
    }
}

/// Reads the user's name after a marker, as a guard reads a token.
struct Marked;

impl Guard for Marked {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), ws_consumer::Refuse> {
        let offers =
            request.header("sec-websocket-protocol").unwrap_or_default().replace("channels.v1, ", "");
        let user = offers.strip_prefix("marker, ").unwrap_or("nobody").to_owned();
        assert!(request.uri.query().is_none(), "what may be a secret is in one place only");
        request.extensions.insert(UserId(user.into()));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn guards_see_offers() {
    async fn name(mut socket: Socket) -> Result<()> {
        socket.accept().await?;
        let name = socket.scope().user_id().unwrap_or("nobody").to_owned();
        socket.send_text(name).await?;
        while socket.next().await?.is_some() {}
        Ok(())
    }
    let layer = Arc::new(MemoryLayer::default());
    let server = Server::with_sessions(Marked.around(name), &layer, Resume::default(), Limits::default());
    for transport in ALL {
        let (user, _) = told(&server, "/", &["marker", "ann"], transport).await;
        assert_eq!(user, "ann", "{transport:?}");
    }
}
