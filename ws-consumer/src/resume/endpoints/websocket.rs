//! WebSockets that carry sessions: an application between the socket and the session.

use std::{future::poll_fn, mem, pin::pin, task::Poll, time::Duration};

use channel_layer::Value;
use futures_util::future::{Either, select};
use http::{HeaderMap, HeaderValue, header};
use tokio::time::{Instant, sleep_until};

use super::super::{
    attachment::CarrierOutput,
    carrier::{Carrier, PushFuture},
    log::Payload,
    protocol::{ControlObject, Gap},
    service::{SessionService, StartedCarrier},
    token::SessionToken,
};
use crate::{
    error::Result,
    frame::{self, Close, Frame},
    scope::{Scope, headers::items},
    socket::Socket,
    wire::{Accept, Input, Refuse, Running},
};

/// The subprotocol of a WebSocket that carries a session.
pub(crate) const PROTOCOL: &str = "channels.v1";
/// The prefix of the offer to resume, before cursor and token.
pub(crate) const RESUME: &str = "channels.resume.";
/// The first character of a control object. A text that begins with it has it twice.
pub(crate) const MARK: char = '\u{1}';
/// The client's frames are acknowledged after this time, or this number of frames.
const ACK_AFTER: Duration = Duration::from_millis(250);
const ACK_FRAMES: u64 = 32;
/// The bytes that may wait in the socket before the next frames are taken from the session.
const AHEAD: usize = 64 << 10;
/// The close code of a carrier that another has replaced, or whose session is out of reach.
const REPLACED: u16 = 4408;

/// Runs a WebSocket that offers the subprotocol.
pub(crate) fn carry(service: SessionService, socket: Socket) -> Running {
    Box::pin(run(service, socket))
}

async fn run(service: SessionService, mut socket: Socket) -> Result<()> {
    // A client that leaves before it is accepted never learns of its session, which ends with this future.
    let started = {
        let left = poll_fn(|cx| socket.connection().poll_closed(cx));
        match select(pin!(start_offered(&service, socket.scope().clone())), left).await {
            Either::Left((started, _)) => started,
            Either::Right(_) => return Ok(()),
        }
    };
    let StartedCarrier { mut carrier, control, headers, .. } = match started {
        Ok(started) => started,
        Err(refuse) => return socket.refuse(refuse).await,
    };
    let open = control.open.clone().unwrap_or_default();
    if let Err(error) = greet(&mut socket, headers, &control).await {
        if !open.resumed {
            carrier.finish(Close::ABNORMAL.into()).await;
        }
        return Err(error);
    }
    let (sent, received) = (open.cursor, open.ack);
    WebSocketCarrier {
        is_new: !open.resumed,
        service,
        socket,
        carrier,
        sent,
        received,
        arrived: received,
        acknowledged: received,
        ack_at: None,
        confirmed: false,
        push: None,
    }
    .run()
    .await
}

async fn start_offered(service: &SessionService, scope: Scope) -> Result<StartedCarrier, Refuse> {
    let (scope, resume) = take_offer(scope);
    match resume {
        Some(Some((token, cursor))) => service.resume(scope, token, cursor).await,
        Some(None) => service.begin(scope, Some(0)).await, // to resume with a malformed token
        None => service.begin(scope, None).await,
    }
}

async fn greet(socket: &mut Socket, headers: HeaderMap, control: &ControlObject) -> Result<()> {
    let accept = Accept { subprotocol: Some(PROTOCOL.to_owned()), headers };
    socket.accept_with(accept).await?;
    send_control(socket, control).await
}

/// Whether the client offers the subprotocol.
pub(crate) fn is_offered(headers: &HeaderMap) -> bool {
    items(headers, header::SEC_WEBSOCKET_PROTOCOL).any(|name| name == PROTOCOL)
}

