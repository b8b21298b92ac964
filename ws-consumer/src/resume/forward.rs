//! Requests for sessions of other processes, forwarded through the channel layer.
//!
//! A request is sent to the group of the session's process with the client's body; the reply has the body for the client. The
//! layer's other users are trusted: all of them could send to every consumer anyway.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use channel_layer::{
    Audience, ChannelLayer, ChannelLayerExt, Mailbox, MailboxOptions, Message, REPLY_CHANNEL, Remote, Value,
};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    config::Resume,
    token::{ProcessId, SessionToken},
};
use crate::scope::Transport;

const ASK: &str = "ws-session.ask";
const ANSWER: &str = "ws-session.answer";
/// The requests of other processes that wait in the mailbox. As many, and one more per session for its long poll, are
/// handled at the same time.
const AT_ONCE: usize = 4096;

/// A reply of another process.
#[derive(Clone, Debug)]
pub(super) struct ForwardReply {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// A request for a session of another process. Its client was admitted by the process that sends it.
pub(super) struct ForwardRequest {
    pub(super) body: Bytes,
    /// The client's user, if guards had to find it out.
    pub(super) user: Option<Option<Arc<str>>>,
    /// The path, unless it was checked before.
    pub(super) path: Option<Box<str>>,
    pub(super) transport: Transport,
    /// Whether it comes from a process that carries the session, not from the client itself. It then does not prove that
    /// the client has its new token.
    pub(super) relayed: bool,
}

/// Forwards requests to the processes that have the sessions.
pub(super) struct Forwarder {
    layer: Arc<dyn ChannelLayer>,
    /// The time limit for a reply.
    reply_timeout: Duration,
    /// The time limit for a long poll.
    poll_timeout: Duration,
}

impl Forwarder {
    pub(super) fn new(layer: Arc<dyn ChannelLayer>, resume: &Resume) -> Self {
        let (reply_timeout, poll_timeout) = (resume.forward_timeout, resume.poll_timeout);
        Self { layer, reply_timeout, poll_timeout: poll_timeout + reply_timeout }
    }

    /// Forwards a request, and returns `None` if the process is gone. `waits`: the reply may take as long as a long poll.
    pub(super) async fn forward(
        &self,
        process: ProcessId,
        request: ForwardRequest,
        waits: bool,
    ) -> channel_layer::Result<Option<ForwardReply>> {
        let limit = if waits { self.poll_timeout } else { self.reply_timeout };
        ask(&*self.layer, process, request, limit).await
    }

    /// Forwards a batch of a carrier in this process.
    pub(super) async fn relay(
        &self,
        token: SessionToken,
        transport: Transport,
        body: Vec<u8>,
    ) -> Option<ForwardReply> {
        let request = ForwardRequest { body: body.into(), user: None, path: None, transport, relayed: true };
        self.forward(token.process, request, true).await.ok()?
    }
}

/// Sends a request to a process, and waits for its reply: `None` if the process is gone or does not reply in time. After an
/// error the process may or may not be there.
async fn ask(
    layer: &dyn ChannelLayer,
    process: ProcessId,
    request: ForwardRequest,
    limit: Duration,
) -> channel_layer::Result<Option<ForwardReply>> {
    let mut answers = layer.open("ws-answer".into()).await?;
    let message = encode(&request).with(REPLY_CHANNEL, answers.channel().as_str());
    let report = layer.group_send(&Audience::from(process.group()), message).await?;
    if report.local.matched == 0 && matches!(report.remote, Remote::None | Remote::Processes(0)) {
        return Ok(None);
    }
    Ok(timeout(limit, answers.recv()).await.ok().and_then(|answer| reply(&answer)))
}

fn reply(answer: &Message) -> Option<ForwardReply> {
    let status =
        answer.get("status").and_then(Value::as_i64).and_then(|status| u16::try_from(status).ok())?;
    let body = answer.get("body").and_then(Value::as_str)?;
    Some(ForwardReply { status, body: Bytes::copy_from_slice(body.as_bytes()) })
}

/// Opens the mailbox for the requests of other processes.
pub(super) async fn listen(layer: &dyn ChannelLayer, process: ProcessId) -> channel_layer::Result<Mailbox> {
    let options = MailboxOptions::from("ws-sessions").with_capacity(AT_ONCE);
    let mailbox = layer.open(options).await?;
    layer.group_add(&process.group(), mailbox.channel()).await?;
    Ok(mailbox)
}

/// Answers the requests for at most this number of sessions. Runs until it is dropped.
pub(super) async fn serve<F, Fut>(
    layer: Arc<dyn ChannelLayer>,
    mut mailbox: Mailbox,
    sessions: usize,
    answer: F,
) where
    F: Fn(ForwardRequest) -> Option<Fut>,
    Fut: Future<Output = ForwardReply> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(sessions.saturating_add(AT_ONCE).min(Semaphore::MAX_PERMITS)));
    loop {
        let message = mailbox.recv().await;
        let Some(request) = decode(&message) else { continue };
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Some(answered) = answer(request) else { return };
        let layer = layer.clone();
        tokio::spawn(async move {
            let ForwardReply { status, body } = answered.await;
            let reply = Message::new(ANSWER).with("status", i64::from(status)).with("body", text(&body));
            if let Err(error) = layer.reply(&message, reply).await {
                tracing::debug!(%error, "a session's answer to another process was not sent");
            }
            drop(permit);
        });
    }
}

