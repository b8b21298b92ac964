//! The task that takes messages from the queues of one shard. It owns the taker, so that cancelling a receiver loses no
//! message.

use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Poll, ready},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    backoff::Backoff,
    counters::{Count, Counters},
    error::LinkError,
    link::BackboneLink,
    options::HubOptions,
    panics::caught,
    queues::{Queues, Taken, Taker, Wanted},
    receivers::{GRACE, Receivers, Returnable},
};
use crate::{
    error::Error,
    message::Message,
    name::ChannelName,
    sync::{Mutex, lock},
};

/// The current link of a shard, `None` while there is none. It ends with the layer.
pub type Links = watch::Receiver<Option<Arc<dyn BackboneLink>>>;

/// The most messages of one channel in one call of [`Taker::take`].
const MOST: usize = 64;

/// The interval of attempts to give back messages while there is no link.
const AGAIN: Duration = Duration::from_secs(1);

/// Reads the queues of one shard for the receivers of its named channels.
///
/// A separate task takes messages while receivers wait, and gives back those whose receivers have left. It starts with
/// the first receiver, and ends with the reader or with the layer.
pub struct QueueReader {
    reading: Arc<Reading>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// The state that the task owns. It holds no reference to the layer.
struct Reading {
    receivers: Receivers,
    /// Whether messages are taken while no receiver waits. Relaxed: the notification that follows orders it.
    always: AtomicBool,
    links: Links,
    counters: Arc<Counters>,
    /// The longest time of one call: that of a new taker, which may connect.
    limit: Duration,
    decode: Box<Decode>,
}

type Decode = dyn Fn(&[u8]) -> Result<Message, String> + Send + Sync;

impl QueueReader {
    /// Makes a reader of the queues of these links.
    pub fn new<E: fmt::Display>(
        links: Links,
        counters: Arc<Counters>,
        options: &HubOptions,
        decode: impl Fn(&[u8]) -> Result<Message, E> + Send + Sync + 'static,
    ) -> Self {
        let decode = Box::new(move |body: &[u8]| decode(body).map_err(|error| error.to_string()));
        let (receivers, always) = (Receivers::default(), AtomicBool::new(false));
        let limit = options.connect_timeout.saturating_add(options.call_timeout());
        let reading = Reading { receivers, always, links, counters, limit, decode };
        Self { reading: Arc::new(reading), task: Mutex::default() }
    }

    /// Waits for a message of a channel. Returns `None` once the reader is closed. Cancel safe.
    pub async fn receive(&self, channel: &ChannelName) -> Option<Message> {
        self.start();
        self.reading.receivers.receive(channel).await
    }

    /// Calls [`Taker::take`] also while no receiver waits, for takers that deliver other messages themselves.
    pub fn take_always(&self) {
        self.start();
        self.reading.always.store(true, Relaxed);
        self.reading.receivers.changed.notify_one();
    }

    /// Drops the messages that were taken and not received.
    pub fn discard(&self) {
        self.reading.receivers.discard();
    }

    /// Ends all calls of [`receive`](Self::receive), and gives back the messages that were taken for them; after the
    /// limit the rest is lost.
    pub async fn close(&self, limit: Duration) {
        self.reading.receivers.close();
        let Some(mut task) = self.take_task() else { return };
        if timeout(limit, &mut task).await.is_err() {
            task.abort();
        }
    }

    fn start(&self) {
        let mut task = lock(&self.task);
        if !self.reading.receivers.is_closed() {
            task.get_or_insert_with(|| tokio::spawn(self.reading.clone().run()));
        }
    }

    fn take_task(&self) -> Option<JoinHandle<()>> {
        lock(&self.task).take()
    }
}

impl Drop for QueueReader {
    fn drop(&mut self) {
        self.reading.receivers.close();
        if let Some(task) = self.take_task() {
            task.abort();
        }
    }
}

impl fmt::Debug for QueueReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueueReader").field(&self.reading.receivers).finish()
    }
}

