//! A channel layer on NATS: an example of a backend on [`HubLayer`].
//!
//! Addresses are `nats://[USER:PASSWORD@]HOST[:PORT][,HOST2[:PORT2]...]`, with all servers in one cluster. Messages are not
//! stored: one on a named channel goes to one of the waiting processes, or is lost. The size limit of a message is the
//! server's `max_payload`, 1 MiB by default, envelope included.
//!
//! Options follow after `?`: `prefix`, the beginning of all subjects (`channels`), and those of
//! [`Options::hub_options`](channel_layer::registry::Options::hub_options), with the same meaning as those of
//! [`memory://`](channel_layer::Registry).

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use async_nats::{Client, ConnectOptions, PublishErrorKind, ServerAddr, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use channel_layer::backbone::{Backbone, BackboneLink, Batch, HubLayer, Inbound, Subscription};
use channel_layer::{ConfigError, Error, Result, registry::Scheme};
use futures_util::StreamExt;
use tokio::sync::{Mutex, MutexGuard, mpsc, watch};
use tokio_util::task::AbortOnDropHandle as Task;

/// The scheme `nats`, for a [`Registry`](channel_layer::Registry).
pub fn scheme() -> Scheme {
    Scheme::new("nats", async |address| {
        let mut query = address.options();
        let options = query.hub_options()?.with_shared_subscriptions(true);
        let prefix = query.take("prefix")?.unwrap_or_else(|| "channels".to_owned());
        query.finish()?;
        let layer = HubLayer::builder(NatsBackbone::new(address.base())?, options).prefix(prefix);
        layer.connect().await
    })
}

/// NATS servers of one cluster.
#[derive(Debug)]
pub struct NatsBackbone {
    servers: Vec<ServerAddr>,
    options: ConnectOptions,
}

impl NatsBackbone {
    /// Returns the servers of an address without options, not yet connected.
    ///
    /// # Errors
    /// [`Config`](channel_layer::Error::Config) for an address that cannot be read.
    pub fn new(address: &str) -> Result<Self> {
        let mut servers = Vec::new();
        let mut options = ConnectOptions::new().connection_timeout(Duration::from_secs(1));
        for server in address.split(',') {
            let server: ServerAddr = server.parse().map_err(|error: std::io::Error| ConfigError::Option {
                option: "address".to_owned(),
                reason: error.to_string(),
            })?;
            let mut url = server.into_inner();
            if let Some(password) = url.password() {
                let decoded =
                    |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
                options = options.user_and_password(decoded(url.username()), decoded(password));
            }
            // Logs show addresses.
            let _ = (url.set_username(""), url.set_password(None));
            servers.extend(ServerAddr::from_url(url));
        }
        Ok(Self { servers, options })
    }
}

#[async_trait]
impl Backbone for NatsBackbone {
    async fn connect(&self) -> Result<Arc<dyn BackboneLink>> {
        let ended = watch::Sender::new(());
        let end = ended.clone();
        // async-nats would reconnect. Instead, this ends the link, which is dropped during the pause.
        let pause = move |_| Duration::from_secs(end.send(()).is_ok().into());
        let options = self.options.clone().max_reconnects(self.servers.len()).reconnect_delay_callback(pause);
        let connecting = options.connect(&self.servers[..]).await;
        let client = connecting.map_err(|error| Error::Unavailable(error.into()))?;
        let inbox = client.new_inbox();
        let echoes = client.subscribe(inbox.clone()).await.map_err(broken)?;
        let (messages, inbound) = mpsc::channel(1024);
        let (echoed, inbound) = (Mutex::new((echoes, 0)), Mutex::new((inbound, ended.subscribe())));
        let (sent, topics) = Default::default();
        Ok(Arc::new(NatsLink { client, inbox, sent, echoed, topics, messages, inbound }))
    }
}

/// A link, which confirms its calls by messages to itself: `Client::flush` does not wait for the server.
struct NatsLink {
    client: Client,
    inbox: String,
    /// The number of messages to itself. Locked while a call is queued, so that calls keep their order.
    sent: Mutex<u64>,
    /// The messages that come back, and their number so far.
    echoed: Mutex<(Subscriber, u64)>,
    /// The task of each subscription, which ends with it.
    topics: Mutex<HashMap<String, Task<()>>>,
    messages: mpsc::Sender<Inbound>,
    inbound: Mutex<(mpsc::Receiver<Inbound>, watch::Receiver<()>)>,
}

impl NatsLink {
    async fn listen(&self, topic: &str, is_shared: bool) -> Result<Subscription> {
        let turn = self.sent.lock().await;
        let subscribing = match is_shared {
            true => self.client.queue_subscribe(subject(topic), "receivers".into()).await,
            false => self.client.subscribe(subject(topic)).await,
        };
        let mut subscriber = subscribing.map_err(broken)?;
        let (messages, name) = (self.messages.clone(), topic.to_owned());
        let task = tokio::spawn(async move {
            while let Some(message) = subscriber.next().await {
                let _ = messages.send(Inbound { topic: name.clone(), bytes: message.payload }).await;
            }
        });
        self.topics.lock().await.insert(topic.to_owned(), Task::new(task));
        self.confirm(turn).await.map(|()| Subscription::Confirmed)
    }

    /// Waits until the server has executed all queued calls.
    async fn confirm(&self, mut sent: MutexGuard<'_, u64>) -> Result<()> {
        self.client.publish(self.inbox.clone(), Bytes::new()).await.map_err(broken)?;
        *sent += 1;
        let number = *sent;
        drop(sent);
        let (echoes, count) = &mut *self.echoed.lock().await;
        while *count < number {
            echoes.next().await.ok_or_else(|| broken("disconnected"))?;
            *count += 1;
        }
        Ok(())
    }
}

/// Shows only the inbox of the link: the client shows addresses.
impl fmt::Debug for NatsLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NatsLink").field(&self.inbox).finish()
    }
}

#[async_trait]
impl BackboneLink for NatsLink {
    async fn publish(&self, topic: &str, bytes: Bytes) -> Result<Option<usize>> {
        let publishing = self.client.publish(subject(topic), bytes).await;
        publishing.map(|()| None).map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Error::InvalidMessage(error.into()),
            _ => broken(error),
        })
    }

    async fn publish_all(&self, batch: &Batch) -> Result<Vec<Result<Option<usize>>>> {
        let turn = self.sent.lock().await;
        let mut outcomes = Vec::with_capacity(batch.len());
        for (topic, payload) in batch.iter() {
            outcomes.push(self.publish(topic, Bytes::copy_from_slice(payload)).await);
        }
        self.confirm(turn).await.map(|()| outcomes)
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        self.listen(topic, false).await
    }

    async fn subscribe_shared(&self, topic: &str) -> Result<Subscription> {
        self.listen(topic, true).await
    }

    async fn unsubscribe(&self, topic: &str) -> Result<()> {
        self.topics.lock().await.remove(topic);
        Ok(())
    }

    async fn next(&self) -> Result<Inbound> {
        let (inbound, ended) = &mut *self.inbound.lock().await;
        tokio::select! {
            Some(message) = inbound.recv() => Ok(message),
            _ = ended.changed() => Err(broken("disconnected")),
        }
    }

    async fn ping(&self) -> Result<()> {
        self.confirm(self.sent.lock().await).await
    }
}

fn broken(error: impl ToString) -> Error {
    Error::Interrupted(error.to_string().into())
}

/// Replaces dots, which NATS restricts, by slashes, which names do not contain.
fn subject(topic: &str) -> String {
    topic.replace('.', "/")
}
