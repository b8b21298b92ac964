//! Each way to mount, by a client of somebody else's.

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::*;

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn start() -> (SocketAddr, [Sockets; 3]) {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (app, sockets) = app();
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
async fn a_route_hands_axums_state_on_and_all_members_see_the_votes() {
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
async fn a_nested_router_sees_its_own_part_of_the_path_and_the_layers_extensions() {
    let (address, _) = start().await;
    assert_eq!(text(&mut connect(address, "/ws/hello").await).await, "hello");
    assert!(connect_async(format!("ws://{address}/ws/nope")).await.is_err());
}

#[tokio::test]
async fn the_fallback_serves_sockets_and_the_pages_stay_axums() {
    let (address, _) = start().await;
    assert_eq!(text(&mut connect(address, "/live/%E6%B1%89").await).await, "汉");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("the page"), "{page}");
}
