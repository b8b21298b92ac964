//! Tokens: the address of a session, and the proof that a client may resume it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use channel_layer::GroupName;
use subtle::ConstantTimeEq;

/// The prefix of the group in which a process receives requests for its sessions. A token can name such groups only, so
/// that a forged one reaches no other group.
const GROUP: &str = "ws-sessions.";
const PROCESS: usize = 12;
const SESSION: usize = 8;
const SECRET: usize = 16;

/// The identity of one run of a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct ProcessId([u8; PROCESS]);

/// The identity of a session within its process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct SessionId([u8; SESSION]);

/// The secret part of a token: never logged, and compared in constant time.
#[derive(Clone, Copy)]
pub(super) struct TokenSecret([u8; SECRET]);

/// A session's process, identity and secret, opaque to clients.
#[derive(Clone, Copy)]
pub(super) struct SessionToken {
    pub(super) process: ProcessId,
    pub(super) session: SessionId,
    pub(super) secret: TokenSecret,
}

/// The error of a system that has no randomness to give.
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

impl TokenSecret {
    pub(super) fn new() -> Result<Self, NoRandomness> {
        random().map(Self)
    }

    /// Whether both are equal, compared in constant time.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl SessionToken {
    pub(super) fn text(&self) -> String {
        let mut bytes = [0; PROCESS + SESSION + SECRET];
        bytes[..PROCESS].copy_from_slice(&self.process.0);
        bytes[PROCESS..][..SESSION].copy_from_slice(&self.session.0);
        bytes[PROCESS + SESSION..].copy_from_slice(&self.secret.0);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Parses a token; `None` if `text` is not one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; PROCESS + SESSION + SECRET];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (process, rest) = bytes.split_first_chunk()?;
        let (session, rest) = rest.split_first_chunk()?;
        let secret = rest.first_chunk()?;
        if length != bytes.len() {
            return None;
        }
        Some(Self {
            process: ProcessId(*process),
            session: SessionId(*session),
            secret: TokenSecret(*secret),
        })
    }

    /// Parses `TOKEN.CURSOR`, the format of an event stream's ids.
    pub(super) fn parse_with_cursor(text: &str) -> Option<(Self, u64)> {
        let (token, cursor) = text.split_once('.')?;
        Some((Self::parse(token)?, cursor.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> SessionToken {
        SessionToken {
            process: ProcessId::new().unwrap(),
            session: SessionId::new().unwrap(),
            secret: TokenSecret::new().unwrap(),
        }
    }

    #[test]
    fn tokens_round_trip() {
        let token = token();
        let text = token.text();
        assert!(text.len() <= 128 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        let read = SessionToken::parse(&text).unwrap();
        assert!(read.process == token.process && read.session == token.session);
        assert!(read.secret.is(&token.secret) && !read.secret.is(&TokenSecret::new().unwrap()));
        let (_, cursor) = SessionToken::parse_with_cursor(&format!("{text}.42")).unwrap();
        assert_eq!(cursor, 42);
    }

    #[test]
    fn malformed_tokens_are_none() {
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
            assert!(SessionToken::parse(wrong).is_none(), "{wrong}");
        }
        for wrong in [text.as_str(), &format!("{text}."), &format!("{text}.-1"), &format!("{text}.x")] {
            assert!(SessionToken::parse_with_cursor(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn each_process_has_its_group() {
        let (one, other) = (ProcessId::new().unwrap(), ProcessId::new().unwrap());
        assert_ne!(one.group(), other.group());
        assert!(one.group().as_str().starts_with("ws-sessions."));
    }
}
