//! Accepting connections, with a reserve of file descriptors.
//!
//! A process without descriptors cannot reconnect to the channel layer's backend: when that connection
//! breaks, no messages arrive until clients leave. Therefore the last quarter of the descriptors, at most 64,
//! is not given to clients. A part of this reserve serves to refuse further clients, and to answer health
//! checks.
//!
//! A new descriptor gets the lowest free number, which therefore shows how many the whole process uses.

use std::{
    io,
    net::SocketAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::sync::lock;

/// The largest number of descriptors kept from clients.
const RESERVE: u64 = 64;
/// The interval between checks for free descriptors, too short for a client to notice.
const BACK_OFF: Duration = Duration::from_millis(50);
/// The shortest interval between two warnings.
const QUIET: Duration = Duration::from_secs(1);

/// The service that the server can still give with its remaining descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headroom {
    /// Clients are served.
    Enough,
    /// Clients are refused.
    Short,
    /// Clients are not accepted.
    None,
}

/// Accepts a connection, and never fails. For servers with an accept loop of their own, for example because of TLS.
///
/// Waits while only the reserve of descriptors is left (a quarter of the soft limit, at most 64), so that the channel layer
/// can always reconnect to its backend. Meanwhile further clients wait in the kernel's queue, and a warning is logged once a
/// second. [`serve`](crate::serve) does the same, and answers health checks meanwhile. Cancel safe.
///
/// ```no_run
/// # use ws_consumer::{Protocols, accept, listen, serve_connection};
/// # async fn tls(stream: tokio::net::TcpStream) -> std::io::Result<tokio::net::TcpStream> { Ok(stream) }
/// # async fn run() -> std::io::Result<()> {
/// # let service = Protocols::new().into_service(channel_layer::MemoryLayer::default());
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
        while current_headroom(listener) != Headroom::Enough {
            warn_of_shortage();
            sleep(BACK_OFF).await;
        }
        if let Some((stream, peer, _)) = try_accept(listener).await {
            return (stream, peer);
        }
    }
}

/// Accepts a connection that is to be refused if descriptors are short. `short`: whether they were at the last call.
pub(super) async fn accept_or_refuse(
    listener: &TcpListener,
    short: &mut bool,
) -> (TcpStream, SocketAddr, Headroom) {
    loop {
        while *short {
            match current_headroom(listener) {
                Headroom::Enough => *short = false,
                Headroom::Short => break,
                Headroom::None => {
                    warn_of_shortage();
                    sleep(BACK_OFF).await;
                }
            }
        }
        let Some((stream, peer, headroom)) = try_accept(listener).await else {
            *short = true;
            continue;
        };
        if headroom != Headroom::Enough {
            *short = true;
            warn_of_shortage();
        }
        if headroom != Headroom::None {
            return (stream, peer, headroom);
        }
        drop(stream); // other tasks took the last descriptors
    }
}

/// Accepts a connection. Returns `None`, after a pause, if there is no descriptor for one.
async fn try_accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr, Headroom)> {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let headroom = process_files::number(&stream)
                    .map_or(Headroom::Enough, |number| headroom(number, process_files::limit()));
                return Some((stream, peer, headroom));
            }
            Err(error) if concerns_one_client(&error) => {
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
fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Returns the headroom that a descriptor opened now would have.
fn current_headroom(listener: &TcpListener) -> Headroom {
    match process_files::lowest(listener) {
        Ok(number) => headroom(number, process_files::limit()).min_of(system()),
        Err(_) => Headroom::None,
    }
}

impl Headroom {
    fn min_of(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::Short, _) | (_, Self::Short) => Self::Short,
            _ => Self::Enough,
        }
    }
}

fn headroom(newest: i32, limit: Option<u64>) -> Headroom {
    let (Some(limit), Ok(newest)) = (limit, u64::try_from(newest)) else { return Headroom::Enough };
    let reserve = (limit / 4).min(RESERVE);
    match newest {
        newest if newest < limit - reserve => Headroom::Enough,
        newest if newest < limit - reserve / 2 => Headroom::Short,
        _ => Headroom::None,
    }
}

