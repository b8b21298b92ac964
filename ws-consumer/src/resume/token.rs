//! What addresses a session, and what proves that it is one's own.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use channel_layer::GroupName;
use subtle::ConstantTimeEq;

/// Before the name of the group in which a process hears of its sessions. Only such groups can be named by a token, so
/// that a made-up one reaches nobody else.
const GROUP: &str = "ws-sessions.";
const PROCESS: usize = 12;
const SESSION: usize = 8;
const SECRET: usize = 16;

/// One run of a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct ProcessId([u8; PROCESS]);

/// One of its sessions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct SessionId([u8; SESSION]);

/// Never shown, and compared in a time that tells nothing.
#[derive(Clone, Copy)]
pub(super) struct Secret([u8; SECRET]);

/// All three: opaque to clients.
#[derive(Clone, Copy)]
pub(super) struct Token {
    pub(super) process: ProcessId,
    pub(super) session: SessionId,
    pub(super) secret: Secret,
}

/// The system has no randomness to give.
pub(super) type NoRandomness = getrandom::Error;

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

impl ProcessId {
    pub(super) fn new() -> Result<Self, NoRandomness> {
        random().map(Self)
    }

    pub(super) fn group(self) -> GroupName {
        let name = format!("{GROUP}{}", URL_SAFE_NO_PAD.encode(self.0));
        name.parse().expect("base64 for URLs has the letters of names only")
    }
}

impl SessionId {
    pub(super) fn new() -> Result<Self, NoRandomness> {
        random().map(Self)
    }
}

impl Secret {
    pub(super) fn new() -> Result<Self, NoRandomness> {
        random().map(Self)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Token {
    pub(super) fn text(&self) -> String {
        let mut bytes = [0; PROCESS + SESSION + SECRET];
        bytes[..PROCESS].copy_from_slice(&self.process.0);
        bytes[PROCESS..][..SESSION].copy_from_slice(&self.session.0);
        bytes[PROCESS + SESSION..].copy_from_slice(&self.secret.0);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Nothing if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; PROCESS + SESSION + SECRET];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (process, rest) = bytes.split_first_chunk()?;
        let (session, rest) = rest.split_first_chunk()?;
        let secret = rest.first_chunk()?;
        if length != bytes.len() {
            return None;
        }
        Some(Self { process: ProcessId(*process), session: SessionId(*session), secret: Secret(*secret) })
    }

    /// `TOKEN.CURSOR`, as an event stream's ids have it.
    pub(super) fn parse_with_cursor(text: &str) -> Option<(Self, u64)> {
        let (token, cursor) = text.split_once('.')?;
        Some((Self::parse(token)?, cursor.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            process: ProcessId::new().unwrap(),
            session: SessionId::new().unwrap(),
            secret: Secret::new().unwrap(),
        }
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let token = token();
        let text = token.text();
        assert!(text.len() <= 128 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        let read = Token::parse(&text).unwrap();
        assert!(read.process == token.process && read.session == token.session);
        assert!(read.secret.is(&token.secret) && !read.secret.is(&Secret::new().unwrap()));
        let (_, cursor) = Token::parse_with_cursor(&format!("{text}.42")).unwrap();
        assert_eq!(cursor, 42);
    }

    #[test]
    fn what_is_no_token_is_none() {
        let text = token().text();
        for wrong in [
            "",
            "x",
            &text[1..],
            &format!("{text}A"),
            &format!("{text}="),
            "../../etc",
            "汉字",
            "ws-sessions.x",
        ] {
            assert!(Token::parse(wrong).is_none(), "{wrong}");
        }
        for wrong in [text.as_str(), &format!("{text}."), &format!("{text}.-1"), &format!("{text}.x")] {
            assert!(Token::parse_with_cursor(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_process_is_a_group_of_its_own() {
        let (one, other) = (ProcessId::new().unwrap(), ProcessId::new().unwrap());
        assert_ne!(one.group(), other.group());
        assert!(one.group().as_str().starts_with("ws-sessions."));
    }
}
