//! Accepting, as long as the process has descriptors that others do not need more.
//!
//! A process without descriptors cannot reconnect to the channel layer's backend: when that connection
//! breaks, no messages arrive until clients leave. Therefore the last quarter of the descriptors, at most 64,
//! is not given to clients. A part of this reserve serves to refuse further clients, and to answer health
//! checks.
//!
//! A new descriptor gets the lowest number that is free, so its number tells how many are taken, by whatever in the process.

use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// Descriptors that are not for clients, at the most.
const RESERVE: u64 = 64;
/// The interval between checks for free descriptors, too short for a client to notice.
const BACK_OFF: Duration = Duration::from_millis(50);
/// The shortest interval between two warnings.
const QUIET: Duration = Duration::from_secs(1);

/// Descriptors that are left, as a new one's number tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// For clients.
    Enough,
    /// To refuse clients.
    Short,
    /// Not even to refuse clients.
    None,
}

/// Accepts a connection, and never fails: for servers that run a loop of their own, for example because of TLS.
///
/// Waits while the process has but a reserve of descriptors left (a quarter of its soft limit, 64 at the most), so that the channel
/// layer can reconnect to its backend whatever clients do. Further clients wait with the kernel meanwhile. Warns once a
/// second while it has to wait. [`serve`](crate::serve) does the same, and answers health checks meanwhile. Cancel safe.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use ws_consumer::{Protocols, accept, listen, serve_connection};
/// # async fn tls(stream: tokio::net::TcpStream) -> std::io::Result<tokio::net::TcpStream> { Ok(stream) }
/// # async fn run() -> std::io::Result<()> {
/// # let service = Protocols::new().into_service(Arc::new(channel_layer::MemoryLayer::default()));
/// let listener = listen("0.0.0.0:443").await?;
/// loop {
///     let (stream, _peer) = accept(&listener).await;
///     let service = service.clone();
///     tokio::spawn(async move {
///         if let Ok(stream) = tls(stream).await {
///             serve_connection(stream, service).await;
///         }
///     });
/// }
/// # }
/// ```
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        while look(listener) != Room::Enough {
            warn_of_shortage();
            sleep(BACK_OFF).await;
        }
        if let Some((stream, peer, _)) = try_accept(listener).await {
            return (stream, peer);
        }
    }
}

/// Accepts for a server that refuses those for whom there is no room. `short` is what the last one has met.
pub(super) async fn accept_or_refuse(
    listener: &TcpListener,
    short: &mut bool,
) -> (TcpStream, SocketAddr, Room) {
    loop {
        while *short {
            match look(listener) {
                Room::Enough => *short = false,
                Room::Short => break,
                Room::None => {
                    warn_of_shortage();
                    sleep(BACK_OFF).await;
                }
            }
        }
        let Some((stream, peer, room)) = try_accept(listener).await else {
            *short = true;
            continue;
        };
        if room != Room::Enough {
            *short = true;
            warn_of_shortage();
        }
        if room != Room::None {
            return (stream, peer, room);
        }
        drop(stream); // others of us were faster
    }
}

/// Accepts a connection. Returns `None`, after a pause, if there is no descriptor for one.
async fn try_accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr, Room)> {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let room = of_process::number(&stream)
                    .map_or(Room::Enough, |number| room(number, of_process::limit()));
                return Some((stream, peer, room));
            }
            Err(error) if is_of_one(&error) => {
                tracing::debug!(%error, "a client left before it was accepted")
            }
            Err(error) => {
                if may_warn() {
                    tracing::warn!(%error, "accept failed");
                }
                sleep(BACK_OFF).await;
                return None;
            }
        }
    }
}

/// Returns whether the error concerns only the connection that was to be accepted.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Returns the room that a descriptor opened now would find.
fn look(listener: &TcpListener) -> Room {
    match of_process::lowest(listener) {
        Ok(number) => room(number, of_process::limit()).min_of(system()),
        Err(_) => Room::None,
    }
}

impl Room {
    fn min_of(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::Short, _) | (_, Self::Short) => Self::Short,
            _ => Self::Enough,
        }
    }
}

fn room(newest: i32, limit: Option<u64>) -> Room {
    let (Some(limit), Ok(newest)) = (limit, u64::try_from(newest)) else { return Room::Enough };
    let reserve = (limit / 4).min(RESERVE);
    match newest {
        newest if newest < limit - reserve => Room::Enough,
        newest if newest < limit - reserve / 2 => Room::Short,
        _ => Room::None,
    }
}

