//! What a connection says.

use std::{
    io,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use super::{super::codec, Connection, Stage, WRITE};
use crate::wire::Outgoing;

impl Connection {
    /// Writes what waits. True if something moved, so that there may be more to do.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, gather: &mut Vec<u8>) -> bool {
        match self.poll_write(cx, gather) {
            Poll::Ready(Ok(moved)) => moved,
            Poll::Ready(Err(_)) => {
                self.lost();
                true
            }
            Poll::Pending => {
                if !self.deadlines.has_limit() {
                    self.deadlines.set_limit(Some(self.limits.write_timeout));
                }
                false
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, gather: &mut Vec<u8>) -> Poll<io::Result<bool>> {
        let blocked = !self.rest.is_empty() || self.control;
        ready!(self.poll_rest(cx))?;
        if blocked && self.stage == Stage::Open {
            self.deadlines.set_limit(None);
        }
        let mut moved = false;
        while self.gather(gather) {
            moved = true;
            ready!(self.poll_out(cx, gather))?;
        }
        match self.stage {
            Stage::Open if self.farewell.is_some() => self.say_farewell(),
            Stage::Lingering => ready!(self.poll_shutdown(cx))?,
            _ => return Poll::Ready(Ok(moved)),
        }
        Poll::Ready(Ok(moved || self.stage == Stage::Closing))
    }

    /// Takes outputs until there is enough for a write. False if there was nothing to take.
    fn gather(&mut self, out: &mut Vec<u8>) -> bool {
        out.clear();
        let (farewell, stage) = (&mut self.farewell, self.stage);
        let room = self.wire.take_outputs(|outputs| {
            while out.len() < WRITE
                && farewell.is_none()
                && let Some(output) = outputs.pop_front()
            {
                match output {
                    _ if stage != Stage::Open => {}
                    Outgoing::Frame(frame) => codec::put_frame(out, &frame),
                    Outgoing::Encoded(message) => out.extend_from_slice(codec::encoded(&message)),
                    Outgoing::Close(close) => *farewell = Some(Box::new(close)),
                    _ => {}
                }
            }
        });
        room || !out.is_empty()
    }

    /// Writes `out`; what the kernel does not take is kept.
    fn poll_out(&mut self, cx: &mut Context<'_>, out: &[u8]) -> Poll<io::Result<()>> {
        let Some(io) = self.line.io().filter(|_| !out.is_empty()) else {
            return Poll::Ready(Ok(()));
        };
        let written = match io.poll_write(cx, out) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        if written < out.len() {
            self.rest = out[written..].to_vec();
            self.midway = true;
        }
        self.poll_rest(cx)
    }

    /// Everything that waits to be written, tungstenite's first.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.midway {
            ready!(self.poll_control(cx))?;
        }
        let Some(mut io) = self.line.io() else { return Poll::Ready(Ok(())) };
        while !self.rest.is_empty() {
            let written = ready!(io.as_mut().poll_write(cx, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.drain(..written);
            if self.stage == Stage::Open && self.deadlines.has_limit() {
                self.deadlines.set_limit(Some(self.limits.write_timeout)); // slow is not stuck
            }
        }
        self.rest = Vec::new();
        self.midway = false;
        ready!(io.poll_flush(cx))?; // for TLS; a TCP stream has nothing to flush
        self.poll_control(cx)
    }

    /// Pongs and closes, which are tungstenite's.
    pub(super) fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.control {
            ready!(self.line.poll_flush(cx))?;
            self.control = false;
        }
        Poll::Ready(Ok(()))
    }

    /// All is out that was sent before the close: now the close.
    fn say_farewell(&mut self) {
        if let Some(close) = self.farewell.take() {
            self.line.say(codec::close_frame(&close), &self.limits);
            self.control = true;
            self.enter(Stage::Closing);
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.line.io() {
            Some(io) => io.poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
