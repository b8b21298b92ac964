//! A link in use, from its subscriptions to its end.

use std::sync::{Arc, OnceLock};

use futures_util::future::try_join_all;
use tokio::{sync::Notify, task::JoinHandle, time::timeout};

use super::{
    counters::Counters,
    error::LinkError,
    handler::{Probe, ShardHandler},
    link::{Backbone, BackboneLink, Subscription},
    options::HubOptions,
    sink::InboundSink,
    subscriptions::Subscriptions,
};
use crate::error::{Error, Result};

/// Topics in one call: a hundred thousand groups are a hundred calls, each with a deadline.
const CHUNK: usize = 1000;

/// The parts of a shard that a session uses.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) backbone: Arc<dyn Backbone>,
    pub(super) handler: Arc<dyn ShardHandler>,
    pub(super) options: HubOptions,
    pub(super) counters: Arc<Counters>,
    pub(super) subscriptions: Subscriptions,
}

/// A link that is in use, or about to be.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) link: Arc<dyn BackboneLink>,
    sink: InboundSink,
    end: Arc<End>,
    receiver: JoinHandle<()>,
}

/// The end of a session. The first reason counts.
#[derive(Debug, Default)]
struct End {
    error: OnceLock<LinkError>,
    /// Notified with the error. Only the supervisor waits.
    ended: Notify,
}

impl End {
    fn fail(&self, error: LinkError) {
        let _ = self.error.set(error); // a later reason
        self.ended.notify_one();
    }
}

impl Session {
    /// Connects, subscribes to all wanted topics, and waits until a probe has come back.
    pub(super) async fn open(context: &Context) -> Result<Self, LinkError> {
        let options = &context.options;
        // Finding the server, two connections, and the commands before the first use.
        let limit = options.connect_timeout * 3 + options.timeout * 3;
        let connecting = timeout(limit, context.backbone.connect()).await;
        let link = connecting.map_err(|_| LinkError::Deadline(limit))??;
        let session = Self::new(link, context);
        session.resume(context).await?;
        session.restore(context).await?;
        session.probe(context).await?;
        Ok(session)
    }

    fn new(link: Arc<dyn BackboneLink>, context: &Context) -> Self {
        let (handler, end) = (context.handler.clone(), Arc::new(End::default()));
        let sink = InboundSink::new(move |topic, payload| handler.received(topic, payload));
        link.attach(sink.clone());
        let receiver = tokio::spawn(receive(link.clone(), sink.clone(), end.clone()));
        Self { link, sink, end, receiver }
    }

    /// Subscribes to the topics of the process and of its groups. A refusal of the former fails the session. A refusal
    /// of a group affects only that group.
    async fn resume(&self, context: &Context) -> Result<(), LinkError> {
        context.handler.resumes();
        let always = context.handler.process_topics();
        self.subscribe(&always, context, |_, answer| answer).await?;
        let wanted = context.subscriptions.to_resume(|topic| context.handler.is_unused(topic));
        self.subscribe(&wanted, context, |topic, answer| match answer {
            Ok(()) => {
                context.subscriptions.answered(&[topic.to_owned()], Ok(()));
                Ok(())
            }
            Err(error) if is_refusal(&error) => {
                context.refused(topic, error);
                Ok(())
            }
            // Such as from a busy server: it does not concern the topic.
            Err(error) => Err(error),
        })
        .await
    }

    /// Restores the state that the server holds for this process.
    pub(super) async fn restore(&self, context: &Context) -> Result<(), LinkError> {
        // No deadline: any number of memberships, in calls that each have one.
        Ok(self
            .link
            .restore()
            .await
            .inspect_err(|error| tracing::debug!(bus = ?context.backbone, %error, "restoring failed"))?)
    }

    /// Sends a message to this process, on this link.
    async fn probe(&self, context: &Context) -> Result<(), LinkError> {
        match context.handler.probe(None) {
            Some(probe) => self.send_probe(probe, context).await,
            None => Ok(()),
        }
    }

    async fn send_probe(&self, probe: Probe, context: &Context) -> Result<(), LinkError> {
        let limit = context.options.timeout;
        let way = async {
            self.link.publish(&probe.topic, probe.payload.into()).await?;
            probe.back.await.map_err(|_| LinkError::Closed)
        };
        timeout(limit, way).await.map_err(|_| LinkError::Deadline(limit))?
    }

