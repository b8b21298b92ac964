//! The writing half of [`WebSocketTask`].

use std::{
    io,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use super::{super::framing::encoder, BATCH_SIZE, WebSocketState, WebSocketTask};
use crate::wire::Outgoing;

impl WebSocketTask {
    /// Writes pending output. Returns true if it made progress, so that another round may be needed.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, batch: &mut Vec<u8>) -> bool {
        match self.poll_write(cx, batch) {
            Poll::Ready(Ok(moved)) => moved,
            Poll::Ready(Err(_)) => {
                self.lost();
                true
            }
            Poll::Pending => {
                if !self.deadlines.has_peer() {
                    self.deadlines.set_peer(Some(self.limits.write_timeout));
                }
                false
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, batch: &mut Vec<u8>) -> Poll<io::Result<bool>> {
        let blocked = !self.unsent.is_empty() || self.control_due;
        ready!(self.poll_unsent(cx))?;
        if blocked && self.state == WebSocketState::Open {
            self.deadlines.set_peer(None);
        }
        let mut moved = false;
        while self.fill_batch(batch) {
            moved = true;
            ready!(self.poll_out(cx, batch))?;
        }
        match self.state {
            WebSocketState::Open if self.final_close.is_some() => self.send_final_close(),
            WebSocketState::Lingering => ready!(self.poll_shutdown(cx))?,
            _ => return Poll::Ready(Ok(moved)),
        }
        Poll::Ready(Ok(moved || self.state == WebSocketState::Closing))
    }

    /// Takes outputs until there are enough bytes for a write. Returns false if there were none.
    fn fill_batch(&mut self, out: &mut Vec<u8>) -> bool {
        out.clear();
        let (final_close, state) = (&mut self.final_close, self.state);
        let has_space = self.wire.take_outputs(|outputs| {
            while out.len() < BATCH_SIZE
                && final_close.is_none()
                && let Some(output) = outputs.pop_front()
            {
                match output {
                    _ if state != WebSocketState::Open => {}
                    Outgoing::Frame(frame) => encoder::put_frame(out, &frame),
                    Outgoing::Encoded(message) | Outgoing::Shared(message) => {
                        out.extend_from_slice(encoder::encoded(&message));
                    }
                    Outgoing::Close(close) => *final_close = Some(Box::new(close)),
                    _ => {}
                }
            }
        });
        has_space || !out.is_empty()
    }

    /// Writes `out`, and keeps the bytes that the kernel does not take.
    fn poll_out(&mut self, cx: &mut Context<'_>, out: &[u8]) -> Poll<io::Result<()>> {
        let Some(io) = self.websocket.io().filter(|_| !out.is_empty()) else {
            return Poll::Ready(Ok(()));
        };
        let written = match io.poll_write(cx, out) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        if written < out.len() {
            self.unsent = out[written..].to_vec();
            self.mid_frame = true;
        }
        self.poll_unsent(cx)
    }

    /// Writes all pending bytes, tungstenite's first.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.mid_frame {
            ready!(self.poll_control(cx))?;
        }
        let Some(mut io) = self.websocket.io() else { return Poll::Ready(Ok(())) };
        while !self.unsent.is_empty() {
            let written = ready!(io.as_mut().poll_write(cx, &self.unsent))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..written);
            if self.state == WebSocketState::Open && self.deadlines.has_peer() {
                self.deadlines.set_peer(Some(self.limits.write_timeout)); // progress, however slow, starts it again
            }
        }
        self.unsent = Vec::new();
        self.mid_frame = false;
        ready!(io.poll_flush(cx))?; // for TLS; a TCP stream has nothing to flush
        self.poll_control(cx)
    }

    /// Writes tungstenite's pongs and close frames.
    pub(super) fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.control_due {
            ready!(self.websocket.poll_flush(cx))?;
            self.control_due = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Queues the application's close, after all output before it has been written.
    fn send_final_close(&mut self) {
        if let Some(close) = self.final_close.take() {
            self.websocket.queue_close(encoder::close_frame(&close), &self.limits);
            self.control_due = true;
            self.enter(WebSocketState::Closing);
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.websocket.io() {
            Some(io) => io.poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
