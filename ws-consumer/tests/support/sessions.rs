//! A client of sessions over every transport, as [the protocol](ws_consumer::docs::transports) has it, whose connections may
//! be cut anywhere.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use super::fragile::Fragile;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::duplex;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};
use ws_consumer::{Frame, NotFound, SocketService, Transport, serve_connection};

pub const ALL: [Transport; 4] =
    [Transport::WebSocket, Transport::EventStream, Transport::LongPoll, Transport::Poll];

type Service = SocketService<NotFound>;

/// An observation of the client.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Frame(Frame),
    Gap(Value),
    Close(u16, String),
}

#[derive(Debug)]
pub enum Fault {
    /// The connection ended.
    Cut,
    Status(u16),
}

enum ClientCarrier {
    None,
    Polls(&'static str),
    Socket(Box<WebSocketStream<Fragile>>),
    Stream { body: Incoming, read: Vec<u8> },
}

pub struct SessionClient {
    service: Service,
    path: String,
    pub headers: Vec<(&'static str, String)>,
    pub token: Option<String>,
    /// The request that opened the last carrier.
    pub open: Value,
    pub cursor: u64,
    /// The client's frames that were sent and are not acknowledged; the first has the number `acked + 1`.
    unacknowledged: VecDeque<Frame>,
    pub acked: u64,
    /// The number of them that were sent over this carrier.
    on_leg: u64,
    carrier: ClientCarrier,
    heard: VecDeque<Heard>,
    budget: Arc<AtomicI64>,
}

impl SessionClient {
    pub fn new(service: &Service, path: &str) -> Self {
        Self {
            service: service.clone(),
            path: path.to_owned(),
            headers: Vec::new(),
            token: None,
            open: Value::Null,
            cursor: 0,
            unacknowledged: VecDeque::new(),
            acked: 0,
            on_leg: 0,
            carrier: ClientCarrier::None,
            heard: VecDeque::new(),
            budget: Arc::new(AtomicI64::new(i64::MAX)),
        }
    }

    pub async fn connected(service: &Service, path: &str, transport: Transport) -> Self {
        let mut client = Self::new(service, path);
        client.connect(transport).await.expect("let in");
        client
    }

    /// Makes connections break after this number of bytes from now on.
    pub fn break_after(&mut self, bytes: i64) {
        self.budget = Arc::new(AtomicI64::new(bytes));
    }

    /// Connects the client to another process.
    pub fn moves_to(&mut self, service: &Service) {
        self.service = service.clone();
    }

    pub fn is_cut(&self) -> bool {
        matches!(self.carrier, ClientCarrier::None)
    }

    /// Drops the connection without a close.
    pub fn cut(&mut self) {
        self.carrier = ClientCarrier::None;
    }

    fn pipe(&self) -> Fragile {
        let (client, server) = duplex(64 << 10);
        tokio::spawn(serve_connection(server, self.service.clone()));
        Fragile { pipe: Some(client), left: self.budget.clone() }
    }

    /// Opens a carrier, of the present session or of a new one.
    pub async fn connect(&mut self, transport: Transport) -> Result<(), Fault> {
        self.carrier = ClientCarrier::None;
        let carrier = match transport {
            Transport::WebSocket => self.connect_socket().await?,
            Transport::EventStream => self.connect_stream().await?,
            Transport::LongPoll => self.connect_polls("long-poll").await?,
            _ => self.connect_polls("poll").await?,
        };
        self.carrier = carrier;
        self.send_again().await
    }

    async fn connect_socket(&mut self) -> Result<ClientCarrier, Fault> {
        let mut request = format!("ws://test{}", self.path).into_client_request().expect("a path");
        let resume = self.token.as_ref().map(|token| format!(", channels.resume.{}.{token}", self.cursor));
        let offer = format!("channels.v1{}", resume.unwrap_or_default());
        request.headers_mut().insert("sec-websocket-protocol", offer.parse().expect("a header"));
        for (name, value) in &self.headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        let (mut socket, _) = client_async(request, self.pipe()).await.map_err(|error| match error {
            tungstenite::Error::Http(response) => Fault::Status(response.status().as_u16()),
            _ => Fault::Cut,
        })?;
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                self.control(text.as_str().strip_prefix('\u{1}').expect("a control"))
            }
            _ => return Err(Fault::Cut),
        }
        Ok(ClientCarrier::Socket(Box::new(socket)))
    }

    async fn connect_stream(&mut self) -> Result<ClientCarrier, Fault> {
        let mut request = Request::get(&self.path).header("accept", "text/event-stream");
        if let Some(token) = &self.token {
            request = request.header("last-event-id", format!("{token}.{}", self.cursor));
        }
        let response = self.request(request, Bytes::new()).await?;
        if response.status() != 200 {
            return Err(Fault::Status(response.status().as_u16()));
        }
        let mut carrier = ClientCarrier::Stream { body: response.into_body(), read: Vec::new() };
        let before = self.open.clone();
        self.open = Value::Null;
        while self.open.is_null() {
            if self.read_events(&mut carrier).await.is_err() {
                self.open = before;
                return Err(Fault::Cut);
            }
        }
        Ok(carrier)
    }

