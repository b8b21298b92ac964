//! The loop that starts a concurrent consumer's hooks, from `connect` to `disconnect`.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use channel_layer::Message;
use tokio::time::{Sleep, sleep};

use super::{
    super::drive::{DecodedEvent, GRACE, Hook, decode, finish, handleable, is_undecided, join_groups},
    ConcurrentConsumer, HookInput,
    running::{HookKey, RunningHooks},
};
use crate::{
    application::{Application, from_fn},
    error::{Error, Result},
    frame::Frame,
    socket::{ConcurrentSocket, Socket},
    wire::Input,
};

/// The application that makes a concurrent consumer per connection.
pub fn concurrent<C, F>(make: F) -> impl Application
where
    C: ConcurrentConsumer,
    F: Fn() -> C + Send + Sync + 'static,
{
    from_fn(move |context| Box::pin(drive(make(), Socket::from_context(context))))
}

async fn drive<C: ConcurrentConsumer>(mut consumer: C, mut socket: Socket) -> Result<()> {
    if socket.connection().profile().decides_only {
        // The client passed all guards. Its consumer runs elsewhere.
        return Box::pin(socket.accept()).await;
    }
    let connected = Box::pin(connect(&mut consumer, &mut socket)).await;
    let (outcome, consumer, shared) = Box::pin(serve(consumer, &mut socket, connected)).await;
    let last = async |_: &mut Socket, close| consumer.disconnect(&shared, close).await;
    Box::pin(finish(&mut socket, outcome, last)).await
}

async fn connect<C: ConcurrentConsumer>(consumer: &mut C, socket: &mut Socket) -> Result<()> {
    let connection = socket.connection().clone();
    let connect = async {
        join_groups(socket, C::GROUPS).await?;
        consumer.connect(socket).await
    };
    Hook::new(connection, connect).await
}

/// Handles all inputs, until no hook runs any more.
async fn serve<C: ConcurrentConsumer>(
    consumer: C,
    socket: &mut Socket,
    connected: Result<()>,
) -> (Result<()>, Arc<C>, ConcurrentSocket) {
    let failed_early = connected.is_err() && !socket.is_open();
    if let Err(error) = &connected
        && failed_early
    {
        socket.report("connect", error);
    }
    let is_over = failed_early || is_undecided(socket);
    let shared = ConcurrentSocket::take_over(socket);
    let mut driver =
        Driver { consumer: Arc::new(consumer), socket: shared, hooks: RunningHooks::default(), grace: None };
    let outcome = match connected {
        connected if is_over => connected,
        connected => driver.live(socket, connected).await,
    };
    driver.socket.give_back(socket);
    (outcome, driver.consumer, driver.socket)
}

struct Driver<C> {
    consumer: Arc<C>,
    socket: ConcurrentSocket,
    hooks: RunningHooks,
    /// The time that hooks may go on after the end of the connection.
    grace: Option<Pin<Box<Sleep>>>,
}

enum Step {
    Input(Result<Input>),
    Ended(Result<()>),
    /// The connection has ended, and all of its input has begun; or the hooks have had their time.
    Over,
}

impl<C: ConcurrentConsumer> Driver<C> {
    async fn live(&mut self, socket: &mut Socket, connected: Result<()>) -> Result<()> {
        if let Err(error) = connected {
            self.start(None, "connect", self.socket.clone(), async { Err(error) });
        }
        let outcome = loop {
            let outcome = match poll_fn(|cx| self.poll_step(cx, socket)).await {
                Step::Over => break Ok(()),
                Step::Ended(outcome) => outcome,
                Step::Input(Ok(input)) => self.begin(input),
                Step::Input(Err(error)) => {
                    self.start(None, "event", self.socket.clone(), async { Err(error) });
                    Ok(())
                }
            };
            match outcome {
                // A hook could not send any more. What its client sent before it left counts all the same.
                Err(Error::Closed) if !self.socket.is_open() => {}
                Err(error) => break Err(error),
                Ok(()) => {}
            }
        };
        let connection = self.socket.connection().clone();
        if let Err(error) = &outcome
            && !connection.was_reported(error)
        {
            connection.report(Some(self.socket.scope().raw_path()), "connection", error);
        }
        connection.close_for(&outcome); // the client need not wait for the hooks
        self.socket.end_requests();
        if !connection.is_lost() {
            self.hooks.drop_waiting();
        }
        while poll_fn(|cx| self.poll_left(cx)).await {}
        self.hooks.drop_all();
        outcome
    }

