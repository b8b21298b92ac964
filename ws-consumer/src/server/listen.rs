//! Listeners with a large backlog.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket, ToSocketAddrs, lookup_host};

/// The number of connections that may wait to be accepted. With the 128 of a listener of the standard library, most of
/// thousands of clients that connect at once have their first packet dropped, and retry a second later. Linux limits it to
/// `net.core.somaxconn`, 4096 since version 5.4.
const BACKLOG: u32 = 4096;

/// Listens on an address like [`TcpListener::bind`], but with a backlog of 4,096 connections, so that the
/// kernel does not refuse clients that reconnect together after a deploy.
///
/// Port 0 lets the system choose. For a name with several addresses, the first one that can be bound is taken.
///
/// ```no_run
/// # use ws_consumer::{Protocols, Router, listen, serve};
/// # async fn run() -> std::io::Result<()> {
/// # let service = Protocols::new().into_service(channel_layer::MemoryLayer::default());
/// serve(listen("127.0.0.1:8000").await?, service).await
/// # }
/// ```
///
/// # Errors
/// Returns the system's error, such as an address in use, and `InvalidInput` for a name that has no address.
pub async fn listen(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut failure = None;
    for address in lookup_host(address).await? {
        match bind(address, false) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name has no address")))
}

/// Opens `count` listeners on one address, among which the kernel spreads new connections (`SO_REUSEPORT`). With as many
/// as the runtime has workers, accepting is no bottleneck; other processes may listen there too, which lets a new version
/// start before the old one stops. Linux and the BSDs only. Each has the backlog of [`listen`].
///
/// ```no_run
/// # use ws_consumer::{Protocols, Router, listeners, serve};
/// # async fn run() -> std::io::Result<()> {
/// # let service = Protocols::new().into_service(channel_layer::MemoryLayer::default());
/// let mut listeners = listeners("0.0.0.0:8000".parse().expect("an address"), 4)?.into_iter();
/// let first = listeners.next().expect("four of them");
/// listeners.fold(serve(first, service), |serve, listener| serve.with_listener(listener)).await
/// # }
/// ```
///
/// # Errors
/// Returns the system's error, such as an address in use.
#[cfg(unix)]
pub fn listeners(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = bind(address, true)?;
    // Port 0 chooses one; the others take the same.
    let address = first.local_addr()?;
    let others = (1..count).map(|_| bind(address, true));
    std::iter::once(Ok(first)).chain(others).collect()
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for connections of the previous process. On Windows the option means something else.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(shared)?;
    #[cfg(not(unix))]
    let _ = shared;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{net::TcpStream, time::timeout};

    use super::*;

    #[tokio::test]
    async fn the_backlog_holds_many_clients() {
        let mut makes = vec![("listen", listen("127.0.0.1:0").await.unwrap())];
        #[cfg(unix)]
        makes.push(("listeners", listeners("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0)));
        for (name, listener) in makes {
            let address = listener.local_addr().unwrap();
            let mut clients = Vec::new();
            for number in 0..300 {
                // With a full backlog, a client gets no reply and retries after a second.
                let client = timeout(Duration::from_millis(900), TcpStream::connect(address)).await;
                clients.push(client.unwrap_or_else(|_| panic!("{name}: client {number} waits")).unwrap());
            }
            drop(listener);
        }
    }

    #[tokio::test]
    async fn listens_on_any_kind_of_address() {
        for listener in [
            listen("localhost:0").await,
            listen(("127.0.0.1", 0)).await,
            listen("127.0.0.1:0".parse::<SocketAddr>().unwrap()).await,
        ] {
            assert_ne!(listener.unwrap().local_addr().unwrap().port(), 0);
        }
        let taken = listen("127.0.0.1:0").await.unwrap();
        let again = listen(taken.local_addr().unwrap()).await;
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(listen("no address").await.is_err());
        let none: &[SocketAddr] = &[];
        assert_eq!(listen(none).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