    async fn connect_polls(&mut self, mode: &'static str) -> Result<ClientCarrier, Fault> {
        let asked = match &self.token {
            Some(token) => json!({ "token": token, "cursor": self.cursor, "mode": mode, "resume": true }),
            None => json!({ "mode": mode }),
        };
        self.exchange(asked, &[]).await?;
        Ok(ClientCarrier::Polls(mode))
    }

    async fn request(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Response<Incoming>, Fault> {
        let mut request = request.header("host", "test");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(self.pipe())).await;
        let (mut sender, connection) = handshake.map_err(|_| Fault::Cut)?;
        tokio::spawn(connection);
        sender.send_request(request.body(Full::new(body)).expect("a request")).await.map_err(|_| Fault::Cut)
    }

    async fn exchange(&mut self, control: Value, frames: &[Frame]) -> Result<(), Fault> {
        let (status, text) = self.post(control, frames).await?;
        if status != 200 {
            return Err(Fault::Status(status));
        }
        let mut lines = text.lines();
        let control = lines.next().expect("a control");
        let first = serde_json::from_str::<Value>(control).expect("JSON")["first"].as_u64();
        self.control(control);
        for (number, line) in (first.unwrap_or_default()..).zip(lines) {
            let line: Value = serde_json::from_str(line).expect("JSON");
            self.received(
                number,
                match line {
                    Value::String(text) => Frame::Text(text),
                    binary => BASE64.decode(binary["bytes"].as_str().expect("bytes")).expect("base64").into(),
                },
            );
        }
        Ok(())
    }

    /// Sends a request as it is, and returns the answer.
    pub async fn post(&self, control: Value, frames: &[Frame]) -> Result<(u16, String), Fault> {
        let mut body = format!("{control}\n");
        for frame in frames {
            let line = match frame {
                Frame::Text(text) => json!(text),
                Frame::Binary(bytes) => json!({ "bytes": BASE64.encode(bytes) }),
            };
            body += &format!("{line}\n");
        }
        self.post_raw(body.into()).await
    }

