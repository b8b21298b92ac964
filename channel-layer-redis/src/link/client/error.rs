//! Converts errors of the client crate and of the server.

use redis::{RedisError, ServerError};

use crate::error::CallError;

/// Whether a connection was refused because of `HELLO`, so that the older protocol may succeed. Servers and proxies refuse
/// the command with many texts.
pub(super) fn is_hello_refused(error: &RedisError, has_password: bool) -> bool {
    match error.code() {
        // Refused for every command.
        Some("LOADING" | "WRONGPASS") => false,
        // A proxy may accept the password only by `AUTH`.
        Some("NOAUTH") => has_password,
        Some(_) => true,
        None => {
            let text = error.to_string().to_ascii_lowercase();
            error.kind() == redis::ErrorKind::RESP3NotSupported
                || ["hello", "unknown command", "unsupported command"].iter().any(|sign| text.contains(sign))
        }
    }
}

pub(super) fn call_error(error: &RedisError) -> CallError {
    match error.code() {
        Some(code) => refused(code, error.detail()),
        None => CallError::Broken(reason(error)),
    }
}

/// The text of an error.
pub(super) fn reason(error: &RedisError) -> String {
    without_arguments(&error.to_string()).to_owned()
}

pub(super) fn refusal(error: &ServerError) -> CallError {
    refused(error.code(), error.details())
}

fn refused(code: &str, detail: Option<&str>) -> CallError {
    let detail = without_arguments(detail.unwrap_or_default());
    CallError::Refused { code: code.to_owned(), detail: detail.chars().take(200).collect() }
}

/// Removes the arguments that Redis quotes for an unknown command: they may contain payload, or the password of `HELLO`.
fn without_arguments(text: &str) -> &str {
    text.split_once(", with args").map_or(text, |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_hello_is_recognised() {
        for (reply, without_password, with_password) in [
            ("ERR unknown command `HELLO`, with args beginning with: `3`, ", true, true),
            ("ERR unknown command 'hello'", true, true),
            ("ERR Unknown or disabled command", true, true),
            ("ERR invalid command", true, true),
            ("ERR syntax error", true, true),
            ("NOPERM this user has no permissions to run the 'hello' command", true, true),
            ("NOPERM No permissions to run the command", true, true),
            ("NOPROTO unsupported protocol version", true, true),
            ("unknown command", true, true),
            ("NOAUTH Authentication required.", false, true),
            ("WRONGPASS invalid username-password pair or user is disabled.", false, false),
            ("LOADING Redis is loading the dataset in memory", false, false),
        ] {
            let Ok(redis::Value::ServerError(error)) =
                redis::parse_redis_value(format!("-{reply}\r\n").as_bytes())
            else {
                panic!("{reply} is an error");
            };
            let error = RedisError::from(error);
            assert_eq!(is_hello_refused(&error, false), without_password, "{reply}");
            assert_eq!(is_hello_refused(&error, true), with_password, "{reply}");
        }
        let broken = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(!is_hello_refused(&broken, true));
    }

    #[test]
    fn refusals_omit_arguments() {
        let error = refused("ERR", Some("unknown command 'x', with args beginning with: 'canary'"));
        assert!(!error.to_string().contains("canary"));
    }
}
