//! The client's address, wherever a server knows it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::ServiceExt;
use channel_layer::MemoryLayer;
use http::StatusCode;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async,
    tungstenite::{Error, client::IntoClientRequest},
};
use ws_consumer::{
    Application, NotFound, Protocols, Result, Resume, Scope, Socket, SocketService,
    middleware::{Guard, Limiter, Rate, TrustedProxies},
    serve_connection, serve_connection_from,
    testing::WebsocketCommunicator,
};

use crate::support::ways::Way;

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn hold(mut socket: Socket) -> Result<()> {
    if !socket.is_websocket() {
        return socket.refuse(StatusCode::NO_CONTENT).await;
    }
    socket.accept().await?;
    while socket.next().await?.is_some() {}
    Ok(())
}

fn service(application: impl Application, trusted: &[&str]) -> SocketService<NotFound> {
    Protocols::new()
        .both(application)
        .trust(TrustedProxies::new(trusted).expect("addresses"))
        .resume(Resume::default())
        .into_service(Arc::new(MemoryLayer::default()))
}

async fn opened(at: SocketAddr, told: Option<&str>) -> Result<Client, u16> {
    let mut request = format!("ws://{at}/").into_client_request().expect("an address");
    if let Some(told) = told {
        request.headers_mut().insert("x-forwarded-for", told.parse().expect("a header's value"));
    }
    match connect_async(request).await {
        Ok((client, _)) => Ok(client),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

/// In axum, as a fallback, with or without the addresses of peers.
async fn in_axum(service: SocketService<NotFound>, with_addresses: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    let app = axum::Router::<()>::new().fallback_service(service);
    tokio::spawn(async move {
        match with_addresses {
            true => axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await,
            false => {
                axum::serve(listener, ServiceExt::<http::Request<axum::body::Body>>::into_make_service(app))
                    .await
            }
        }
    });
    at
}

#[tokio::test]
async fn axum_counts_addresses() {
    let at = in_axum(service(Limiter::new().connections_per_address(1).around(hold), &[]), true).await;
    let first = opened(at, None).await.expect("let in");
    assert_eq!(opened(at, Some("1.2.3.4")).await.err(), Some(429), "nobody's word is believed");
    drop(first);
    while let Err(status) = opened(at, None).await {
        assert_eq!(status, 429);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn proxied_axum_counts_clients() {
    let at =
        in_axum(service(Limiter::new().connections_per_address(1).around(hold), &["127.0.0.1"]), true).await;
    let _first = opened(at, Some("1.2.3.4")).await.expect("let in");
    let _other = opened(at, Some("1.2.3.5")).await.expect("let in");
    assert_eq!(opened(at, Some("9.9.9.9, 1.2.3.4")).await.err(), Some(429));
}

#[tokio::test]
async fn address_limits_need_an_address() {
    let rate = || Rate::per_second(100);
    for limits in [
        Limiter::new().connections_per_address(9),
        Limiter::new().messages_per_address(rate()),
        Limiter::new().bytes_per_address(rate()),
    ] {
        let service = service(limits.around(hold), &[]);
        for way in Way::ALL {
            assert_eq!(way.status(&service, None, "/", &[("host", b"test")]).await, 500, "{way:?}");
            assert_eq!(
                way.status(&service, Some("1.2.3.4:5"), "/", &[("host", b"test")]).await,
                200,
                "{way:?}"
            );
        }
    }
    let at = in_axum(service(Limiter::new().connections_per_address(9).around(hold), &[]), false).await;
    assert_eq!(opened(at, None).await.err(), Some(500));
    let other = service(Limiter::new().messages_per_user(rate()).around(hold), &[]);
    assert_eq!(Way::WebSocket.status(&other, None, "/", &[("host", b"test")]).await, 200);
}

#[tokio::test]
async fn unix_sockets_may_be_proxies() {
    let service = service(Limiter::new().messages_per_address(Rate::per_minute(1)).around(hold), &["unix:"]);
    for (told, status) in [("1.2.3.4", 200), ("1.2.3.4", 429), ("1.2.3.5", 200)] {
        let headers = [("x-forwarded-for", told.as_bytes())];
        assert_eq!(Way::Post.status(&service, None, "/", &headers).await, status, "{told}");
    }
    assert_eq!(Way::Post.status(&service, None, "/", &[]).await, 200, "the machine itself");
    assert_eq!(Way::Post.status(&service, None, "/", &[]).await, 429);
}

#[tokio::test]
async fn test_clients_have_an_address() {
    let limits = Limiter::new().connections_per_address(1);
    let application: Arc<dyn Application> = Arc::new(limits.around(hold));
    let mut first = WebsocketCommunicator::new(application.clone(), "/");
    assert!(first.connect().await.is_ok());
    let mut second = WebsocketCommunicator::new(application, "/");
    assert_eq!(second.connect().await.unwrap_err().status, 429);
}

/// Returns a service, and the peers and clients that its application sees.
fn telling(trusted: &[&str]) -> (SocketService<NotFound>, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let application = move |socket: Socket| {
        let Scope { peer, .. } = socket.scope();
        let line = format!("{:?} {:?}", peer.map(|peer| peer.ip()), socket.scope().client());
        tell.lock().expect("no panic").push(line);
        hold(socket)
    };
    (service(application, trusted), told)
}

#[tokio::test]
async fn scopes_have_peer_and_client() {
    let (service, told) = telling(&["10.0.0.0/8"]);
    for way in Way::ALL {
        let headers = [("host", &b"test"[..]), ("x-forwarded-for", b"6.6.6.6, 1.2.3.4")];
        for (peer, expected) in [
            (Some("10.0.0.1:1"), "Some(10.0.0.1) Some(1.2.3.4)"),
            (Some("9.9.9.9:1"), "Some(9.9.9.9) Some(9.9.9.9)"),
            (None, "None None"),
        ] {
            assert_eq!(way.status(&service, peer, "/", &headers).await, 200, "{way:?}");
            assert_eq!(told.lock().expect("no panic").pop().as_deref(), Some(expected), "{way:?}");
        }
    }
}

#[tokio::test]
async fn custom_connections_have_addresses() {
    let (service, told) = telling(&[]);
    for (with, expected) in [(true, "Some(1.2.3.4) Some(1.2.3.4)"), (false, "None None")] {
        let (client, server) = tokio::io::duplex(4096);
        let (service, peer) = (service.clone(), "1.2.3.4:5".parse().expect("an address"));
        tokio::spawn(async move {
            match with {
                true => serve_connection_from(server, peer, service).await,
                false => serve_connection(server, service).await,
            }
        });
        client_async("ws://test/", client).await.expect("let in");
        assert_eq!(told.lock().expect("no panic").pop().as_deref(), Some(expected));
    }
}
