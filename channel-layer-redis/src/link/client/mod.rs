//! The interface to the Redis client crate. No other module names that crate, so that its next major version changes only
//! this folder.

mod command;
mod error;
mod push;
mod reply;
mod resp2;
mod stream;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, aio::MultiplexedConnection,
};
use tokio::sync::OnceCell;

pub(crate) use self::{
    command::{Command, Commands, Replies, Script},
    push::{OnPush, ServerPush},
    reply::Reply,
};
use self::{resp2::Subscriber, stream::tcp_settings};
use crate::{
    config::{RedisConfig, Server, ServerAddress},
    error::CallError,
};

/// The queue inside the client crate. Our commands arrive in batches, so a short one is enough.
const CLIENT_QUEUE: usize = 64;

/// The size at which a write is passed to the kernel, if the queue is not empty before.
const WRITE_BUFFER: usize = 64 << 10;

/// A connection to a server; clones share it. It closes when the last clone is dropped.
///
/// Without RESP3, subscriptions use a second connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    commands: MultiplexedConnection,
    /// `None` in RESP3.
    subscriber: Option<Arc<LazySubscriber>>,
}

/// The second connection, for subscriptions in RESP2.
struct LazySubscriber {
    server: Server,
    config: RedisConfig,
    on_push: OnPush,
    /// Opened by the first subscription.
    opened: OnceCell<Subscriber>,
}

impl Connection {
    /// Connects and logs in.
    pub(crate) async fn open(
        server: &Server,
        config: &RedisConfig,
        on_push: OnPush,
    ) -> Result<Self, CallError> {
        let is_refused = |error: &RedisError| error::is_hello_refused(error, server.login.password.is_some());
        match Self::open_with(ProtocolVersion::RESP3, server, config, on_push.clone()).await {
            Err(error) if error.as_ref().is_some_and(is_refused) => {
                let opened = Self::open_with(ProtocolVersion::RESP2, server, config, on_push).await;
                opened.map_err(|error| unreachable(error, server, config))
            }
            opened => opened.map_err(|error| unreachable(error, server, config)),
        }
    }

    /// Connects in this version of the protocol. The error is `None` if the deadline passed.
    async fn open_with(
        protocol: ProtocolVersion,
        server: &Server,
        config: &RedisConfig,
        on_push: OnPush,
    ) -> Result<Self, Option<RedisError>> {
        let client = client(server, config, protocol)?;
        let mut options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.hub.connect_timeout))
            .set_response_timeout(None) // each call has its own deadline
            .set_pipeline_buffer_size(CLIENT_QUEUE)
            .set_write_backpressure_boundary(WRITE_BUFFER);
        let subscriber = match protocol {
            ProtocolVersion::RESP2 => {
                let (server, config) = (server.clone(), config.clone());
                Some(Arc::new(LazySubscriber { server, config, on_push, opened: OnceCell::new() }))
            }
            _ => {
                options = options.set_push_sender(move |info| {
                    if let Some(push) = ServerPush::from_info(info) {
                        on_push(push);
                    }
                    Ok::<_, ()>(())
                });
                None
            }
        };
        let opening = client.get_multiplexed_async_connection_with_config(&options);
        let commands =
            tokio::time::timeout(config.hub.connect_timeout, opening).await.map_err(|_| None)??;
        Ok(Self { commands, subscriber })
    }

    /// Sends a command. `limit` is `None` for blocking commands, which contain a timeout.
    pub(crate) async fn call(&self, command: &Command, limit: Option<Duration>) -> Result<Reply, CallError> {
        let mut connection = self.commands.clone();
        let reply = with_deadline(limit, connection.send_packed_command(command.as_inner())).await?;
        Reply::from_value(reply)
    }

    /// Sends commands in one write. Each has its own reply.
    pub(crate) async fn call_all(&self, commands: Commands, limit: Duration) -> Result<Replies, CallError> {
        let pipeline = commands.as_inner();
        let count = pipeline.len();
        let mut connection = self.commands.clone();
        let replies = with_deadline(Some(limit), connection.send_packed_commands(pipeline, 0, count)).await?;
        if replies.len() != count {
            return Err(CallError::UnexpectedReply("a pipeline"));
        }
        Ok(Replies::new(replies))
    }

    /// Subscribes, and waits until the server has confirmed every channel.
    pub(crate) async fn subscribe(&self, channels: &[String], limit: Duration) -> Result<(), CallError> {
        match &self.subscriber {
            None => with_deadline(Some(limit), self.commands.clone().subscribe(channels)).await,
            Some(subscriber) => {
                let opened = subscriber.opened.get_or_try_init(|| subscriber.open()).await?;
                with_deadline(Some(limit), opened.subscribe(channels)).await
            }
        }
    }

    /// Unsubscribes, and waits until the server has confirmed every channel.
    pub(crate) async fn unsubscribe(&self, channels: &[String], limit: Duration) -> Result<(), CallError> {
        match &self.subscriber {
            None => with_deadline(Some(limit), self.commands.clone().unsubscribe(channels)).await,
            Some(subscriber) => match subscriber.opened.get() {
                Some(opened) => with_deadline(Some(limit), opened.unsubscribe(channels)).await,
                None => Ok(()), // there is no subscription
            },
        }
    }

    /// Checks that the server replies. A refusal is a reply: a server that cannot write its disk refuses even `PING`.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), CallError> {
        let replied = |answer| match answer {
            Ok(()) | Err(CallError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        };
        replied(self.call(&Command::new("PING"), Some(limit)).await.map(drop))?;
        match self.subscriber.as_ref().and_then(|subscriber| subscriber.opened.get()) {
            Some(opened) => replied(with_deadline(Some(limit), opened.ping()).await),
            None => Ok(()),
        }
    }
}

