//! A server with a dialect of Redis: a real one, behind a proxy that changes commands and replies.
//!
//! A command that the dialect lacks is replaced by another one, so that its reply keeps its position.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// The differences between an emulated server and the real one behind it.
#[derive(Clone, Copy)]
pub(crate) struct Dialect {
    /// Replaces a command, given by its words with the name in capitals.
    pub(crate) command: fn(&[&str]) -> Option<Vec<String>>,
    pub(crate) reply: fn(Frame) -> Frame,
}

/// A command, a reply or a push.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    /// A bulk string, `$`. `None` for the one of length -1.
    Bulk(Option<Vec<u8>>),
    /// A frame of one line, with the character of its type.
    Line(String),
    /// A list, `*`, `~` or `>`; or `%`, whose items alternate between keys and values.
    Many(char, Vec<Frame>),
}

pub(crate) struct Speaker {
    port: u16,
    task: JoinHandle<()>,
}

impl Speaker {
    pub(crate) async fn to(port: u16, dialect: Dialect) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let own = listener.local_addr().expect("it is bound").port();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, port, dialect));
            }
        });
        Self { port: own, task }
    }

    pub(crate) fn address(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Replies like a server without the command.
pub(crate) fn unknown(name: &str) -> Vec<String> {
    vec![format!("no-such-{name}")]
}

/// Replies with this error.
pub(crate) fn refuse(error: &str) -> Vec<String> {
    answer(&format!("redis.error_reply(\"{error}\")"))
}

/// Replies with the value of this Lua expression.
pub(crate) fn answer(lua: &str) -> Vec<String> {
    ["EVAL", &format!("return {lua}"), "0"].map(str::to_owned).to_vec()
}

pub(crate) fn bulk(text: &str) -> Frame {
    Frame::Bulk(Some(text.as_bytes().to_vec()))
}

async fn carry(client: TcpStream, port: u16, dialect: Dialect) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true); // small frames
    }
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let command = move |frame: Frame| match frame.words().and_then(|words| {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        (dialect.command)(&words)
    }) {
        Some(words) => Frame::Many('*', words.iter().map(|word| bulk(word)).collect()),
        None => frame,
    };
    tokio::select! {
        () = copy(client_in, server_out, command) => {}
        () = copy(server_in, client_out, dialect.reply) => {}
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    change: impl Fn(Frame) -> Frame,
) {
    let mut buffer = Vec::new();
    loop {
        let mut out = Vec::new();
        while let Some((frame, rest)) = Frame::parse(&buffer) {
            change(frame).write(&mut out);
            let left = rest.len();
            buffer.drain(..buffer.len() - left);
        }
        if to.write_all(&out).await.is_err() || from.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

impl Frame {
    /// The first whole frame, and the bytes after it.
    fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let (line, mut rest) = (String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 2..]);
        let kind = line.chars().next()?;
        let length = || line[1..].parse::<i64>().expect("a length");
        match kind {
            '$' if length() < 0 => Some((Self::Bulk(None), rest)),
            '$' | '=' => {
                let length = usize::try_from(length()).expect("it is not negative");
                let bulk = rest.get(..length + 2)?;
                // A verbatim text begins with its format.
                let start = if kind == '=' { 4 } else { 0 };
                Some((Self::Bulk(Some(bulk[start..length].to_vec())), &rest[length + 2..]))
            }
            '*' | '~' | '>' | '%' => {
                let count = length().max(0) * if kind == '%' { 2 } else { 1 };
                let mut items = Vec::new();
                for _ in 0..count {
                    let (item, behind) = Self::parse(rest)?;
                    items.push(item);
                    rest = behind;
                }
                Some((Self::Many(kind, items), rest))
            }
            _ => Some((Self::Line(line), rest)),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bulk(None) => out.extend(b"$-1\r\n"),
            Self::Bulk(Some(bytes)) => {
                out.extend(format!("${}\r\n", bytes.len()).bytes());
                out.extend(bytes);
                out.extend(b"\r\n");
            }
            Self::Line(line) => {
                out.extend(line.bytes());
                out.extend(b"\r\n");
            }
            Self::Many(kind, items) => {
                let count = if *kind == '%' { items.len() / 2 } else { items.len() };
                out.extend(format!("{kind}{count}\r\n").bytes());
                items.iter().for_each(|item| item.write(out));
            }
        }
    }

    /// The words of a command, the first in capitals.
    fn words(&self) -> Option<Vec<String>> {
        let Self::Many('*', items) = self else { return None };
        let word = |item: &Self| match item {
            Self::Bulk(Some(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        let mut words: Vec<_> = items.iter().map(word).collect::<Option<_>>()?;
        words.first_mut()?.make_ascii_uppercase();
        Some(words)
    }
}
