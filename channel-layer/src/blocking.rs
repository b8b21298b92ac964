//! Calls of a layer from threads without asynchronous code: [`BlockingLayer`].

use std::{
    fmt,
    pin::{Pin, pin},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::{consume_budget, yield_now},
};

use crate::{
    config::MailboxOptions,
    error::{Error, Result},
    ext::ChannelLayerExt,
    layer::{Audience, ChannelLayer, SendReport},
    mailbox::Mailbox,
    message::Message,
    name::{ChannelName, GroupName},
    registry::Registry,
};

/// The time that a call may take, unless [set](BlockingLayer::with_timeout).
const TIMEOUT: Duration = Duration::from_secs(5);

/// More operations than tokio allows a task in one turn, which is 128.
const TURN: usize = 1024;

/// A layer for threads: a command line program, a thread of a simulation, a host in another language. Clones share the
/// layer.
///
/// Each call keeps its thread until the answer or the deadline, while a runtime makes the call. Threads of
/// [`spawn_blocking`](tokio::task::spawn_blocking) and `block_in_place` may call. A task of
/// a runtime may not, nor a future in `block_on`: it would stop the tasks of its thread, perhaps the one that it waits for. It
/// gets [`InsideRuntime`](Error::InsideRuntime) and should await the layer itself. Only an
/// [`unconstrained`](tokio::task::unconstrained) future in the `block_on` of a multi-thread runtime is not noticed; its calls
/// work.
///
/// ```
/// use std::{thread, time::Duration};
///
/// use channel_layer::{ChannelName, Message, Registry, blocking::BlockingLayer};
///
/// fn main() -> channel_layer::Result<()> {
///     let layer = BlockingLayer::connect(Registry::default(), "memory://")?;
///     let jobs = ChannelName::new("thumbnails")?;
///     let worker = thread::spawn({
///         let (layer, jobs) = (layer.clone(), jobs.clone());
///         move || layer.receive(&jobs, Duration::from_secs(5))
///     });
///     layer.send(&jobs, Message::new("thumbnail.generate").with("image", 1902))?;
///     let job = worker.join().expect("no panic")?.expect("a job within five seconds");
///     assert_eq!(job.get("image").and_then(|image| image.as_i64()), Some(1902));
///     layer.close()
/// }
/// ```
///
/// # Errors
/// Those of the [`ChannelLayer`]; and of every method here:
/// * [`InsideRuntime`](Error::InsideRuntime) in a task or a `block_on` of a runtime. Nothing was done.
/// * [`TimedOut`](Error::TimedOut) after the deadline, also if nobody runs the runtime. The call ends there, but may have
///   taken effect.
/// * [`Unavailable`](Error::Unavailable) if the runtime was shut down before the call,
///   [`Interrupted`](Error::Interrupted) if it was during the call.
#[derive(Clone)]
pub struct BlockingLayer {
    layer: Arc<dyn ChannelLayer>,
    runtime: Handle,
    timeout: Duration,
    /// The runtime of a layer that was started here; ends with the last clone.
    thread: Option<Arc<RuntimeThread>>,
}

impl BlockingLayer {
    /// A front of a layer that exists. Calls run on `runtime`, which somebody else drives: that of the layer's
    /// connections, for example.
    pub fn new(layer: impl ChannelLayer, runtime: Handle) -> Self {
        Self { layer: layer.into_shared(), runtime, timeout: TIMEOUT, thread: None }
    }

    /// Connects to an address, on a runtime in a thread of its own.
    ///
    /// # Errors
    /// Those of [`Registry::connect`].
    pub fn connect(registry: Registry, url: &str) -> Result<Self> {
        let url = url.to_owned();
        Self::start(async move || registry.connect(&url).await)
    }

