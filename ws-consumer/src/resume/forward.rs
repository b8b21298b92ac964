//! Sessions of other processes, through the channel layer.
//!
//! A request goes to the group of the session's process as the client sent it, and the answer comes back as the client is to
//! have it. The layer's other users are trusted: whoever can send there could send to every consumer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use channel_layer::{
    Audience, ChannelLayer, ChannelLayerExt, Mailbox, MailboxOptions, Message, REPLY_CHANNEL, Remote, Value,
};
use tokio::{sync::Semaphore, time::timeout};

use super::token::ProcessId;
use crate::scope::Transport;

const ASK: &str = "ws-session.ask";
const ANSWER: &str = "ws-session.answer";
/// Requests of other processes that wait in the mailbox, and that are handled at the same time beside one for each session:
/// long polls take their time.
const AT_ONCE: usize = 4096;

/// What another process answers.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// A request from another process, where the client was looked at.
pub(super) struct Request {
    pub(super) body: Bytes,
    /// Who asks, if it had to be found out.
    pub(super) user: Option<Option<Arc<str>>>,
    /// Where, unless that was looked at before.
    pub(super) path: Option<Box<str>>,
    pub(super) transport: Transport,
    /// Does it come from a process that carries the session, not from the client itself? Then it does not show that the
    /// client has its new token.
    pub(super) relayed: bool,
}

/// Asks the process that has the session; nothing if it is not there. An error does not tell whether it is.
pub(super) async fn ask(
    layer: &dyn ChannelLayer,
    process: ProcessId,
    request: Request,
    patience: Duration,
) -> channel_layer::Result<Option<Reply>> {
    let mut answers = layer.open("ws-answer".into()).await?;
    let message = encode(&request).with(REPLY_CHANNEL, answers.channel().as_str());
    let report = layer.group_send(&Audience::from(process.group()), message).await?;
    if report.local.matched == 0 && matches!(report.remote, Remote::None | Remote::Processes(0)) {
        return Ok(None);
    }
    Ok(timeout(patience, answers.recv()).await.ok().and_then(|answer| reply(&answer)))
}

fn reply(answer: &Message) -> Option<Reply> {
    let status =
        answer.get("status").and_then(Value::as_i64).and_then(|status| u16::try_from(status).ok())?;
    let body = answer.get("body").and_then(Value::as_str)?;
    Some(Reply { status, body: Bytes::copy_from_slice(body.as_bytes()) })
}

/// Hears what other processes ask.
pub(super) async fn listen(layer: &dyn ChannelLayer, process: ProcessId) -> channel_layer::Result<Mailbox> {
    let options = MailboxOptions::from("ws-sessions").with_capacity(AT_ONCE);
    let mailbox = layer.open(options).await?;
    layer.group_add(&process.group(), mailbox.channel()).await?;
    Ok(mailbox)
}

/// Answers what comes for so many sessions, until it is dropped.
pub(super) async fn serve<F, Fut>(
    layer: Arc<dyn ChannelLayer>,
    mut mailbox: Mailbox,
    sessions: usize,
    answer: F,
) where
    F: Fn(Request) -> Option<Fut>,
    Fut: Future<Output = Reply> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(sessions.saturating_add(AT_ONCE).min(Semaphore::MAX_PERMITS)));
    loop {
        let message = mailbox.recv().await;
        let Some(request) = decode(&message) else { continue };
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Some(answered) = answer(request) else { return };
        let layer = layer.clone();
        tokio::spawn(async move {
            let Reply { status, body } = answered.await;
            let reply = Message::new(ANSWER).with("status", i64::from(status)).with("body", text(&body));
            if let Err(error) = layer.reply(&message, reply).await {
                tracing::debug!(%error, "a session's answer to another process was not sent");
            }
            drop(place);
        });
    }
}

fn encode(request: &Request) -> Message {
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

fn decode(message: &Message) -> Option<Request> {
    if message.event_type() != Some(ASK) {
        return None;
    }
    let user = message.get("user").and_then(Value::as_str).map(Arc::from);
    Some(Request {
        body: Bytes::copy_from_slice(message.get("body")?.as_str()?.as_bytes()),
        user: message.get("checked")?.as_bool()?.then_some(user),
        path: message.get("path").and_then(Value::as_str).map(Box::from),
        transport: Transport::of_name(message.get("transport")?.as_str()?)?,
        relayed: message.get("relayed")?.as_bool()?,
    })
}

/// Batches are text, and some formats of layers know no bytes.
fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use channel_layer::MemoryLayer;

    use super::*;

    fn request(body: &'static str) -> Request {
        let transport = Transport::LongPoll;
        Request { body: body.into(), user: None, path: None, transport, relayed: true }
    }

    #[tokio::test(start_paused = true)]
    async fn long_polls_for_all_sessions_leave_room_for_other_requests() {
        const SESSIONS: usize = AT_ONCE + 1000;
        let layer: Arc<dyn ChannelLayer> = Arc::new(MemoryLayer::default());
        let process = ProcessId::new().expect("randomness");
        let mailbox = listen(&*layer, process).await.expect("in memory");
        let answer = async |request: Request| match &*request.body {
            b"wait" => pending().await,
            body => Reply { status: 200, body: Bytes::copy_from_slice(body) },
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