    /// Ends the session, unless it has ended already.
    pub(super) fn fail(&self, error: LinkError) {
        self.end.fail(error);
    }

    /// Waits for the end.
    pub(super) async fn failed(&self) -> LinkError {
        loop {
            if let Some(error) = self.end.error.get() {
                return error.clone();
            }
            self.end.ended.notified().await;
        }
    }

    /// Subscribes to topics and passes on the answer for each, refusals included.
    pub(super) async fn subscribe(
        &self,
        topics: &[String],
        context: &Context,
        mut answered: impl FnMut(&str, Result<(), LinkError>) -> Result<(), LinkError>,
    ) -> Result<(), LinkError> {
        let (shared, plain): (Vec<_>, Vec<_>) =
            topics.iter().cloned().partition(|topic| context.handler.is_shared(topic));
        for chunk in plain.chunks(CHUNK) {
            let answers = self.within(context, self.link.subscribe_all(chunk)).await?;
            self.confirm(chunk, answers, context, &mut answered).await?;
        }
        for topic in &shared {
            let answer = self.within(context, async { Ok(self.link.subscribe_shared(topic).await) }).await?;
            self.confirm(std::slice::from_ref(topic), vec![answer], context, &mut answered).await?;
        }
        Ok(())
    }

    /// Waits for the probes of subscriptions that the bus does not acknowledge.
    async fn confirm(
        &self,
        topics: &[String],
        answers: Vec<Result<Subscription>>,
        context: &Context,
        answered: &mut impl FnMut(&str, Result<(), LinkError>) -> Result<(), LinkError>,
    ) -> Result<(), LinkError> {
        let is_pending = |answer: &Result<Subscription>| matches!(answer, Ok(Subscription::Pending));
        let pending = topics.iter().zip(&answers).filter(|(_, answer)| is_pending(answer));
        let probes = pending.filter_map(|(topic, _)| context.handler.probe(Some(topic)));
        try_join_all(probes.map(|probe| self.send_probe(probe, context))).await?;
        if answers.len() != topics.len() {
            return Err(Error::Interrupted("the link returned too few answers".into()).into());
        }
        for (topic, answer) in topics.iter().zip(answers) {
            let answer = answer.map(drop).map_err(LinkError::from);
            if let Err(error) = &answer
                && error.ends_link()
            {
                return answer;
            }
            answered(topic, answer)?;
        }
        Ok(())
    }

    /// Ends subscriptions.
    pub(super) async fn unsubscribe(&self, topics: &[String], context: &Context) -> Result<(), LinkError> {
        for chunk in topics.chunks(CHUNK) {
            self.within(context, self.link.unsubscribe_all(chunk)).await?;
        }
        Ok(())
    }

    /// Checks that the server answers.
    pub(super) async fn ping(&self, context: &Context) -> Result<(), LinkError> {
        self.within(context, self.link.ping()).await
    }

    async fn within<T>(
        &self,
        context: &Context,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T, LinkError> {
        let limit = context.options.timeout;
        Ok(timeout(limit, call).await.map_err(|_| LinkError::Deadline(limit))??)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sink.end();
        self.receiver.abort();
    }
}

impl Context {
    /// Notes that the server refuses a topic. Its group may have members, which joined in an outage and did not wait.
    pub(super) fn refused(&self, topic: &str, error: LinkError) {
        if self.handler.is_unused(topic) {
            return self.subscriptions.answered(&[topic.to_owned()], Err(error));
        }
        if let Some(times) = self.counters.warning_due("subscription refused", &error) {
            tracing::warn!(topic, %error, times, "the members of a group no longer receive messages");
        }
        self.counters.one(super::counters::Count::SubscribeRefused);
        self.subscriptions.refused(topic, error);
    }
}

/// Whether the error concerns the topic, and not the state of the server.
fn is_refusal(error: &LinkError) -> bool {
    !error.is_outage()
}

/// Delivers inbound messages until the link ends.
async fn receive(link: Arc<dyn BackboneLink>, sink: InboundSink, end: Arc<End>) {
    loop {
        match link.next().await {
            Ok(inbound) => sink.deliver(&inbound.topic, &inbound.bytes),
            Err(error) => break end.fail(error.into()),
        }
    }
}