    /// Makes a layer with `connect`, on a runtime in a thread of its own. It ends with the last clone of the result: call
    /// [`close`](Self::close) first if the layer has a backend.
    ///
    /// # Errors
    /// Those of `connect`, which has 30 seconds; [`Unavailable`](Error::Unavailable) if the system has no thread left.
    pub fn start<L, F>(connect: impl FnOnce() -> F) -> Result<Self>
    where
        L: ChannelLayer,
        F: Future<Output = Result<L>> + Send + 'static,
    {
        const CONNECT: Duration = Duration::from_secs(30);
        check_thread()?;
        let (runtime, thread) = RuntimeThread::start()?;
        let layer = call(&runtime, CONNECT, connect())?.unwrap_or(Err(Error::TimedOut(CONNECT)))?;
        let thread = Some(Arc::new(thread));
        Ok(Self { layer: layer.into_shared(), runtime, timeout: TIMEOUT, thread })
    }

    /// Sets the time that a call may take, 5 seconds by default. Methods that wait for a message have a time of their
    /// own.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The layer itself, for asynchronous code.
    pub fn layer(&self) -> &Arc<dyn ChannelLayer> {
        &self.layer
    }

    /// Opens a mailbox, to be read by [`next`](Self::next): [`ChannelLayer::open`].
    pub fn open(&self, options: impl Into<MailboxOptions>) -> Result<Mailbox> {
        let options = options.into();
        self.call(async move |layer| layer.open(options).await)
    }

    /// Waits for the next message of a mailbox. `None` if none came in time, or the mailbox
    /// [has overflowed](Mailbox::is_overflowed).
    pub fn next(&self, mailbox: &mut Mailbox, within: Duration) -> Result<Option<Message>> {
        check_thread()?;
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let (mut cx, began) = (Context::from_waker(&waker), Instant::now());
        loop {
            if let Poll::Ready(message) = mailbox.poll_next(&mut cx) {
                return Ok(message);
            }
            match within.checked_sub(began.elapsed()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => return Ok(None),
            }
        }
    }

    /// Sends to one channel: [`ChannelLayer::send`].
    pub fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        let channel = channel.clone();
        self.call(async move |layer| layer.send(&channel, message).await)
    }

    /// Receives from a named channel: [`ChannelLayer::receive`]. `None` if no message came in time. No message is lost
    /// at the deadline.
    pub fn receive(&self, channel: &ChannelName, within: Duration) -> Result<Option<Message>> {
        check_thread()?;
        let (layer, channel) = (self.layer.clone(), channel.clone());
        call(&self.runtime, within, async move { layer.receive(&channel).await })?.transpose()
    }

    /// Sends a request and waits for its answer: [`ChannelLayerExt::request`].
    pub fn request(&self, channel: &ChannelName, request: Message, within: Duration) -> Result<Message> {
        check_thread()?;
        let (layer, channel) = (self.layer.clone(), channel.clone());
        let answer = async move { layer.request(&channel, request, within).await };
        call(&self.runtime, within, answer)?.unwrap_or(Err(Error::TimedOut(within)))
    }

    /// Adds a channel to a group: [`ChannelLayer::group_add`].
    pub fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        let (group, channel) = (group.clone(), channel.clone());
        self.call(async move |layer| layer.group_add(&group, &channel).await)
    }

    /// Takes a channel out of a group: [`ChannelLayer::group_discard`].
    pub fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        let (group, channel) = (group.clone(), channel.clone());
        self.call(async move |layer| layer.group_discard(&group, &channel).await)
    }

    /// Sends to all members of the audience's groups: [`ChannelLayer::group_send`].
    pub fn group_send(&self, to: impl Into<Audience>, message: Message) -> Result<SendReport> {
        let to = to.into();
        self.call(async move |layer| layer.group_send(&to, message).await)
    }

    /// Sends an event to all members of a group: [`ChannelLayerExt::group_send_event`].
    pub fn group_send_event<E: Serialize + ?Sized>(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>>,
        event: &E,
    ) -> Result<SendReport> {
        self.group_send(group.try_into().map_err(Into::into)?, Message::encode(event)?)
    }

    /// Ends the layer: [`ChannelLayer::close`].
    pub fn close(&self) -> Result<()> {
        self.call(async |layer| layer.close().await)
    }

    fn call<T, F>(&self, make: impl FnOnce(Arc<dyn ChannelLayer>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        check_thread()?;
        let outcome = call(&self.runtime, self.timeout, make(self.layer.clone()))?;
        outcome.unwrap_or(Err(Error::TimedOut(self.timeout)))
    }
}

