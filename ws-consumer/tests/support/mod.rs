//! A server and its clients in one process, over pipes: no ports, and the clock can be paused.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod captured;
pub mod diary;
pub mod distant;
mod fragile;
pub mod outage;
pub mod sessions;
pub mod ways;

use std::{sync::Arc, time::Duration};

use channel_layer::{ChannelLayer, MemoryLayer};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::Request, protocol::CloseFrame},
};
use ws_consumer::{Application, Input, Limits, Protocols, Socket, SocketService, serve_connection};

/// The limit for each step; with a paused clock it passes only when no task can run.
const PATIENCE: Duration = Duration::from_secs(120);

/// Echoes every frame.
pub async fn echo(mut socket: Socket) -> ws_consumer::Result<()> {
    socket.accept().await?;
    while let Some(input) = socket.next().await? {
        if let Input::Frame(frame) = input {
            socket.send(frame).await?;
        }
    }
    Ok(())
}

pub struct Server {
    pub layer: Arc<MemoryLayer>,
    pub service: SocketService<ws_consumer::NotFound>,
}

impl Server {
    pub fn new(application: impl Application) -> Self {
        Self::limited(application, Limits::default())
    }

    pub fn limited(application: impl Application, limits: Limits) -> Self {
        let layer = Arc::new(MemoryLayer::default());
        let protocols = Protocols::new().websocket(application).limits(limits);
        let service = protocols.into_service(layer.clone() as Arc<dyn ChannelLayer>);
        Self { layer, service }
    }

    /// Starts a server with sessions, over every transport, on a layer that others may share.
    pub fn with_sessions(
        application: impl Application,
        layer: &Arc<MemoryLayer>,
        transports: ws_consumer::Resume,
        limits: Limits,
    ) -> Self {
        let protocols = Protocols::new().websocket(application).limits(limits).resume(transports);
        let service = protocols.into_service(layer.clone() as Arc<dyn ChannelLayer>);
        Self { layer: layer.clone(), service }
    }

    /// Opens a connection, and returns the client's end.
    pub fn pipe(&self) -> DuplexStream {
        self.pipe_of(64 << 10)
    }

    /// Opens a connection with a buffer of this size, and returns the client's end.
    pub fn pipe_of(&self, bytes: usize) -> DuplexStream {
        let (client, server) = duplex(bytes);
        tokio::spawn(serve_connection(server, self.service.clone()));
        client
    }

    pub async fn connect(&self, path: &str) -> Client {
        self.try_connect(request(path)).await.expect("accepted")
    }

    /// The status that a client is refused with.
    pub async fn refusal(&self, path: &str) -> u16 {
        match self.try_connect(request(path)).await {
            Err(Error::Http(response)) => response.status().as_u16(),
            other => panic!("expected a refusal, not {other:?}"),
        }
    }

    pub async fn try_connect(&self, request: Request<()>) -> Result<Client, Error> {
        let (socket, response) = timed(client_async(request, self.pipe())).await?;
        Ok(Client { socket, response: response.map(|_| ()) })
    }
}

pub fn request(path: &str) -> Request<()> {
    format!("ws://test{path}").into_client_request().expect("a valid path")
}

#[derive(Debug)]
pub struct Client {
    pub socket: WebSocketStream<DuplexStream>,
    pub response: tokio_tungstenite::tungstenite::http::Response<()>,
}

impl Client {
    pub async fn send(&mut self, text: &str) {
        timed(self.socket.send(Message::text(text))).await.expect("open");
    }

    /// The next text.
    pub async fn text(&mut self) -> String {
        loop {
            match timed(self.socket.next()).await.expect("open").expect("sound") {
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("expected text, not {other:?}"),
            }
        }
    }

    /// The code that the server closes with.
    pub async fn close_code(&mut self) -> u16 {
        self.close_frame().await.map_or(1005, |frame| frame.code.into())
    }

    pub async fn close_frame(&mut self) -> Option<CloseFrame> {
        loop {
            match timed(self.socket.next()).await {
                Some(Ok(Message::Close(frame))) => {
                    while let Some(Ok(_)) = timed(self.socket.next()).await {} // answers it
                    return frame;
                }
                Some(Ok(_)) => {}
                other => panic!("expected a close, not {other:?}"),
            }
        }
    }

    pub async fn leave(mut self) {
        timed(self.socket.close(None)).await.expect("open");
        while let Some(Ok(_)) = timed(self.socket.next()).await {}
    }
}

pub async fn timed<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// Sends bytes as they are, and returns the whole answer.
pub async fn raw(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut pipe = server.pipe();
    let mut answer = Vec::new();
    timed(async {
        let _ = pipe.write_all(bytes).await; // it may be refused before all of it is read
        pipe.read_to_end(&mut answer).await
    })
    .await
    .expect("an answer");
    answer
}

pub const HANDSHAKE: &str = "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The bytes after the response to the handshake.
pub async fn raw_frames(server: &Server, frames: &[u8]) -> Vec<u8> {
    raw_frames_at(server, "/", frames).await
}

/// The bytes after the response to a handshake at this path.
pub async fn raw_frames_at(server: &Server, path: &str, frames: &[u8]) -> Vec<u8> {
    let handshake = HANDSHAKE.replacen("GET / ", &format!("GET {path} "), 1);
    let answer = raw(server, &[handshake.as_bytes(), frames].concat()).await;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    answer[end..].to_vec()
}

/// The code in a server's close frame.
pub fn close_code(frames: &[u8]) -> u16 {
    assert_eq!(frames.first(), Some(&0x88), "a close frame: {frames:x?}");
    u16::from_be_bytes([frames[2], frames[3]])
}

/// A client's frame, masked with zeros.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}
