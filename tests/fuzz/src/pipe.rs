//! A server and one client over a pipe, on a clock that advances only when every task waits.

use std::{cell::RefCell, time::Duration};

use fastrand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::{Builder, Runtime},
    time::timeout,
};
use ws_consumer::{NotFound, SocketService, serve_connection};

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"),
    );
}

/// Runs a future to its end.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}

/// Sends bytes in pieces, or all at once without a seed, and returns the answer up to the end of the connection.
pub(crate) async fn converse(service: &SocketService<NotFound>, bytes: &[u8], seed: Option<u64>) -> Vec<u8> {
    let (client, server) = duplex(16 << 10);
    let served = tokio::spawn(serve_connection(server, service.clone()));
    let (mut read, mut write) = tokio::io::split(client);
    let writing = async {
        let mut random = seed.map(Rng::with_seed);
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = rest.len().min(100);
            let (piece, after) =
                rest.split_at(random.as_mut().map_or(rest.len(), |random| random.usize(1..=most)));
            rest = after;
            if write.write_all(piece).await.is_err() {
                break; // it has heard enough
            }
            tokio::task::yield_now().await;
        }
        let _ = write.shutdown().await;
    };
    let mut answer = Vec::new();
    let reading = async { _ = read.read_to_end(&mut answer).await };
    let both = async { tokio::join!(writing, reading) };
    timeout(Duration::from_secs(600), both).await.expect("the server lets go of a client");
    served.await.expect("the server does not panic");
    service.connections().close().await;
    assert!(service.connections().is_empty());
    answer
}

/// Sends a request, and returns the answer up to its end or to this timeout.
pub(crate) async fn ask(service: &SocketService<NotFound>, bytes: &[u8], patience: Duration) -> Vec<u8> {
    let (mut client, server) = duplex(64 << 10);
    let served = tokio::spawn(serve_connection(server, service.clone()));
    let mut answer = Vec::new();
    let _ = timeout(patience, async {
        let _ = client.write_all(bytes).await; // it may be refused before all of it is read
        client.read_to_end(&mut answer).await
    })
    .await;
    drop(client);
    let served = timeout(Duration::from_secs(600), served).await.expect("the server lets go of a client");
    served.expect("the server does not panic");
    answer
}