/// The whole system may run out of open files too. Linux tells how many there are; elsewhere `accept` fails when it is too
/// late.
fn system() -> Room {
    match std::fs::read_to_string("/proc/sys/fs/file-nr") {
        Ok(counts) => system_room(&counts),
        Err(error) if of_process::is_exhausted(&error) => Room::None,
        Err(_) => Room::Enough,
    }
}

/// Open, unused, and the most that there may be.
fn system_room(counts: &str) -> Room {
    let mut counts = counts.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(open)), Some(Ok(_)), Some(Ok(most))) = (counts.next(), counts.next(), counts.next()) else {
        return Room::Enough;
    };
    if most.saturating_sub(open) < RESERVE { Room::None } else { Room::Enough }
}

/// The time of the last warning. Shared by the process, like its descriptors: several listeners meet the same
/// shortage.
static WARNED: Mutex<Option<Instant>> = Mutex::new(None);

fn may_warn() -> bool {
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let may = warned.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
    if may {
        *warned = Some(now);
    }
    may
}

fn warn_of_shortage() {
    if may_warn() {
        let limit = of_process::limit();
        tracing::warn!(
            limit,
            "nearly no descriptors left: clients are refused, or wait; raise the limit of open files"
        );
    }
}

#[cfg(unix)]
mod of_process {
    use std::{
        io,
        os::fd::{AsFd, AsRawFd},
    };

    use rustix::{
        io::Errno,
        process::{Resource, getrlimit},
    };
    use tokio::net::{TcpListener, TcpStream};

    /// Read anew each time: an operator may change it while the process runs.
    pub(super) fn limit() -> Option<u64> {
        getrlimit(Resource::Nofile).current
    }

    pub(super) fn number(stream: &TcpStream) -> Option<i32> {
        Some(stream.as_raw_fd())
    }

    /// The lowest number that is free.
    pub(super) fn lowest(listener: &TcpListener) -> io::Result<i32> {
        Ok(listener.as_fd().try_clone_to_owned()?.as_raw_fd())
    }

    pub(super) fn is_exhausted(error: &io::Error) -> bool {
        [Errno::MFILE, Errno::NFILE].iter().any(|full| error.raw_os_error() == Some(full.raw_os_error()))
    }
}

/// On systems where descriptor numbers carry no information, there is no reserve.
#[cfg(not(unix))]
mod of_process {
    use std::io;

    use tokio::net::{TcpListener, TcpStream};

    pub(super) fn limit() -> Option<u64> {
        None
    }

    pub(super) fn number(_: &TcpStream) -> Option<i32> {
        None
    }

    pub(super) fn lowest(_: &TcpListener) -> io::Result<i32> {
        Ok(0)
    }

    pub(super) fn is_exhausted(_: &io::Error) -> bool {
        false
    }
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_part_of_all_descriptors_is_not_for_clients() {
        use Room::{Enough, None, Short};
        for (limit, newest, found) in [
            (1024, 959, Enough),
            (1024, 960, Short),
            (1024, 991, Short),
            (1024, 992, None),
            (64, 47, Enough),
            (64, 48, Short),
            (64, 56, None),
            (1 << 20, (1 << 20) - 65, Enough),
            (1 << 20, (1 << 20) - 64, Short),
            (8, 5, Enough),
            (8, 6, Short),
            (8, 7, None),
            // One that was lowered below what is open.
            (16, 500, None),
            (0, 3, None),
        ] {
            assert_eq!(room(newest, Some(limit)), found, "{newest} of {limit}");
        }
        assert_eq!(room(i32::MAX, Option::None), Enough);
    }

    #[test]
    fn a_system_without_open_files_is_seen() {
        for (counts, found) in [
            ("1000\t0\t100000\n", Room::Enough),
            ("99950 0 100000", Room::None),
            ("100010 0 100000", Room::None),
            ("1000 0 9223372036854775807", Room::Enough),
            ("what is this", Room::Enough),
            ("", Room::Enough),
        ] {
            assert_eq!(system_room(counts), found, "{counts}");
        }
        for (errno, exhausted) in [(Errno::MFILE, true), (Errno::NFILE, true), (Errno::NOENT, false)] {
            assert_eq!(of_process::is_exhausted(&errno.into()), exhausted, "{errno:?}");
        }
    }

    #[test]
    fn an_error_of_one_connection_holds_nobody_up() {
        for (errno, of_one) in [
            (Errno::CONNABORTED, true),
            (Errno::CONNRESET, true),
            (Errno::INTR, true),
            (Errno::MFILE, false),
            (Errno::NFILE, false),
            (Errno::NOBUFS, false),
            (Errno::NOMEM, false),
        ] {
            assert_eq!(is_of_one(&errno.into()), of_one, "{errno:?}");
        }
    }
}
