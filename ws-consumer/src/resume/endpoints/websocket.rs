//! A WebSocket that carries a session: an application of its own, between the socket and the session.

use std::{future::poll_fn, mem, pin::pin, task::Poll, time::Duration};

use channel_layer::Value;
use futures_util::future::{Either, select};
use http::{HeaderMap, HeaderValue, header};
use tokio::time::{Instant, sleep_until};

use super::super::{
    carrier::{Leg, Pushing},
    log::Payload,
    protocol::{Control, Lost},
    service::{Begun, Directory},
    state::Taken,
    token::Token,
};
use crate::{
    error::Result,
    frame::{self, Close, Frame},
    scope::Scope,
    socket::Socket,
    wire::{Accept, Input, Refuse},
};

/// The subprotocol.
pub(crate) const PROTOCOL: &str = "channels.v1";
/// Before cursor and token.
const RESUME: &str = "channels.resume.";
/// The first character of a control object, and of a text that begins with it, once more.
const MARK: char = '\u{1}';
/// A client learns within this time, or after so many frames, that they have arrived.
const ACK_AFTER: Duration = Duration::from_millis(250);
const ACK_FRAMES: u64 = 32;
/// Bytes that wait for the socket before the session is asked for more.
const AHEAD: usize = 64 << 10;
/// Another leg has taken over, or this one leads nowhere.
const REPLACED: u16 = 4408;

impl Directory {
    /// Serves a client that offers the subprotocol.
    pub(in crate::resume) async fn carry(self, mut socket: Socket) -> Result<()> {
        // Whoever leaves before it is let in never learns of its session, which is given up with what begins it.
        let begun = {
            let left = poll_fn(|cx| socket.link().poll_close(cx));
            match select(pin!(self.begin_offered(socket.scope().clone())), left).await {
                Either::Left((begun, _)) => begun,
                Either::Right(_) => return Ok(()),
            }
        };
        let Begun { mut leg, control, headers, .. } = match begun {
            Ok(begun) => begun,
            Err(refuse) => return socket.refuse(refuse).await,
        };
        let open = control.open.clone().unwrap_or_default();
        if let Err(error) = greet(&mut socket, headers, &control).await {
            if !open.resumed {
                leg.finish(Close::ABNORMAL.into()).await;
            }
            return Err(error);
        }
        let (sent, received) = (open.cursor, open.ack);
        Carrier {
            is_new: !open.resumed,
            directory: self,
            socket,
            leg,
            sent,
            received,
            arrived: received,
            acknowledged: received,
            ack_at: None,
            confirmed: false,
            pushing: None,
        }
        .run()
        .await
    }

    async fn begin_offered(&self, scope: Scope) -> Result<Begun, Refuse> {
        let (scope, resume) = take_offer(scope);
        match resume {
            Some(Some((token, cursor))) => self.resume(scope, token, cursor).await,
            Some(None) => self.begin(scope, Some(0)).await, // to resume what is no session
            None => self.begin(scope, None).await,
        }
    }
}

async fn greet(socket: &mut Socket, headers: HeaderMap, control: &Control) -> Result<()> {
    let accept = Accept { subprotocol: Some(PROTOCOL.to_owned()), headers };
    socket.accept_with(accept).await?;
    send_control(socket, control).await
}

/// Does the client offer it?
pub(crate) fn is_offered(headers: &HeaderMap) -> bool {
    let lists =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|name| name.trim() == PROTOCOL)
}

