//! Commands and errors.

use redis::{Cmd, Pipeline, RedisError, ServerError, ToRedisArgs, Value};

use super::reply::Reply;
use crate::error::Fault;

/// One command with its arguments.
#[derive(Debug)]
pub(crate) struct Command(Cmd);

impl Command {
    pub(crate) fn new(name: &str) -> Self {
        Self(redis::cmd(name))
    }

    /// A `PUBLISH`, in one allocation for its arguments.
    pub(crate) fn publish(channel: impl AsRef<[u8]>, payload: &[u8]) -> Self {
        let channel = channel.as_ref();
        let mut command = Cmd::with_capacity(3, 7 + channel.len() + payload.len());
        command.arg("PUBLISH").arg(channel).arg(payload);
        Self(command)
    }

    pub(crate) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.0.arg(argument);
        self
    }

    pub(super) fn as_inner(&self) -> &Cmd {
        &self.0
    }
}

/// Commands for one write, each with a reply of its own.
pub(crate) struct Commands(Pipeline);

impl Commands {
    pub(crate) fn with_capacity(commands: usize) -> Self {
        Self(Pipeline::with_capacity(commands))
    }

    pub(crate) fn push(&mut self, command: Command) {
        self.0.add_command(command.0);
    }

    /// Adds a `PUBLISH`.
    pub(crate) fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        self.push(Command::publish(channel, payload));
    }

    /// The number of commands.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn as_inner(&self) -> &Pipeline {
        &self.0
    }
}

impl FromIterator<Command> for Commands {
    fn from_iter<I: IntoIterator<Item = Command>>(commands: I) -> Self {
        let mut all = Self(Pipeline::new());
        commands.into_iter().for_each(|command| all.push(command));
        all
    }
}

/// The replies to [`Commands`], in their order.
pub(crate) struct Replies(std::vec::IntoIter<Value>);

impl Replies {
    pub(super) fn new(replies: Vec<Value>) -> Self {
        Self(replies.into_iter())
    }
}

impl Iterator for Replies {
    type Item = Result<Reply, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Reply::from_value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// A Lua script; Redis knows it by its hash once it has seen it.
#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// A call by its hash: short, but a server that was restarted answers `NOSCRIPT` without having run it.
    pub(crate) fn by_hash(&self, keys: &[String], arguments: &[&[u8]]) -> Command {
        Command::new("EVALSHA").arg(&self.hash).arg(keys.len()).arg(keys).arg(arguments)
    }

    /// A call by its text, which the server then remembers.
    pub(crate) fn by_text(&self, keys: &[String], arguments: &[&[u8]]) -> Command {
        Command::new("EVAL").arg(self.text).arg(keys.len()).arg(keys).arg(arguments)
    }
}

/// Returns whether a connection that began with `HELLO` was refused in a way that the older protocol may avoid: servers
/// and proxies refuse the command in many words.
pub(super) fn is_hello_refused(error: &RedisError, has_password: bool) -> bool {
    match error.code() {
        // The same for every command.
        Some("LOADING" | "WRONGPASS") => false,
        // A proxy may take the password by `AUTH` alone.
        Some("NOAUTH") => has_password,
        Some(_) => true,
        None => {
            let text = error.to_string().to_ascii_lowercase();
            error.kind() == redis::ErrorKind::RESP3NotSupported
                || ["hello", "unknown command", "unsupported command"].iter().any(|sign| text.contains(sign))
        }
    }
}

pub(super) fn fault_of(error: &RedisError) -> Fault {
    match error.code() {
        Some(code) => refused(code, error.detail()),
        None => Fault::Broken(reason(error)),
    }
}

/// The error in words.
pub(super) fn reason(error: &RedisError) -> String {
    without_arguments(&error.to_string()).to_owned()
}

pub(super) fn refusal(error: &ServerError) -> Fault {
    refused(error.code(), error.details())
}

fn refused(code: &str, detail: Option<&str>) -> Fault {
    let detail = without_arguments(detail.unwrap_or_default());
    Fault::Refused { code: code.to_owned(), detail: detail.chars().take(200).collect() }
}

/// Redis quotes the arguments of a command that it does not know: they are cut off, since they may be payload, or the
/// password that goes with `HELLO`.
fn without_arguments(text: &str) -> &str {
    text.split_once(", with args").map_or(text, |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_refuses_hello_alone_leads_to_the_older_protocol() {
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
    fn a_refusal_does_not_repeat_the_arguments() {
        let fault = refused("ERR", Some("unknown command 'x', with args beginning with: 'canary'"));
        assert!(!fault.to_string().contains("canary"));
    }
}