impl Reading {
    async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        while !self.is_over() {
            self.until_wanted(None).await;
            let began = Instant::now();
            if let Err(error) = caught("queue reader", self.serve()).await.and_then(|served| served) {
                self.log(&error);
                backoff.connected_for(began.elapsed());
                sleep(backoff.pause()).await;
            }
        }
        self.receivers.close();
        self.give_back().await;
    }

    /// Takes messages by one taker, until it fails or its link has ended.
    async fn serve(&self) -> Result<(), LinkError> {
        let Some(link) = self.link().await else { return Ok(()) };
        let mut taker = self.within(queues(&*link)?.taker()).await?;
        // Held weakly: the connection is not to outlive the layer, or the link.
        let link = Arc::downgrade(&link);
        while !self.is_over() && self.is_present(&link) {
            self.give_back().await;
            let wanted = self.wanted();
            if wanted.is_empty() && !self.always.load(Relaxed) {
                self.until_wanted(Some(&link)).await;
                continue;
            }
            let taken = self.take(&mut *taker, &wanted, &link).await?;
            self.counters.add(Count::Taken, taken.len() as u64);
            self.receivers.distribute(taken.into_iter().filter_map(|taken| self.decoded(taken)));
        }
        Ok(())
    }

    async fn take(
        &self,
        taker: &mut dyn Taker,
        wanted: &[Wanted],
        link: &Weak<dyn BackboneLink>,
    ) -> Result<Vec<Taken>, LinkError> {
        let (mut changed, mut is_changed) = (pin!(self.changed(wanted, link)), false);
        // Fused: a taker may poll it again.
        let mut changed = pin!(poll_fn(|cx| {
            if !is_changed {
                ready!(changed.as_mut().poll(cx));
                is_changed = true;
            }
            Poll::Ready(())
        }));
        let grace = taker.grace();
        let too_late = async {
            self.ended(link).await;
            sleep(grace).await;
        };
        tokio::select! {
            biased;
            taken = taker.take(wanted, changed.as_mut()) => Ok(taken?),
            () = too_late => Err(LinkError::Deadline(grace)),
        }
    }

    /// The messages to take now. Rotated at random, because a taker may prefer the first channel.
    fn wanted(&self) -> Vec<Wanted> {
        let mut wanted = self.receivers.wanted();
        if !wanted.is_empty() {
            let first = fastrand::usize(..wanted.len());
            wanted.rotate_left(first);
            wanted.iter_mut().for_each(|wanted| wanted.count = wanted.count.min(MOST));
        }
        wanted
    }

    fn decoded(&self, taken: Taken) -> Option<Returnable> {
        match (self.decode)(&taken.body) {
            Ok(message) => Some(Returnable { message, taken }),
            Err(error) => {
                self.counters.note_unreadable("a message of a named channel", error);
                None
            }
        }
    }

    /// Waits until a message is wanted. Ends early with the link, if one is given, and with the layer. Meanwhile
    /// gives back the messages without a receiver.
    async fn until_wanted(&self, link: Option<&Weak<dyn BackboneLink>>) {
        loop {
            let changed = self.receivers.changed.notified();
            let mut links = self.links.clone();
            links.mark_unchanged();
            self.give_back().await;
            let is_wanted = self.always.load(Relaxed) || !self.receivers.wanted().is_empty();
            if is_wanted || self.is_over() || link.is_some_and(|link| !self.is_present(link)) {
                return;
            }
            tokio::select! {
                () = until(changed, self.receivers.due()) => {}
                _ = links.changed() => {}
            }
        }
    }

    /// Waits until the taker must return: other messages are wanted, or the link has ended.
    async fn changed(&self, wanted: &[Wanted], link: &Weak<dyn BackboneLink>) {
        let wishes = async {
            // A receiver in a loop waits again at once, and the call of the taker continues for it.
            let mut left = None;
            loop {
                let changed = self.receivers.changed.notified();
                if self.receivers.is_closed() || self.receivers.wants_other_than(wanted) {
                    return;
                }
                let now = Instant::now();
                left = self.receivers.want_less_than(wanted).then(|| left.unwrap_or(now + GRACE));
                let deadline = [left, self.receivers.due()].into_iter().flatten().min();
                if deadline.is_some_and(|deadline| deadline <= now) {
                    return;
                }
                until(changed, deadline).await;
            }
        };
        tokio::select! {
            () = wishes => {}
            () = self.ended(link) => {}
        }
    }

    /// Gives back the messages without a receiver.
    async fn give_back(&self) {
        for (channel, messages) in self.receivers.leftovers(Instant::now()) {
            let taken: Vec<_> = messages.iter().map(|returnable| returnable.taken.clone()).collect();
            match self.put_back(&channel, &taken).await {
                Ok(()) => self.counters.add(Count::GivenBack, messages.len() as u64),
                Err(error) if error.is_unsent() && !self.is_over() => {
                    self.receivers.keep(channel, messages, Instant::now() + AGAIN);
                }
                Err(error) => {
                    self.counters.add(Count::Lost, messages.len() as u64);
                    if let Some(times) = self.counters.warning_due("lost messages", &error) {
                        let count = messages.len();
                        tracing::warn!(%channel, count, %error, times, "lost messages of a named channel");
                    }
                }
            }
        }
    }

    async fn put_back(&self, channel: &ChannelName, taken: &[Taken]) -> Result<(), LinkError> {
        let link = self.links.borrow().clone().ok_or(LinkError::Down)?;
        self.within(queues(&*link)?.give_back(channel, taken)).await
    }

    /// The present link, or the next one; `None` once the reader or the layer is closed.
    async fn link(&self) -> Option<Arc<dyn BackboneLink>> {
        let mut links = self.links.clone();
        loop {
            let changed = self.receivers.changed.notified();
            if self.receivers.is_closed() {
                return None;
            }
            tokio::select! {
                link = links.wait_for(Option::is_some) => return link.ok()?.clone(),
                () = changed => {}
            }
        }
    }

    /// Whether this is still the link of the shard.
    fn is_present(&self, link: &Weak<dyn BackboneLink>) -> bool {
        self.links.borrow().as_ref().is_some_and(|present| is_same(present, link))
    }

    async fn ended(&self, link: &Weak<dyn BackboneLink>) {
        let is_other = |present: &Option<Arc<dyn BackboneLink>>| {
            !present.as_ref().is_some_and(|present| is_same(present, link))
        };
        let _ = self.links.clone().wait_for(is_other).await; // an error is the end of the layer
    }

    fn is_over(&self) -> bool {
        self.receivers.is_closed() || self.links.has_changed().is_err()
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, LinkError> {
        let outcome = timeout(self.limit, call).await;
        Ok(outcome.map_err(|_| LinkError::Deadline(self.limit))??)
    }

    /// Logs a failure. The supervisor of the link reports outages; a refusal lasts until the server is changed.
    fn log(&self, error: &LinkError) {
        if error.is_outage() || matches!(error, LinkError::Closed) {
            tracing::debug!(%error, "the taker of named channels ended");
        } else {
            self.counters.warn("cannot take messages of named channels", error);
        }
    }
}

/// Waits until something has changed, or the deadline.
async fn until(changed: impl Future<Output = ()>, deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => drop(timeout_at(deadline, changed).await),
        None => changed.await,
    }
}

fn queues(link: &dyn BackboneLink) -> Result<&dyn Queues, LinkError> {
    link.queues().ok_or_else(|| Error::Unsupported("queues for named channels").into())
}

fn is_same(present: &Arc<dyn BackboneLink>, link: &Weak<dyn BackboneLink>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(present), link.as_ptr())
}

#[cfg(test)]
mod tests;