fn encode(request: &ForwardRequest) -> Message {
    let message = Message::new(ASK)
        .with("body", text(&request.body))
        .with("transport", request.transport.name())
        .with("checked", request.user.is_some())
        .with("relayed", request.relayed);
    let user = request.user.as_ref().and_then(Option::as_deref);
    let texts = [("user", user), ("path", request.path.as_deref())];
    texts.into_iter().fold(message, |message, (name, text)| match text {
        Some(text) => message.with(name, text),
        None => message,
    })
}

fn decode(message: &Message) -> Option<ForwardRequest> {
    if message.event_type() != Some(ASK) {
        return None;
    }
    let user = message.get("user").and_then(Value::as_str).map(Arc::from);
    Some(ForwardRequest {
        body: Bytes::copy_from_slice(message.get("body")?.as_str()?.as_bytes()),
        user: message.get("checked")?.as_bool()?.then_some(user),
        path: message.get("path").and_then(Value::as_str).map(Box::from),
        transport: Transport::from_name(message.get("transport")?.as_str()?)?,
        relayed: message.get("relayed")?.as_bool()?,
    })
}

/// A batch as text: some formats of layers have no bytes.
fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use channel_layer::MemoryLayer;

    use super::*;

    fn request(body: &'static str) -> ForwardRequest {
        let transport = Transport::LongPoll;
        ForwardRequest { body: body.into(), user: None, path: None, transport, relayed: true }
    }

    #[tokio::test(start_paused = true)]
    async fn long_polls_leave_room() {
        const SESSIONS: usize = AT_ONCE + 1000;
        let layer: Arc<dyn ChannelLayer> = Arc::new(MemoryLayer::default());
        let process = ProcessId::new().expect("randomness");
        let mailbox = listen(&*layer, process).await.expect("in memory");
        let answer = async |request: ForwardRequest| match &*request.body {
            b"wait" => pending().await,
            body => ForwardReply { status: 200, body: Bytes::copy_from_slice(body) },
        };
        let answer = move |request| Some(answer(request));
        let serving = tokio::spawn(serve(layer.clone(), mailbox, SESSIONS, answer));
        for _ in 0..SESSIONS {
            let report = layer.group_send(&process.group().into(), encode(&request("wait"))).await;
            assert_eq!(report.expect("in memory").local.full, 0);
            tokio::task::yield_now().await;
        }
        let reply = ask(&*layer, process, request("answer"), Duration::from_secs(2)).await;
        assert_eq!(reply.expect("in memory").expect("an answer").body, "answer");
        serving.abort();
    }
}
