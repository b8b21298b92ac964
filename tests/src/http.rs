//! Requests written byte by byte: a test sees the status line itself, and can send requests that no client would.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::within;

/// A server's response.
#[derive(Debug)]
pub struct Answer {
    /// The status of the first line.
    pub status: u16,
    head: String,
    /// The body, if any.
    pub body: String,
}

impl Answer {
    /// The value of the first header called `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Sends `GET path` with these header lines.
pub async fn ask(server: SocketAddr, path: &str, headers: &[&str]) -> Answer {
    let mut lines = vec!["Connection: close"];
    lines.extend_from_slice(headers);
    send(server, format!("GET {path}"), &lines, "").await
}

/// Sends `POST path` with a form and these header lines, as a page of the server would.
pub async fn post_form(server: SocketAddr, path: &str, headers: &[&str], form: &str) -> Answer {
    let (origin, length) = (format!("Origin: http://{server}"), format!("Content-Length: {}", form.len()));
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let mut lines = vec!["Connection: close", &origin, kind, &length];
    lines.extend_from_slice(headers);
    send(server, format!("POST {path}"), &lines, form).await
}

/// Sends a WebSocket's opening request with these header lines. The connection is dropped after the response.
pub async fn ask_upgrade(server: SocketAddr, path: &str, headers: &[&str]) -> Answer {
    let mut lines = vec![
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    lines.extend_from_slice(headers);
    send(server, format!("GET {path}"), &lines, "").await
}

async fn send(server: SocketAddr, method_and_path: String, headers: &[&str], body: &str) -> Answer {
    let mut request = format!("{method_and_path} HTTP/1.1\r\nHost: {server}\r\n");
    for line in headers {
        request.push_str(line);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.push_str(body);
    within("an HTTP answer", exchange(server, request)).await
}

async fn exchange(server: SocketAddr, request: String) -> Answer {
    let mut stream = TcpStream::connect(server).await.expect("the server accepts connections");
    stream.write_all(request.as_bytes()).await.expect("the server reads the request");
    let mut bytes = Vec::new();
    let head_end = loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            break end;
        }
        let read = stream.read_buf(&mut bytes).await.expect("the server answers");
        assert!(read > 0, "the answer ended within its head: {:?}", String::from_utf8_lossy(&bytes));
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut body = bytes.split_off(head_end + 4);
    let status = status_in(&head);
    // After 101 the stream belongs to another protocol and does not end; every other answer was asked to close
    // the connection, or says how long it is.
    if status != 101 {
        read_body(&mut stream, &head, &mut body).await;
    }
    Answer { status, head, body: String::from_utf8_lossy(&body).into_owned() }
}

async fn read_body(stream: &mut TcpStream, head: &str, body: &mut Vec<u8>) {
    let answer = Answer { status: 0, head: head.to_owned(), body: String::new() };
    let length = answer.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(usize::MAX);
    while body.len() < length {
        if stream.read_buf(body).await.expect("the body arrives") == 0 {
            return;
        }
    }
}

fn status_in(head: &str) -> u16 {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no status line: {head:?}"))
}
