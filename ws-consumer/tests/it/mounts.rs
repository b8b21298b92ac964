//! The service inside other servers. In axum as a route, nested and as the fallback: see the example `axum`.

use std::sync::Arc;

use channel_layer::MemoryLayer;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::{connect_async, tungstenite::Message};
use ws_consumer::{Input, Protocols, Result, Router, Socket, listen, serve};

async fn echo(mut socket: Socket) -> Result<()> {
    socket.accept().await?;
    while let Some(input) = socket.next().await? {
        if let Input::Frame(frame) = input {
            socket.send(frame).await?;
        }
    }
    Ok(())
}

fn service() -> ws_consumer::SocketService<ws_consumer::NotFound> {
    let sockets = Router::new().application("/ws", echo);
    Protocols::new().websocket(sockets).into_service(Arc::new(MemoryLayer::default()))
}

#[tokio::test]
async fn axum_mount_drains() {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = service();
    let app = axum::Router::new()
        .route("/", axum::routing::get(|| async { "the page" }))
        .fallback_service(service.clone());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    let (mut client, _) = connect_async(format!("ws://{address}/ws")).await.unwrap();
    client.send(Message::text("hi")).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("hi"));
    assert!(connect_async(format!("ws://{address}/")).await.is_err(), "axum's own route");

    let closing = tokio::spawn(async move { service.connections().close().await });
    let Some(Ok(Message::Close(Some(close)))) = client.next().await else { panic!("no close") };
    assert_eq!(u16::from(close.code), 1001);
    assert!(client.next().await.is_none());
    closing.await.unwrap();
    server.abort();
}

#[tokio::test]
async fn graceful_stop_returns() {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = serve(listener, service()).with_graceful_shutdown(async { _ = stopped.await });
    let server = tokio::spawn(server.into_future());
    let (mut client, _) = connect_async(format!("ws://{address}/ws")).await.unwrap();
    stop.send(()).unwrap();
    let Some(Ok(Message::Close(Some(close)))) = client.next().await else { panic!("no close") };
    assert_eq!(u16::from(close.code), 1001);
    while let Some(Ok(_)) = client.next().await {}
    server.await.unwrap().unwrap();
    assert!(connect_async(format!("ws://{address}/ws")).await.is_err());
}

#[derive(Clone)]
struct Left(&'static str);

#[tokio::test]
async fn tower_extensions_reach_the_consumer() {
    let tell = |mut socket: Socket| async move {
        let left = socket.scope().extensions.get::<Left>().map_or("nothing", |left| left.0);
        socket.accept().await?;
        socket.send_text(left).await
    };
    let sockets = Protocols::new().websocket(tell).into_service(Arc::new(MemoryLayer::default()));
    let layered = tower::ServiceBuilder::new()
        .map_request(|mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Left("left by a layer"));
            request
        })
        .concurrency_limit(8)
        .service(sockets);
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper_util::service::TowerToHyperService::new(layered.clone());
            let http = hyper::server::conn::http1::Builder::new();
            let connection =
                http.serve_connection(hyper_util::rt::TokioIo::new(stream), service).with_upgrades();
            tokio::spawn(connection);
        }
    });
    let (mut client, _) = connect_async(format!("ws://{address}/")).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("left by a layer"));
    server.abort();
}
