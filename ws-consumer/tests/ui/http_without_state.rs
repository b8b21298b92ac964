//! A router of axum whose state is missing is no HTTP service.

use channel_layer::MemoryLayer;
use ws_consumer::{Protocols, Router, listen, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let pages: axum::Router<u8> = axum::Router::new();
    let service = Protocols::new().websocket(Router::new()).http(pages).into_service(MemoryLayer::default());
    serve(listen("127.0.0.1:0").await?, service).await
}