/// Fails if this thread must not block. tokio has no function for that which does not panic, but two signs:
///
/// * On a thread that runs tasks, the scheduler keeps the waker of a task that yields; elsewhere, also in
///   `block_in_place`, it wakes it at once.
/// * A future has a budget of operations per turn, also one that a runtime's `block_on` polls on another thread. Threads that
///   may block have none. Nor has [`unconstrained`](tokio::task::unconstrained), so this sign alone is not enough.
fn check_thread() -> Result<()> {
    if Handle::try_current().is_err() {
        return Ok(());
    }
    let woken = Arc::new(WakeFlag::default());
    _ = pin!(yield_now()).poll(&mut Context::from_waker(&Waker::from(woken.clone())));
    let runs_tasks = !woken.0.load(Ordering::Relaxed);
    let mut cx = Context::from_waker(Waker::noop());
    let mut has_budget = || (0..TURN).any(|_| pin!(consume_budget()).poll(&mut cx).is_pending());
    if runs_tasks || has_budget() { Err(Error::InsideRuntime) } else { Ok(()) }
}

/// Runs a call on a runtime. `None` once its time is over: then the call ends, and has taken nothing with it.
fn call<F: Future<Output: Send> + Send + 'static>(
    runtime: &Handle,
    within: Duration,
    call: F,
) -> Result<Option<F::Output>> {
    let shared = Arc::new(SharedCall { state: Mutex::default(), changed: Condvar::new() });
    let task = runtime.spawn(CallTask { call: Box::pin(call), shared: shared.clone() });
    let is_waiting = |state: &mut CallState<_>| state.outcome.is_none() && !state.is_over;
    let waited = shared.changed.wait_timeout_while(shared.state(), within, is_waiting);
    let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
    if let Some(outcome) = state.outcome.take() {
        return Ok(Some(outcome));
    }
    if state.is_over {
        let cause = "the runtime was shut down, or the call panicked".into();
        return Err(if state.has_begun { Error::Interrupted(cause) } else { Error::Unavailable(cause) });
    }
    state.is_abandoned = true;
    drop(state);
    task.abort();
    Ok(None)
}

/// A call between its thread and the task that makes it.
struct SharedCall<T> {
    /// Held by the task while it polls the call, so that it never takes a message after its thread has given up.
    state: Mutex<CallState<T>>,
    changed: Condvar,
}

struct CallState<T> {
    outcome: Option<T>,
    has_begun: bool,
    /// Set by the thread at its deadline.
    is_abandoned: bool,
    /// Set once the task is gone.
    is_over: bool,
}

struct CallTask<F: Future> {
    call: Pin<Box<F>>,
    shared: Arc<SharedCall<F::Output>>,
}

impl<T> SharedCall<T> {
    fn state(&self) -> MutexGuard<'_, CallState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for CallState<T> {
    fn default() -> Self {
        Self { outcome: None, has_begun: false, is_abandoned: false, is_over: false }
    }
}

impl<F: Future> Future for CallTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { call, shared } = &mut *self;
        let mut state = shared.state();
        if state.is_abandoned {
            return Poll::Ready(());
        }
        state.has_begun = true;
        call.as_mut().poll(cx).map(|outcome| state.outcome = Some(outcome))
    }
}

impl<F: Future> Drop for CallTask<F> {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_one();
    }
}

/// A runtime in a thread of its own, which ends when this is dropped.
struct RuntimeThread {
    _running: oneshot::Sender<()>,
}

impl RuntimeThread {
    fn start() -> Result<(Handle, Self)> {
        let unavailable = |error: std::io::Error| Error::Unavailable(error.into());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(unavailable)?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel::<()>();
        let run = move || drop(runtime.block_on(ended));
        thread::Builder::new().name("channel-layer".to_owned()).spawn(run).map_err(unavailable)?;
        Ok((handle, Self { _running: running }))
    }
}

/// Whether a waker was woken.
#[derive(Default)]
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl fmt::Debug for BlockingLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingLayer")
            .field("layer", &self.layer)
            .field("timeout", &self.timeout)
            .field("has_thread", &self.thread.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests;