/// What it asks to resume, if it does, and the scope without what is ours.
fn take_offer(mut scope: Scope) -> (Scope, Option<Option<(Token, u64)>>) {
    let offered: Vec<String> = scope.subprotocols().map(str::to_owned).collect();
    let resume = offered.iter().find_map(|name| name.strip_prefix(RESUME)).map(|resume| {
        let (cursor, token) = resume.split_once('.')?;
        Some((Token::parse(token)?, cursor.parse().ok()?))
    });
    scope.headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    let rest = offered.iter().filter(|name| *name != PROTOCOL && !name.starts_with(RESUME));
    let rest: Vec<_> = rest.map(String::as_str).collect();
    // In one line, as browsers send them.
    if let (false, Ok(value)) = (rest.is_empty(), HeaderValue::try_from(rest.join(", "))) {
        scope.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    (scope, resume)
}

/// Passes on between a socket and a leg.
struct Carrier {
    /// Whether the session began with this connection.
    is_new: bool,
    directory: Directory,
    socket: Socket,
    leg: Leg,
    /// The number of the last frame to the client.
    sent: u64,
    /// The number of the last frame from it.
    received: u64,
    /// The number of the last one that the session has.
    arrived: u64,
    /// Which of them it knows to have arrived.
    acknowledged: u64,
    ack_at: Option<Instant>,
    /// Has the client spoken?
    confirmed: bool,
    /// A frame on its way to the session. Meanwhile the client is not listened to, but spoken to.
    pushing: Option<Pushing>,
}

enum Step {
    Heard(Result<Option<Input>>),
    Pushed(Option<u64>),
    Taken(Taken),
    Acknowledge,
}

impl Carrier {
    async fn run(mut self) -> Result<()> {
        loop {
            match self.step().await {
                Step::Heard(input) => match input? {
                    Some(Input::Frame(frame)) => self.hear(frame).await?,
                    Some(_) => {}
                    None => return self.left().await,
                },
                Step::Pushed(Some(ack)) if ack >= self.received => self.arrived().await?,
                // The session ends with this process, and says so.
                Step::Pushed(_) if self.directory.is_closing() => {}
                Step::Pushed(_) => return self.socket.close(REPLACED).await,
                Step::Taken(Taken::Frames(first, frames)) => self.pass_on(first, frames).await?,
                Step::Taken(Taken::Over(close)) => return self.socket.close(close).await,
                Step::Taken(Taken::Replaced) => return self.socket.close(REPLACED).await,
                Step::Acknowledge => self.acknowledge().await?,
            }
        }
    }

    async fn step(&mut self) -> Step {
        let Self { socket, leg, pushing, ack_at, .. } = self;
        let ack = async {
            match ack_at {
                Some(at) => sleep_until(*at).await,
                None => std::future::pending().await,
            }
        };
        let moved = poll_fn(|cx| {
            match pushing {
                Some(push) => {
                    if let Poll::Ready(ack) = push.as_mut().poll(cx) {
                        *pushing = None;
                        return Poll::Ready(Step::Pushed(ack));
                    }
                }
                None => {
                    if let Poll::Ready(input) = socket.poll_next(cx) {
                        return Poll::Ready(Step::Heard(input));
                    }
                }
            }
            // Only what leaves soon: the rest waits in the session, where its limits are, and where it is seen to wait.
            if socket.link().poll_drained(cx, AHEAD).is_pending() {
                return Poll::Pending;
            }
            leg.poll_take(cx).map(Step::Taken)
        });
        tokio::select! {
            biased;
            step = moved => step,
            () = ack => Step::Acknowledge,
        }
    }

    async fn hear(&mut self, frame: Frame) -> Result<()> {
        if !mem::replace(&mut self.confirmed, true) {
            self.leg.confirm();
        }
        let frame = match frame {
            Frame::Text(text) => match text.strip_prefix(MARK) {
                Some(rest) if rest.starts_with(MARK) => Frame::Text(rest.to_owned()),
                Some(control) => return self.hear_control(control).await,
                None => Frame::Text(text),
            },
            binary => binary,
        };
        self.received += 1;
        self.pushing = Some(self.leg.push(self.received, frame));
        Ok(())
    }

    async fn hear_control(&mut self, text: &str) -> Result<()> {
        let Ok(control) = frame::read::<Control>(text) else {
            return self.socket.close(Close::new(Close::INVALID_PAYLOAD, "no control object")).await;
        };
        if let Some(cursor) = control.cursor {
            self.leg.acknowledge(cursor);
        }
        match control.ping {
            Some(ping) => {
                let pong = Control { pong: Some(ping), ack: Some(self.arrived), ..Control::default() };
                (self.acknowledged, self.ack_at) = (self.arrived, None);
                send_control(&mut self.socket, &pong).await
            }
            None => Ok(()),
        }
    }

    async fn arrived(&mut self) -> Result<()> {
        self.arrived = self.received;
        if self.arrived - self.acknowledged >= ACK_FRAMES {
            return self.acknowledge().await;
        }
        self.ack_at.get_or_insert_with(|| Instant::now() + ACK_AFTER);
        Ok(())
    }

    async fn acknowledge(&mut self) -> Result<()> {
        (self.acknowledged, self.ack_at) = (self.arrived, None);
        send_control(&mut self.socket, &Control::ack(self.arrived)).await
    }

    async fn pass_on(&mut self, first: u64, frames: Vec<Payload>) -> Result<()> {
        if first > self.sent + 1 {
            let lost = Lost { from: self.sent + 1, to: Some(first - 1) };
            send_control(&mut self.socket, &Control { gap: Some(lost), ..Control::default() }).await?;
        }
        self.sent = first + frames.len() as u64 - 1;
        for frame in frames {
            send(&mut self.socket, frame).await?;
        }
        Ok(())
    }

    /// The socket has ended. A session that its client has closed ends with it.
    async fn left(mut self) -> Result<()> {
        let close = self.socket.closed().unwrap_or_default();
        // What this process says when it goes away is no word of the client's.
        let is_drained = self.directory.is_closing() && !self.socket.link().is_lost();
        let may_come_back = is_drained
            || matches!(close.code, Close::GOING_AWAY | Close::ABNORMAL | Close::TRY_AGAIN_LATER | REPLACED);
        // Nobody has a token of which nothing has left.
        let is_unknown = self.is_new && self.socket.link().is_unsaid();
        if !may_come_back || is_unknown {
            self.leg.finish(close).await;
        }
        Ok(())
    }
}

async fn send(socket: &mut Socket, payload: Payload) -> Result<()> {
    match payload {
        Payload::Lost => Ok(()), // is never handed out
        Payload::Binary(bytes) => socket.send(bytes).await,
        Payload::Text(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let text = if text.starts_with(MARK) { format!("{MARK}{text}") } else { text.into_owned() };
            socket.send(text).await
        }
        Payload::Shared(message) => match message.get("text").and_then(Value::as_str) {
            Some(text) if text.starts_with(MARK) => socket.send(format!("{MARK}{text}")).await,
            // So that the numbers stay right.
            None if message.get("bytes").and_then(Value::as_bytes).is_none() => socket.send("").await,
            _ => socket.send_encoded_patiently(message).await,
        },
    }
}

async fn send_control(socket: &mut Socket, control: &Control) -> Result<()> {
    socket.send(format!("{MARK}{}", control.json())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(protocols: &[&str]) -> Scope {
        let mut scope = Scope::default();
        for protocol in protocols {
            scope.headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(protocol).unwrap());
        }
        scope
    }

    #[test]
    fn what_is_ours_is_taken_out_of_the_offer() {
        let offer = scope(&["chat.v2, channels.v1", "channels.resume.7.x", "chat.v1"]);
        assert!(is_offered(&offer.headers));
        let (scope, resume) = take_offer(offer);
        assert_eq!(scope.subprotocols().collect::<Vec<_>>(), ["chat.v2", "chat.v1"]);
        assert!(matches!(resume, Some(None)), "no token");
        assert!(!is_offered(&scope.headers));
    }
}