    fn poll_step(&mut self, cx: &mut task::Context<'_>, socket: &mut Socket) -> Poll<Step> {
        if self.poll_grace(cx).is_ready() {
            return Poll::Ready(Step::Over);
        }
        // Hooks first: those that end make room.
        if let Poll::Ready(Some(outcome)) = self.hooks.poll_ended(cx) {
            return Poll::Ready(Step::Ended(outcome));
        }
        if self.hooks.len() >= C::LIMIT.max(1) {
            self.socket.poll_answers(cx); // hooks may wait for them
            return Poll::Pending;
        }
        if let Poll::Ready(input) = self.socket.poll_timer(cx) {
            return Poll::Ready(Step::Input(Ok(input)));
        }
        let next = if self.hooks.len() == 0 { socket.poll_next(cx) } else { socket.poll_next_beside(cx) };
        next.map(|next| next.transpose().map_or(Step::Over, Step::Input))
    }

    /// Ready once hooks have had their time after the end of the connection.
    fn poll_grace(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        if self.hooks.len() == 0 || self.socket.connection().poll_closed(cx).is_pending() {
            return Poll::Pending;
        }
        self.grace.get_or_insert_with(|| Box::pin(sleep(GRACE))).as_mut().poll(cx)
    }

    /// Ready with whether hooks are left that may still run.
    fn poll_left(&mut self, cx: &mut task::Context<'_>) -> Poll<bool> {
        match self.hooks.poll_ended(cx) {
            Poll::Ready(None) => Poll::Ready(false),
            Poll::Ready(Some(outcome)) => {
                if let Err(error) = outcome
                    && !matches!(error, Error::Closed)
                {
                    let path = self.socket.scope().raw_path();
                    self.socket.connection().report(Some(path), "connection", &error);
                }
                Poll::Ready(true)
            }
            Poll::Pending => self.poll_grace(cx).map(|()| false),
        }
    }

    /// Begins to handle an input.
    fn begin(&mut self, input: Input) -> Result<()> {
        match input {
            answer if self.socket.take_answer(&answer) => {}
            Input::Frame(frame) => return self.begin_frame(frame),
            Input::Event(message) => return self.begin_event(message),
            Input::Layer(event) => {
                let (consumer, socket) = (self.consumer.clone(), self.socket.clone());
                let hook = async move { consumer.layer_event(&socket, event).await };
                self.start(Some(HookKey::Notice), "layer_event", self.socket.clone(), hook);
            }
            Input::Resumed(resumed) => {
                self.socket.set_resumed(&resumed);
                let (consumer, socket) = (self.consumer.clone(), self.socket.clone());
                let hook = async move { consumer.resumed(&socket, resumed).await };
                self.start(Some(HookKey::Notice), "resumed", self.socket.clone(), hook);
            }
            Input::Body { .. } => {}
        }
        Ok(())
    }

    fn begin_frame(&mut self, frame: Frame) -> Result<()> {
        let key = self.key(HookInput::Frame(&frame))?;
        let socket = self.socket.for_frame(&frame);
        let (consumer, of_hook) = (self.consumer.clone(), socket.clone());
        self.start(key, "receive", socket, async move { consumer.receive(&of_hook, frame).await });
        Ok(())
    }

    fn begin_event(&mut self, message: Message) -> Result<()> {
        let DecodedEvent(Some(event)) = message.derived(decode::<C::Event>) else { return Ok(()) };
        let key = self.key(HookInput::Event(event))?;
        let (consumer, socket) = (self.consumer.clone(), self.socket.clone());
        let hook = async move {
            match message.derived(decode::<C::Event>) {
                DecodedEvent(Some(event)) => consumer.event(&socket, event).await,
                DecodedEvent(None) => Ok(()),
            }
        };
        self.start(key, "event", self.socket.clone(), hook);
        Ok(())
    }

    fn key(&self, input: HookInput<'_, C::Event>) -> Result<Option<HookKey>> {
        match catch_unwind(AssertUnwindSafe(|| self.consumer.key(input))) {
            Ok(key) => Ok(key.map(HookKey::Chosen)),
            Err(panic) => Err(Error::from_panic(&*panic)),
        }
    }

    /// Starts a hook; the `error` hook handles its failure.
    fn start(
        &mut self,
        key: Option<HookKey>,
        name: &'static str,
        socket: ConcurrentSocket,
        hook: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        let consumer = self.consumer.clone();
        self.hooks.start(key, async move {
            let Err(error) = hook.await else { return Ok(()) };
            let error = handleable(socket.connection(), socket.scope(), name, error)?;
            consumer.error(&socket, error).await?;
            socket.connection().set_survived();
            Ok(())
        });
    }
}
