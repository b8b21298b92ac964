//! Each way to mount sockets, tested with a foreign client.

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::*;
use ws_consumer::listen;

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn start() -> (SocketAddr, [Connections; 3]) {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (app, sockets) = app(&TrustedProxies::default());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, sockets)
}

async fn connect(address: SocketAddr, path: &str) -> Client {
    connect_async(format!("ws://{address}{path}")).await.unwrap().0
}

async fn text(client: &mut Client) -> String {
    client.next().await.unwrap().unwrap().into_text().unwrap().as_str().to_owned()
}

#[tokio::test]
async fn routes_share_axum_state() {
    let (address, sockets) = start().await;
    let (mut one, mut two) = (connect(address, "/votes").await, connect(address, "/votes").await);
    for (n, voter) in ["1", "2"].into_iter().zip([true, false]) {
        let client = if voter { &mut one } else { &mut two };
        client.send(Message::text("yes")).await.unwrap();
        assert_eq!((text(&mut one).await, text(&mut two).await), (n.to_owned(), n.to_owned()));
    }
    let closing = tokio::spawn(async move { sockets[0].close().await });
    let Some(Ok(Message::Close(Some(close)))) = one.next().await else { panic!("no close") };
    assert_eq!(u16::from(close.code), 1001);
    while let Some(Ok(_)) = one.next().await {}
    while let Some(Ok(_)) = two.next().await {}
    closing.await.unwrap();
}

#[tokio::test]
async fn nested_routers_see_their_path() {
    let (address, _) = start().await;
    assert_eq!(text(&mut connect(address, "/ws/hello").await).await, "hello");
    assert!(connect_async(format!("ws://{address}/ws/nope")).await.is_err());
}

#[tokio::test]
async fn fallback_serves_sockets() {
    let (address, _) = start().await;
    assert_eq!(text(&mut connect(address, "/live/%E6%B1%89").await).await, "汉");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("the page"), "{page}");
}

/// Sends a request, and returns the beginning of the answer and the connection.
async fn ask(address: SocketAddr, request: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    (stream, String::from_utf8_lossy(&answer[..read]).into_owned())
}

#[tokio::test]
async fn partial_requests_do_not_delay_exit() {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (app, sockets) = app(&TrustedProxies::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server =
        tokio::spawn(serve(listener, app, sockets, async { _ = stopped.await }, Duration::from_millis(20)));
    // Accepted in this order: once the second is answered, the first is being read.
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    let (_whole, answer) = ask(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(stop);
    server.await.unwrap().unwrap();
    drop(half);
}

#[tokio::test]
async fn shutdown_ends_all_transports() {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (app, sockets) = app(&TrustedProxies::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, app, sockets.clone(), async { _ = stopped.await }, PATIENCE));

    let mut socket = connect(address, "/votes").await;
    let post = |body: String| {
        format!(
            "POST /votes HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let (_, opened) = ask(address, &post("{\"mode\":\"long-poll\"}\n".to_owned())).await;
    let token =
        opened.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let events = format!("GET /votes HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n");
    stream.write_all(events.as_bytes()).await.unwrap();
    let mut poll = TcpStream::connect(address).await.unwrap();
    let asked = format!("{{\"token\":\"{token}\",\"cursor\":0,\"mode\":\"long-poll\"}}\n");
    poll.write_all(post(asked).as_bytes()).await.unwrap();
    while sockets[0].len() < 3 {
        tokio::task::yield_now().await;
    }
    // There is no sign of the poll's arrival.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;

    drop(stop);
    let Some(Ok(Message::Close(Some(close)))) = socket.next().await else { panic!("no close") };
    assert_eq!(u16::from(close.code), 1001);
    while let Some(Ok(_)) = socket.next().await {}
    for mut way in [stream, poll] {
        let mut rest = String::new();
        way.read_to_string(&mut rest).await.unwrap();
        assert!(rest.starts_with("HTTP/1.1 200") && rest.contains("1001"), "{rest}");
    }
    server.await.unwrap().unwrap();
    assert!(sockets.iter().all(Connections::is_empty));
}
