//! Several listeners on one address.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted; the kernel's own limit may be lower.
const BACKLOG: u32 = 4096;

/// Opens `count` listeners on one address, among which the kernel spreads new connections (`SO_REUSEPORT`). With as many
/// as the runtime has workers, accepting is no bottleneck; other processes may listen there too, which lets a new version
/// start before the old one stops. Linux and the BSDs only.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use ws_consumer::{Protocols, Router, listeners, serve};
/// # async fn run() -> std::io::Result<()> {
/// # let service = Protocols::new().into_service(Arc::new(channel_layer::MemoryLayer::default()));
/// let mut listeners = listeners("0.0.0.0:8000".parse().expect("an address"), 4)?.into_iter();
/// let first = listeners.next().expect("four of them");
/// listeners.fold(serve(first, service), |serve, listener| serve.with_listener(listener)).await
/// # }
/// ```
///
/// # Errors
/// What the system says, an address in use for example.
#[cfg(unix)]
pub fn listeners(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = listener(address)?;
    // Port 0 chooses one; the others take the same.
    let address = first.local_addr()?;
    let others = (1..count).map(|_| listener(address));
    std::iter::once(Ok(first)).chain(others).collect()
}

#[cfg(unix)]
fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
