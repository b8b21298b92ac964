//! Subscriptions in RESP2, on a separate connection: it accepts no other commands.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, StreamExt, task::AtomicWaker};
use redis::{
    RedisConnectionInfo, RedisError, Value,
    aio::{PubSub, PubSubSink, PubSubStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::{AbortHandle, unconstrained, yield_now},
};

use super::{
    push::{OnPush, ServerPush},
    stream,
};
use crate::config::{RedisConfig, Server};

/// The bytes that may be read and not yet delivered. The client crate queues messages without a bound, so the bound is on
/// the bytes that it can read; beyond this, Redis has to buffer.
const MAX_UNREAD: usize = 8 << 20;

/// The number of messages between two yields to other tasks.
const BATCH: usize = 64;

/// A connection for subscriptions. Dropping it closes it.
pub(super) struct Subscriber {
    sink: PubSubSink,
    task: AbortHandle,
}

impl Subscriber {
    pub(super) async fn open(
        server: &Server,
        config: &RedisConfig,
        settings: &RedisConnectionInfo,
        on_push: OnPush,
    ) -> Result<Self, RedisError> {
        let budget = Arc::new(ReadBudget::default());
        let stream = BudgetedRead { stream: stream::open(server, config).await?, budget: budget.clone() };
        let (sink, messages) = PubSub::new(settings, stream).await?.split();
        let task = tokio::spawn(deliver(messages, budget, on_push)).abort_handle();
        Ok(Self { sink, task })
    }

    pub(super) async fn subscribe(&self, channels: &[String]) -> Result<(), RedisError> {
        self.sink.clone().subscribe(channels).await
    }

    pub(super) async fn unsubscribe(&self, channels: &[String]) -> Result<(), RedisError> {
        self.sink.clone().unsubscribe(channels).await
    }

    pub(super) async fn ping(&self) -> Result<(), RedisError> {
        self.sink.clone().ping::<Value>().await.map(drop)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").finish_non_exhaustive()
    }
}

/// Delivers messages until the connection ends.
async fn deliver(mut messages: PubSubStream, budget: Arc<ReadBudget>, on_push: OnPush) {
    let mut delivered = 0;
    loop {
        // Without tokio's budget: an exhausted one would make a full queue look empty.
        let next = match unconstrained(messages.next()).now_or_never() {
            Some(next) => next,
            None => {
                budget.clear();
                messages.next().await
            }
        };
        let Some(message) = next else {
            return on_push(ServerPush::Disconnected);
        };
        on_push(match message.get_channel::<Vec<u8>>() {
            Ok(channel) => ServerPush::Message { channel, payload: message.get_payload_bytes().to_vec() },
            Err(_) => ServerPush::Unreadable("a message without a channel".to_owned()),
        });
        delivered += 1;
        if delivered % BATCH == 0 {
            yield_now().await;
        }
    }
}

/// The number of bytes read since the queue was last empty.
#[derive(Default)]
struct ReadBudget {
    /// Relaxed: the bound may be exceeded by the bytes of one read.
    read: AtomicUsize,
    reader: AtomicWaker,
}

impl ReadBudget {
    fn is_full(&self) -> bool {
        self.read.load(Relaxed) > MAX_UNREAD
    }

    fn clear(&self) {
        self.read.store(0, Relaxed);
        self.reader.wake();
    }
}

/// A stream that is not read while the budget is used up.
struct BudgetedRead<S> {
    stream: S,
    budget: Arc<ReadBudget>,
}

impl<S: AsyncRead + Unpin> AsyncRead for BudgetedRead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.budget.is_full() {
            self.budget.reader.register(cx.waker());
            // Checked again: it may have been cleared in between.
            if self.budget.is_full() {
                return Poll::Pending;
            }
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.budget.read.fetch_add(buffer.filled().len() - before, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BudgetedRead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn undelivered_bytes_stop_reading() {
        let (mut server, client) = duplex(1 << 20);
        let budget = Arc::new(ReadBudget::default());
        let mut client = BudgetedRead { stream: client, budget: budget.clone() };
        tokio::spawn(async move { while server.write_all(&[0; 1 << 16]).await.is_ok() {} });
        let mut read = 0;
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count) = tokio::time::timeout(Duration::from_millis(100), client.read(&mut buffer)).await
        {
            read += count.unwrap();
            assert!(read <= MAX_UNREAD + buffer.len());
        }
        assert!(read > MAX_UNREAD);
        budget.clear();
        assert!(client.read(&mut buffer).await.unwrap() > 0);
    }
}
