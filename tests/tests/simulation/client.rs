//! A client: sends, receives, and reconnects after silence.

use std::{cell::RefCell, rc::Rc, time::Duration};

use fastrand::Rng;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};
use turmoil::net::TcpStream;

use super::{
    oracle::Log,
    server::{PORT, Said},
};

/// The longest silence. The server pings every 2 s, so a longer one is the network's fault.
const SILENCE: Duration = Duration::from_secs(6);

pub(crate) fn name(id: usize) -> String {
    format!("client-{id}")
}

/// Clients of even numbers are in one room, those of odd numbers in the other.
pub(crate) fn room(id: usize) -> usize {
    id % 2
}

/// The client's host. A crash starts it again, with another seed.
pub(crate) async fn run(id: usize, seed: u64, log: Rc<RefCell<Log>>) -> turmoil::Result {
    let mut random = Rng::with_seed(seed ^ log.borrow().connections as u64);
    while !log.borrow().stop {
        let connected = timeout(SILENCE, connect(id)).await;
        if let Ok(Some(socket)) = connected {
            log.borrow_mut().connected(id);
            talk(id, socket, &mut random, &log).await;
        }
        sleep(Duration::from_millis(random.u64(100..2000))).await;
    }
    Ok(())
}

async fn connect(id: usize) -> Option<WebSocketStream<TcpStream>> {
    let stream = TcpStream::connect(("server", PORT)).await.ok()?;
    let (socket, _) = client_async(format!("ws://server/{}", room(id)), stream).await.ok()?;
    Some(socket)
}

/// Receives until the connection is over, or silent for too long.
async fn talk(id: usize, mut socket: WebSocketStream<TcpStream>, random: &mut Rng, log: &Rc<RefCell<Log>>) {
    let by = log.borrow_mut().speaker(id);
    let mut silence = Duration::ZERO;
    for n in 0.. {
        let said = Said { room: room(id), by: by.clone(), n };
        let text = serde_json::to_string(&said).expect("plain data");
        if log.borrow().stop {
            let _ = timeout(SILENCE, socket.close(None)).await;
            while let Ok(Some(Ok(_))) = timeout(SILENCE, socket.next()).await {}
            return;
        }
        if !matches!(timeout(SILENCE, socket.send(Message::text(text))).await, Ok(Ok(()))) {
            return;
        }
        let pause = Duration::from_millis(random.u64(20..400));
        match timeout(pause, listen(id, &mut socket, log, &mut silence)).await {
            Ok(()) => return,
            Err(_) => silence += pause,
        }
        if silence > SILENCE {
            return;
        }
    }
}

/// Sends until the connection is over.
async fn listen(
    id: usize,
    socket: &mut WebSocketStream<TcpStream>,
    log: &Rc<RefCell<Log>>,
    silence: &mut Duration,
) {
    while let Some(Ok(message)) = socket.next().await {
        *silence = Duration::ZERO;
        if let Message::Text(text) = message {
            let said = serde_json::from_str(&text).expect("the server sends what it was told");
            log.borrow_mut().heard(id, said);
        }
    }
}
