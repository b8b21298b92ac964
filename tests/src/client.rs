//! A member of a chat room, by tokio-tungstenite.

use std::net::IpAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::server::Server;
use crate::within;

/// A WebSocket to an example server. Every wait has a deadline.
#[derive(Debug)]
pub struct Member {
    socket: WebSocketStream<TcpStream>,
}

/// The end of a connection, as the client sees it.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a close frame; 1005 when it named no code.
    Closed(u16),
    /// Without a close frame.
    Dropped,
}

impl Member {
    /// Joins `room` of the chat.
    pub async fn join(server: &Server, room: &str) -> Self {
        Self::connect(server, &format!("/ws/chat/{room}/")).await
    }

    /// Joins `room` of the chat from this address of the machine.
    pub async fn join_from(server: &Server, from: impl Into<IpAddr>, room: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from.into(), 0).into()).expect("a free port");
        let stream = socket.connect(server.address).await.expect("the server accepts connections");
        Self::open(server, stream, &format!("/ws/chat/{room}/")).await
    }

    /// Opens the WebSocket at `path`.
    pub async fn connect(server: &Server, path: &str) -> Self {
        let stream = TcpStream::connect(server.address).await.expect("the server accepts connections");
        Self::open(server, stream, path).await
    }

    async fn open(server: &Server, stream: TcpStream, path: &str) -> Self {
        // The server must be the one to refuse a message for its size.
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let opening = tokio_tungstenite::client_async_with_config(server.ws(path), stream, Some(config));
        let (socket, _) = within("a WebSocket's opening", opening).await.expect("the WebSocket opens");
        Self { socket }
    }

    /// Sends `text` to the room.
    pub async fn say(&mut self, text: &str) {
        self.send(Message::text(json!({ "message": text }).to_string())).await;
    }

    /// Sends any frame.
    pub async fn send(&mut self, message: Message) {
        within("a send", self.socket.send(message)).await.expect("the server reads");
    }

    /// The text of the next message of the room; anything else fails the test.
    pub async fn hear(&mut self) -> String {
        self.member_of_next("message").await
    }

    /// The text of the error that comes next; anything else fails the test.
    pub async fn hear_error(&mut self) -> String {
        self.member_of_next("error").await
    }

    /// The next text or binary message.
    pub async fn receive(&mut self) -> Message {
        match self.next().await {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => message,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// Reads on until the connection ends.
    pub async fn ending(mut self) -> Ending {
        let mut ending = Ending::Dropped;
        while let Some(next) = self.next().await {
            match next {
                Ok(Message::Close(frame)) => {
                    let code = frame.map_or(CloseCode::Status, |frame| frame.code);
                    ending = Ending::Closed(code.into());
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        ending
    }

    /// Closes with 1000, and returns the server's answer.
    pub async fn leave(mut self) -> Ending {
        let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
            code: CloseCode::Normal,
            reason: Default::default(),
        };
        within("a close", self.socket.close(Some(frame))).await.expect("the server reads the close frame");
        self.ending().await
    }

    async fn member_of_next(&mut self, name: &str) -> String {
        let message = self.receive().await;
        let text = message.to_text().expect("the chat answers in text");
        let object: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text:?}"));
        let members = object.as_object().unwrap_or_else(|| panic!("no JSON object: {text:?}"));
        assert_eq!(members.len(), 1, "one member expected: {text:?}");
        let value = members.get(name).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("no {name:?} in {text:?}")).to_owned()
    }

    // tungstenite answers pings itself.
    async fn next(&mut self) -> Option<Result<Message, Error>> {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => return other,
                }
            }
        };
        within("a frame", next).await
    }
}
