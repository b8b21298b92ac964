//! What stands between the connection and tungstenite's reads: a large buffer that nobody owns, and a look at the frames
//! that go by.
//!
//! Tungstenite reads into a buffer that each connection keeps, so that one has to be small; but a small one costs a system
//! call per kilobyte of a large message. So the system is asked for a lot at once, into a buffer of the thread, and what
//! tungstenite does not take at once is kept until it does.
//!
//! Tungstenite also tells only of whole messages. How many fragments one has, and whether one is under way at all, is seen
//! here.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::Watch;

/// Bytes asked for at once: the largest read that still gains.
const SCRATCH: usize = 32 << 10;

thread_local! {
    static SPARE: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// A connection whose reads are watched.
pub(super) struct Intake<S> {
    io: S,
    /// Read from the system, not yet taken. Without memory as a rule.
    ahead: Bytes,
    watch: Watch,
}

impl<S> Intake<S> {
    pub(super) fn new(io: S, max_fragments: u32) -> Self {
        Self { io, ahead: Bytes::new(), watch: Watch::new(max_fragments) }
    }

    /// The connection itself, for when what it says is not listened to any more.
    pub(super) fn inner_mut(&mut self) -> &mut S {
        &mut self.io
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Intake<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.watch.has_too_many_fragments() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        if this.ahead.is_empty() {
            ready!(SPARE.with_borrow_mut(|spare| this.read_through(cx, spare, buf)))?;
        } else {
            let taken = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..taken]);
            this.ahead.advance(taken);
            if this.ahead.is_empty() {
                this.ahead = Bytes::new();
            }
        }
        let passed = this.watch.see(&buf.filled()[before..]);
        buf.set_filled(before + passed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> Intake<S> {
    /// Reads ahead of whoever will take it. False at the end of the stream.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.ahead.is_empty() {
            let mut none = ReadBuf::new(&mut []);
            ready!(SPARE.with_borrow_mut(|spare| self.read_through(cx, spare, &mut none)))?;
        }
        Poll::Ready(Ok(!self.ahead.is_empty()))
    }

    fn read_through(
        &mut self,
        cx: &mut Context<'_>,
        spare: &mut [u8],
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut read = ReadBuf::new(spare);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        let (now, later) = read.filled().split_at(read.filled().len().min(buf.remaining()));
        buf.put_slice(now);
        if !later.is_empty() {
            self.ahead = Bytes::copy_from_slice(later);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Intake<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn every_byte_comes_through_in_order_whatever_the_reader_takes() {
        let (mut client, server) = duplex(100_000);
        let mut intake = Intake::new(server, 10);
        let sent =
            [&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &(0..65_536).map(|n| n as u8).collect::<Vec<_>>()]
                .concat();
        client.write_all(&sent).await.unwrap();
        drop(client);
        let mut got = Vec::new();
        for size in (1..2000).cycle() {
            let mut part = vec![0; size];
            match intake.read(&mut part).await.unwrap() {
                0 => break,
                read => got.extend_from_slice(&part[..read]),
            }
        }
        assert!(got == sent && !intake.watch().is_mid_message());
    }
}
