//! The servers, and one connection to one of them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_nats::{Client, ConnectOptions, PublishErrorKind, ServerAddr, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use channel_layer::backbone::{Backbone, BackboneLink, Batch, Inbound, Subscription};
use channel_layer::{Error, Result};
use futures_util::StreamExt;
use tokio::sync::{Mutex, MutexGuard, mpsc, watch};
use tokio_util::task::AbortOnDropHandle as Task;

/// NATS servers of one cluster.
#[derive(Debug)]
pub struct NatsBackbone {
    pub(crate) servers: Vec<ServerAddr>,
    pub(crate) options: ConnectOptions,
}

#[async_trait]
impl Backbone for NatsBackbone {
    async fn connect(&self) -> Result<Arc<dyn BackboneLink>> {
        let ended = watch::Sender::new(());
        let end = ended.clone();
        // async-nats would connect again: a link, which has a receiver, ends now, and is gone after the pause.
        let pause = move |_| {
            end.send_replace(());
            Duration::from_secs(end.receiver_count() as u64)
        };
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

/// A link. It confirms its calls by messages to itself, since `Client::flush` does not wait for the server.
#[derive(Debug)]
struct NatsLink {
    client: Client,
    inbox: String,
    /// The number of the last message to itself. Locked while a call is queued: calls keep their order.
    sent: Mutex<u64>,
    /// Those that come back, and the number of the last one.
    echoed: Mutex<(Subscriber, u64)>,
    /// The task of each subscription, which ends with it.
    topics: Mutex<HashMap<String, Task<()>>>,
    messages: mpsc::Sender<Inbound>,
    inbound: Mutex<(mpsc::Receiver<Inbound>, watch::Receiver<()>)>,
}

impl NatsLink {
    async fn listen(&self, topics: &[String], is_shared: bool) -> Result<Subscription> {
        let turn = self.sent.lock().await;
        for topic in topics {
            let subscribing = match is_shared {
                true => self.client.queue_subscribe(subject(topic), "receivers".into()).await,
                false => self.client.subscribe(subject(topic)).await,
            };
            let mut subscriber = subscribing.map_err(broken)?;
            let (messages, name) = (self.messages.clone(), topic.clone());
            let task = tokio::spawn(async move {
                while let Some(message) = subscriber.next().await {
                    let _ = messages.send(Inbound { topic: name.clone(), bytes: message.payload }).await;
                }
            });
            self.topics.lock().await.insert(topic.clone(), Task::new(task));
        }
        self.confirm(turn).await.map(|()| Subscription::Confirmed)
    }

    /// Waits until the server has done what was queued before.
    async fn confirm(&self, mut sent: MutexGuard<'_, u64>) -> Result<()> {
        *sent += 1;
        let (number, payload) = (*sent, sent.to_be_bytes().to_vec());
        self.client.publish(self.inbox.clone(), payload.into()).await.map_err(broken)?;
        drop(sent);
        let (echoes, last) = &mut *self.echoed.lock().await;
        while *last < number {
            let echo = echoes.next().await.ok_or_else(|| broken("disconnected"))?;
            *last = echo.payload[..].try_into().map_or(*last, u64::from_be_bytes);
        }
        Ok(())
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
        self.listen(&[topic.to_owned()], false).await
    }

    async fn subscribe_all(&self, topics: &[String]) -> Result<Vec<Result<Subscription>>> {
        self.listen(topics, false).await.map(|answer| topics.iter().map(|_| Ok(answer)).collect())
    }

    async fn subscribe_shared(&self, topic: &str) -> Result<Subscription> {
        self.listen(&[topic.to_owned()], true).await
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

/// Names may hold dots anywhere, which NATS does not allow, and no slashes.
fn subject(topic: &str) -> String {
    topic.replace('.', "/")
}
