//! [`MeteredRead`]: reads of tungstenite, through a large buffer per thread and a [`FrameScanner`].
//!
//! Tungstenite reads into a buffer that each connection keeps, which therefore has to be small. A small one costs a system
//! call per kilobyte of a large message. Hence each read asks the system for a large part, into a buffer of the thread; the
//! bytes that tungstenite does not take are kept until it does.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame_scanner::FrameScanner;

/// Bytes per read. Larger reads gained no speed.
const THREAD_BUFFER: usize = 32 << 10;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; THREAD_BUFFER].into());
}

/// A stream whose reads pass the frame scanner. Writes pass unchanged.
pub(in crate::transport::websocket) struct MeteredRead<S> {
    io: S,
    /// Bytes read from the system that tungstenite has not taken. Mostly without an allocation.
    ahead: Bytes,
    scanner: FrameScanner,
}

impl<S> MeteredRead<S> {
    pub(super) fn new(io: S, max_fragments: u32) -> Self {
        Self { io, ahead: Bytes::new(), scanner: FrameScanner::new(max_fragments) }
    }

    /// Returns the stream itself, to read bytes that are discarded.
    pub(super) fn inner_mut(&mut self) -> &mut S {
        &mut self.io
    }

    pub(super) fn scanner(&self) -> &FrameScanner {
        &self.scanner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MeteredRead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.scanner.has_too_many_fragments() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        if this.ahead.is_empty() {
            ready!(BUFFER.with_borrow_mut(|buffer| this.read_through(cx, buffer, buf)))?;
        } else {
            let taken = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..taken]);
            this.ahead.advance(taken);
            if this.ahead.is_empty() {
                this.ahead = Bytes::new();
            }
        }
        let passed = this.scanner.scan(&buf.filled()[before..]);
        buf.set_filled(before + passed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> MeteredRead<S> {
    /// Reads ahead of tungstenite. Returns false at the end of the stream.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.ahead.is_empty() {
            let mut none = ReadBuf::new(&mut []);
            ready!(BUFFER.with_borrow_mut(|buffer| self.read_through(cx, buffer, &mut none)))?;
        }
        Poll::Ready(Ok(!self.ahead.is_empty()))
    }

    fn read_through(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        let (now, later) = read.filled().split_at(read.filled().len().min(buf.remaining()));
        buf.put_slice(now);
        if !later.is_empty() {
            self.ahead = Bytes::copy_from_slice(later);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredRead<S> {
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
    async fn passes_every_byte_in_order() {
        let (mut client, server) = duplex(100_000);
        let mut reader = MeteredRead::new(server, 10);
        let sent =
            [&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &(0..65_536).map(|n| n as u8).collect::<Vec<_>>()]
                .concat();
        client.write_all(&sent).await.unwrap();
        drop(client);
        let mut got = Vec::new();
        for size in (1..2000).cycle() {
            let mut part = vec![0; size];
            match reader.read(&mut part).await.unwrap() {
                0 => break,
                read => got.extend_from_slice(&part[..read]),
            }
        }
        assert!(got == sent && !reader.scanner().is_mid_message());
    }
}