/// Takes the subprotocols of carriers out of the offer. Returns the session to resume, if there is one; `Some(None)` if its
/// token is malformed.
fn take_offer(mut scope: Scope) -> (Scope, Option<Option<(SessionToken, u64)>>) {
    let offered: Vec<String> = scope.subprotocols().map(str::to_owned).collect();
    let resume = offered.iter().find_map(|name| name.strip_prefix(RESUME)).map(|resume| {
        let (cursor, token) = resume.split_once('.')?;
        Some((SessionToken::parse(token)?, cursor.parse().ok()?))
    });
    scope.headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    let rest = offered.iter().filter(|name| *name != PROTOCOL && !name.starts_with(RESUME));
    let rest: Vec<_> = rest.map(String::as_str).collect();
    // In one line, like the offer of a browser.
    if let (false, Ok(value)) = (rest.is_empty(), HeaderValue::try_from(rest.join(", "))) {
        scope.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    (scope, resume)
}

/// Passes frames between a socket and a session's carrier.
struct WebSocketCarrier {
    /// Whether the session began with this connection.
    is_new: bool,
    service: SessionService,
    socket: Socket,
    carrier: Carrier,
    /// The number of the last frame to the client.
    sent: u64,
    /// The number of the last frame from the client.
    received: u64,
    /// The number of the last frame that the session has taken.
    arrived: u64,
    /// The number of the last frame that was acknowledged.
    acknowledged: u64,
    ack_at: Option<Instant>,
    /// Whether the client has sent something.
    confirmed: bool,
    /// A frame that the session has not taken yet. Until then nothing is read from the client.
    push: Option<PushFuture>,
}

enum CarrierEvent {
    /// The client's frames have to be acknowledged.
    Acknowledge,
    Input(Result<Option<Input>>),
    Output(CarrierOutput),
    Pushed(Option<u64>),
}

impl WebSocketCarrier {
    async fn run(mut self) -> Result<()> {
        loop {
            match self.next_event().await {
                CarrierEvent::Input(input) => match input? {
                    Some(Input::Frame(frame)) => self.receive(frame).await?,
                    Some(_) => {}
                    None => return self.finish().await,
                },
                CarrierEvent::Pushed(Some(ack)) if ack >= self.received => self.note_arrival().await?,
                // The session ends with this process, and its close follows.
                CarrierEvent::Pushed(_) if self.service.is_closing() => {}
                CarrierEvent::Pushed(_) => return self.socket.close(REPLACED).await,
                CarrierEvent::Output(CarrierOutput::Frames(first, frames)) => {
                    self.pass_on(first, frames).await?
                }
                CarrierEvent::Output(CarrierOutput::Closed(close)) => return self.socket.close(close).await,
                CarrierEvent::Output(CarrierOutput::Replaced) => return self.socket.close(REPLACED).await,
                CarrierEvent::Acknowledge => self.acknowledge().await?,
            }
        }
    }

    async fn next_event(&mut self) -> CarrierEvent {
        let Self { socket, carrier, push, ack_at, .. } = self;
        let ack = async {
            match ack_at {
                Some(at) => sleep_until(*at).await,
                None => std::future::pending().await,
            }
        };
        let event = poll_fn(|cx| {
            match push {
                Some(future) => {
                    if let Poll::Ready(ack) = future.as_mut().poll(cx) {
                        *push = None;
                        return Poll::Ready(CarrierEvent::Pushed(ack));
                    }
                }
                None => {
                    if let Poll::Ready(input) = socket.poll_next(cx) {
                        return Poll::Ready(CarrierEvent::Input(input));
                    }
                }
            }
            // Frames that cannot leave soon wait in the session, whose limits count them.
            if socket.connection().poll_drained(cx, AHEAD).is_pending() {
                return Poll::Pending;
            }
            carrier.poll_output(cx).map(CarrierEvent::Output)
        });
        tokio::select! {
            biased;
            event = event => event,
            () = ack => CarrierEvent::Acknowledge,
        }
    }

    async fn receive(&mut self, frame: Frame) -> Result<()> {
        if !mem::replace(&mut self.confirmed, true) {
            self.carrier.confirm();
        }
        let frame = match frame {
            Frame::Text(text) => match text.strip_prefix(MARK) {
                Some(rest) if rest.starts_with(MARK) => Frame::Text(rest.to_owned()),
                Some(control) => return self.receive_control(control).await,
                None => Frame::Text(text),
            },
            binary => binary,
        };
        self.received += 1;
        self.push = Some(self.carrier.push(self.received, frame));
        Ok(())
    }

    async fn receive_control(&mut self, text: &str) -> Result<()> {
        let Ok(control) = frame::read::<ControlObject>(text) else {
            return self.socket.close(Close::new(Close::INVALID_PAYLOAD, "no control object")).await;
        };
        if let Some(cursor) = control.cursor {
            self.carrier.acknowledge(cursor);
        }
        match control.ping {
            Some(ping) => {
                let pong =
                    ControlObject { pong: Some(ping), ack: Some(self.arrived), ..ControlObject::default() };
                (self.acknowledged, self.ack_at) = (self.arrived, None);
                send_control(&mut self.socket, &pong).await
            }
            None => Ok(()),
        }
    }

    async fn note_arrival(&mut self) -> Result<()> {
        self.arrived = self.received;
        if self.arrived - self.acknowledged >= ACK_FRAMES {
            return self.acknowledge().await;
        }
        self.ack_at.get_or_insert_with(|| Instant::now() + ACK_AFTER);
        Ok(())
    }

    async fn acknowledge(&mut self) -> Result<()> {
        (self.acknowledged, self.ack_at) = (self.arrived, None);
        send_control(&mut self.socket, &ControlObject::ack(self.arrived)).await
    }

    async fn pass_on(&mut self, first: u64, frames: Vec<Payload>) -> Result<()> {
        if first > self.sent + 1 {
            let gap = Gap { from: self.sent + 1, to: Some(first - 1) };
            send_control(&mut self.socket, &ControlObject { gap: Some(gap), ..ControlObject::default() })
                .await?;
        }
        self.sent = first + frames.len() as u64 - 1;
        for frame in frames {
            send(&mut self.socket, frame).await?;
        }
        Ok(())
    }

    /// Handles the end of the socket. A session that its client has closed ends with it.
    async fn finish(mut self) -> Result<()> {
        let close = self.socket.closed().unwrap_or_default();
        // The close of a server that shuts down is not the client's.
        let is_drained = self.service.is_closing() && !self.socket.connection().is_lost();
        let may_come_back = is_drained
            || matches!(close.code, Close::GOING_AWAY | Close::ABNORMAL | Close::TRY_AGAIN_LATER | REPLACED);
        // A client has no token if nothing was sent to it.
        let is_unknown = self.is_new && !self.socket.connection().has_sent();
        if !may_come_back || is_unknown {
            self.carrier.finish(close).await;
        }
        Ok(())
    }
}

async fn send(socket: &mut Socket, payload: Payload) -> Result<()> {
    match payload {
        Payload::Missing => Ok(()), // never taken from a log
        Payload::Binary(bytes) => socket.send(bytes).await,
        Payload::Text(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let text = if text.starts_with(MARK) { format!("{MARK}{text}") } else { text.into_owned() };
            socket.send(text).await
        }
        Payload::Shared(message) => match message.get("text").and_then(Value::as_str) {
            Some(text) if text.starts_with(MARK) => socket.send(format!("{MARK}{text}")).await,
            // An empty frame keeps the numbers right.
            None if message.get("bytes").and_then(Value::as_bytes).is_none() => socket.send("").await,
            _ => socket.send_encoded_patiently(message).await,
        },
    }
}

async fn send_control(socket: &mut Socket, control: &ControlObject) -> Result<()> {
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
    fn own_subprotocols_are_removed() {
        let offer = scope(&["chat.v2, channels.v1", "channels.resume.7.x", "chat.v1"]);
        assert!(is_offered(&offer.headers));
        let (scope, resume) = take_offer(offer);
        assert_eq!(scope.subprotocols().collect::<Vec<_>>(), ["chat.v2", "chat.v1"]);
        assert!(matches!(resume, Some(None)), "no token");
        assert!(!is_offered(&scope.headers));
    }
}
