//! `into_service` is forgotten.

use ws_consumer::{Protocols, Router, listen, serve};

async fn run() -> std::io::Result<()> {
    serve(listen("127.0.0.1:8000").await?, Protocols::new().websocket(Router::new())).await
}

fn main() {
    drop(run());
}
