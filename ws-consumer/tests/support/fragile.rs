//! Connections that are cut between any two bytes.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// A connection that breaks after a number of bytes, of both directions together.
pub struct Fragile {
    pub pipe: Option<DuplexStream>,
    pub left: Arc<AtomicI64>,
}

impl Fragile {
    fn spend(&mut self, bytes: usize) -> io::Result<()> {
        if self.left.fetch_sub(bytes as i64, Relaxed) <= bytes as i64 {
            self.pipe = None;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Fragile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(())) };
        match Pin::new(pipe).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let read = buf.filled().len() - before;
                if self.spend(read).is_err() {
                    buf.set_filled(before);
                }
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }
}

impl AsyncWrite for Fragile {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Half of it may arrive.
        let most = (self.left.load(Relaxed).max(1) as usize).min(bytes.len());
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        match Pin::new(pipe).poll_write(cx, &bytes[..most]) {
            Poll::Ready(Ok(written)) => Poll::Ready(self.spend(written).map(|()| written)),
            other => other,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.as_mut().map_or(Poll::Ready(Ok(())), |pipe| Pin::new(pipe).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.as_mut().map_or(Poll::Ready(Ok(())), |pipe| Pin::new(pipe).poll_shutdown(cx))
    }
}