/// Returns the headroom of the whole system. Linux counts its open files; elsewhere `accept` fails once there are none.
fn system() -> Headroom {
    match std::fs::read_to_string("/proc/sys/fs/file-nr") {
        Ok(counts) => system_headroom(&counts),
        Err(error) if process_files::is_exhausted(&error) => Headroom::None,
        Err(_) => Headroom::Enough,
    }
}

/// Parses the numbers of open files, of unused ones, and the limit.
fn system_headroom(counts: &str) -> Headroom {
    let mut counts = counts.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(open)), Some(Ok(_)), Some(Ok(most))) = (counts.next(), counts.next(), counts.next()) else {
        return Headroom::Enough;
    };
    if most.saturating_sub(open) < RESERVE { Headroom::None } else { Headroom::Enough }
}

/// The time of the last warning. Shared by the process, like its descriptors: several listeners meet the same
/// shortage.
static WARNED: Mutex<Option<Instant>> = Mutex::new(None);

fn may_warn() -> bool {
    let mut warned = lock(&WARNED);
    let now = Instant::now();
    let may = warned.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
    if may {
        *warned = Some(now);
    }
    may
}

fn warn_of_shortage() {
    if may_warn() {
        let limit = process_files::limit();
        tracing::warn!(
            limit,
            "nearly no descriptors left: clients are refused, or wait; raise the limit of open files"
        );
    }
}

#[cfg(unix)]
mod process_files {
    use std::{
        io,
        os::fd::{AsFd, AsRawFd},
    };

    use rustix::{
        io::Errno,
        process::{Resource, getrlimit},
    };
    use tokio::net::{TcpListener, TcpStream};

    /// Reads the limit each time, because an operator may change it while the process runs.
    pub(super) fn limit() -> Option<u64> {
        getrlimit(Resource::Nofile).current
    }

    pub(super) fn number(stream: &TcpStream) -> Option<i32> {
        Some(stream.as_raw_fd())
    }

    /// Returns the lowest free number.
    pub(super) fn lowest(listener: &TcpListener) -> io::Result<i32> {
        Ok(listener.as_fd().try_clone_to_owned()?.as_raw_fd())
    }

    pub(super) fn is_exhausted(error: &io::Error) -> bool {
        [Errno::MFILE, Errno::NFILE].iter().any(|full| error.raw_os_error() == Some(full.raw_os_error()))
    }
}

/// A stand-in without a reserve, for systems whose descriptor numbers carry no information.
#[cfg(not(unix))]
mod process_files {
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
    fn reserves_a_part_of_descriptors() {
        use Headroom::{Enough, None, Short};
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
            // A limit that was lowered below the number of open ones.
            (16, 500, None),
            (0, 3, None),
        ] {
            assert_eq!(headroom(newest, Some(limit)), found, "{newest} of {limit}");
        }
        assert_eq!(headroom(i32::MAX, Option::None), Enough);
    }

    #[test]
    fn detects_an_exhausted_system() {
        for (counts, found) in [
            ("1000\t0\t100000\n", Headroom::Enough),
            ("99950 0 100000", Headroom::None),
            ("100010 0 100000", Headroom::None),
            ("1000 0 9223372036854775807", Headroom::Enough),
            ("no numbers", Headroom::Enough),
            ("", Headroom::Enough),
        ] {
            assert_eq!(system_headroom(counts), found, "{counts}");
        }
        for (errno, exhausted) in [(Errno::MFILE, true), (Errno::NFILE, true), (Errno::NOENT, false)] {
            assert_eq!(process_files::is_exhausted(&errno.into()), exhausted, "{errno:?}");
        }
    }

    #[test]
    fn tells_errors_one_client_client_apart() {
        for (errno, one_client) in [
            (Errno::CONNABORTED, true),
            (Errno::CONNRESET, true),
            (Errno::INTR, true),
            (Errno::MFILE, false),
            (Errno::NFILE, false),
            (Errno::NOBUFS, false),
            (Errno::NOMEM, false),
        ] {
            assert_eq!(concerns_one_client(&errno.into()), one_client, "{errno:?}");
        }
    }
}