impl LazySubscriber {
    async fn open(&self) -> Result<Subscriber, CallError> {
        let Self { server, config, on_push, .. } = self;
        let settings = settings(server, ProtocolVersion::RESP2);
        let opening = Subscriber::open(server, config, &settings, on_push.clone());
        let opened = tokio::time::timeout(config.hub.connect_timeout, opening).await;
        opened
            .map_err(|_| None)
            .and_then(|opened| opened.map_err(Some))
            .map_err(|error| unreachable(error, server, config))
    }
}

/// Omits the settings, which may contain a password.
impl fmt::Debug for LazySubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazySubscriber").field("opened", &self.opened).finish_non_exhaustive()
    }
}

fn unreachable(error: Option<RedisError>, server: &Server, config: &RedisConfig) -> CallError {
    let reason = match error {
        Some(error) => error::reason(&error),
        None => format!("no answer within {:?}", config.hub.connect_timeout),
    };
    CallError::Unreachable(format!("{}: {reason}", server.address))
}

async fn with_deadline<T>(
    limit: Option<Duration>,
    call: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, CallError> {
    let result = match limit {
        Some(limit) => tokio::time::timeout(limit, call).await.map_err(|_| CallError::TimedOut(limit))?,
        None => call.await,
    };
    result.map_err(|error| error::call_error(&error))
}

fn client(
    server: &Server,
    config: &RedisConfig,
    protocol: ProtocolVersion,
) -> Result<redis::Client, RedisError> {
    let info = connection_info(server, config, protocol)?;
    #[cfg(feature = "tls")]
    if server.address.is_tls() {
        choose_cryptography();
    }
    #[cfg(feature = "tls")]
    if server.address.is_tls() {
        let client = config.tls.client.clone();
        let client_tls =
            client.map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
        let certificates = redis::TlsCertificates { client_tls, root_cert: config.tls.root.clone() };
        return redis::Client::build_with_tls(info, certificates);
    }
    let _ = (config, server.address.is_tls());
    redis::Client::open(info)
}

/// Installs a provider for the whole process, unless there is one: with several compiled in, rustls chooses none and
/// panics.
#[cfg(feature = "tls")]
fn choose_cryptography() {
    use rustls::crypto::{CryptoProvider, ring};
    if CryptoProvider::get_default().is_none() {
        let _ = ring::default_provider().install_default(); // a concurrent call installed one
    }
}

fn connection_info(
    server: &Server,
    config: &RedisConfig,
    protocol: ProtocolVersion,
) -> Result<ConnectionInfo, RedisError> {
    let address = match &server.address {
        ServerAddress::Tcp { host, port, tls: false } => ConnectionAddr::Tcp(host.clone(), *port),
        ServerAddress::Tcp { host, port, tls: true } => {
            let insecure = config.tls.is_unverified;
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure, tls_params: None }
        }
        ServerAddress::Unix(path) => ConnectionAddr::Unix(path.clone()),
    };
    let settings = settings(server, protocol);
    Ok(address.into_connection_info()?.set_redis_settings(settings).set_tcp_settings(tcp_settings()))
}

fn settings(server: &Server, protocol: ProtocolVersion) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default().set_protocol(protocol).set_db(server.login.database);
    if let Some(username) = &server.login.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &server.login.password {
        settings = settings.set_password(password.reveal());
    }
    settings
}