    pub async fn post_raw(&self, body: Bytes) -> Result<(u16, String), Fault> {
        let request = Request::post(&self.path).header("content-type", "application/x-ndjson");
        let response = self.request(request, body).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|_| Fault::Cut)?.to_bytes();
        Ok((status, String::from_utf8(body.to_vec()).expect("text")))
    }

    fn control(&mut self, text: &str) {
        let control: Value = serde_json::from_str(text).expect("a control object");
        if let Some(ack) = control["ack"].as_u64() {
            self.acknowledge(ack);
        }
        if !control["gap"].is_null() {
            self.cursor = control["gap"]["to"].as_u64().unwrap_or_default();
            self.heard.push_back(Heard::Gap(control["gap"].clone()));
        }
        if !control["open"].is_null() {
            let open = control["open"].clone();
            self.token = open["token"].as_str().map(str::to_owned);
            assert_eq!(open["cursor"], self.cursor, "{control}");
            if open["resumed"] == false {
                self.acked = 0;
            }
            self.acknowledge(open["ack"].as_u64().expect("a number"));
            self.on_leg = 0;
            self.open = open;
        }
        if let Some(code) = control["close"]["code"].as_u64() {
            let reason = control["close"]["reason"].as_str().unwrap_or_default().to_owned();
            self.heard.push_back(Heard::Close(code as u16, reason));
            self.carrier = ClientCarrier::None;
        }
    }

    fn acknowledge(&mut self, ack: u64) {
        while self.acked < ack && self.unacknowledged.pop_front().is_some() {
            self.acked += 1;
            self.on_leg = self.on_leg.saturating_sub(1);
        }
    }

    fn received(&mut self, number: u64, frame: Frame) {
        if number <= self.cursor {
            return; // again
        }
        assert_eq!(number, self.cursor + 1, "a number is missing");
        self.cursor = number;
        self.heard.push_back(Heard::Frame(frame));
    }

    /// Sends a frame, now or with the next carrier.
    pub async fn send(&mut self, frame: impl Into<Frame>) {
        self.unacknowledged.push_back(frame.into());
        if self.send_again().await.is_err() {
            self.carrier = ClientCarrier::None;
        }
    }

    async fn send_again(&mut self) -> Result<(), Fault> {
        let frames: Vec<_> = self.unacknowledged.iter().skip(self.on_leg as usize).cloned().collect();
        let first = self.acked + self.on_leg + 1;
        if frames.is_empty() {
            return Ok(());
        }
        match &mut self.carrier {
            ClientCarrier::None => return Ok(()),
            ClientCarrier::Socket(socket) => {
                for frame in frames {
                    let message = match frame {
                        Frame::Text(text) if text.starts_with('\u{1}') => {
                            Message::text(format!("\u{1}{text}"))
                        }
                        Frame::Text(text) => Message::text(text),
                        Frame::Binary(bytes) => Message::binary(bytes),
                    };
                    socket.send(message).await.map_err(|_| Fault::Cut)?;
                    self.on_leg += 1;
                }
            }
            ClientCarrier::Stream { .. } | ClientCarrier::Polls(_) => {
                let asked = json!({ "token": self.token, "first": first, "mode": "send" });
                self.exchange(asked, &frames).await?;
            }
        }
        Ok(())
    }

    /// The next observation; `Cut` if the connection ended.
    pub async fn next(&mut self) -> Result<Heard, Fault> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(heard);
            }
            self.listen().await.inspect_err(|_| self.carrier = ClientCarrier::None)?;
        }
    }

    pub async fn text(&mut self) -> String {
        match self.next().await.expect("something") {
            Heard::Frame(Frame::Text(text)) => text,
            other => panic!("expected text, not {other:?}"),
        }
    }

    async fn listen(&mut self) -> Result<(), Fault> {
        match &mut self.carrier {
            ClientCarrier::None => Err(Fault::Cut),
            ClientCarrier::Polls(mode) => {
                let mode = *mode;
                let asked = json!({ "token": self.token, "cursor": self.cursor, "mode": mode });
                self.exchange(asked, &[]).await?;
                if mode == "poll" && self.heard.is_empty() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(())
            }
            ClientCarrier::Stream { .. } => {
                let mut carrier = std::mem::replace(&mut self.carrier, ClientCarrier::None);
                self.read_events(&mut carrier).await?;
                if !self.heard.iter().any(|heard| matches!(heard, Heard::Close(..))) {
                    self.carrier = carrier;
                }
                Ok(())
            }
            ClientCarrier::Socket(socket) => match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    match text.as_str().strip_prefix('\u{1}') {
                        Some(rest) if rest.starts_with('\u{1}') => {
                            self.received(self.cursor + 1, rest.into())
                        }
                        Some(control) => self.control(control),
                        None => self.received(self.cursor + 1, text.as_str().into()),
                    }
                    Ok(())
                }
                Some(Ok(Message::Binary(bytes))) => {
                    self.received(self.cursor + 1, bytes.to_vec().into());
                    Ok(())
                }
                Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) != 4408 => {
                    self.heard.push_back(Heard::Close(frame.code.into(), frame.reason.as_str().to_owned()));
                    self.carrier = ClientCarrier::None;
                    Ok(())
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
                _ => Err(Fault::Cut),
            },
        }
    }

    /// Sends the cursor, where it is not a part of polls.
    pub async fn say_cursor(&mut self) {
        let cursor = self.cursor;
        let said = match &mut self.carrier {
            ClientCarrier::Socket(socket) => {
                let control = Message::text(format!("\u{1}{{\"cursor\":{cursor}}}"));
                socket.send(control).await.map_err(|_| Fault::Cut)
            }
            ClientCarrier::Stream { .. } => {
                self.exchange(json!({ "token": self.token, "cursor": cursor, "mode": "send" }), &[]).await
            }
            _ => Ok(()),
        };
        if said.is_err() {
            self.carrier = ClientCarrier::None;
        }
    }

    /// Ends the session.
    pub async fn close(&mut self, code: u16) {
        match std::mem::replace(&mut self.carrier, ClientCarrier::None) {
            ClientCarrier::Socket(mut socket) => {
                let frame = tungstenite::protocol::CloseFrame { code: code.into(), reason: "".into() };
                socket.send(Message::Close(Some(frame))).await.expect("open");
                while let Some(Ok(_)) = socket.next().await {}
            }
            _ => {
                let asked =
                    json!({ "token": self.token, "mode": "send", "close": { "code": code, "reason": "" } });
                self.exchange(asked, &[]).await.expect("an answer");
            }
        }
    }

    async fn read_events(&mut self, carrier: &mut ClientCarrier) -> Result<(), Fault> {
        let ClientCarrier::Stream { body, read } = carrier else { return Err(Fault::Cut) };
        let frame = body.frame().await.and_then(Result::ok).ok_or(Fault::Cut)?;
        read.extend_from_slice(&frame.into_data().expect("data"));
        while let Some(end) = read.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = read.drain(..end + 2).collect();
            self.event(std::str::from_utf8(&event).expect("text").trim_end_matches('\n'));
        }
        Ok(())
    }

    fn event(&mut self, event: &str) {
        let field = |name: &str| {
            event.lines().filter_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).collect::<Vec<_>>()
        };
        let data = field("data").join("\n");
        let Some(id) = field("id").first().copied() else { return }; // a heartbeat
        let (token, number) = id.split_once('.').expect("an id");
        let number: u64 = number.parse().expect("a number");
        match field("event").first().copied() {
            None => self.received(number, Frame::Text(data)),
            Some("text") => self.received(number, Frame::Text(serde_json::from_str(&data).expect("JSON"))),
            Some("binary") => self.received(number, BASE64.decode(data).expect("base64").into()),
            Some("control") => self.control(&data),
            other => panic!("no such event: {other:?}"),
        }
        assert_eq!(self.token.as_deref(), Some(token));
    }
}
