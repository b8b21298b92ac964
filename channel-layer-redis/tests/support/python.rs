//! The real channels_redis, in a separate process.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use channel_layer::{Map, Message, Value};
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// Longer than any call of a test to Python.
const PATIENCE: Duration = Duration::from_secs(120);

/// A Python layer, which is killed when dropped.
pub(crate) struct Python {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Python {
    /// A layer of this mode with these settings, as in a Django project.
    pub(crate) async fn layer(mode: &str, config: &Json) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/layer.py");
        let mut child = Command::new(python())
            .arg("-B")
            .arg(script)
            .args([mode, &config.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python starts");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut peer = Self { input, output, _child: child };
        assert_eq!(peer.line().await, json!("ready"));
        peer
    }

    /// Calls a function of the script.
    pub(crate) async fn call(&mut self, name: &str, arguments: Json) -> Json {
        self.begin(name, arguments).await;
        self.end().await
    }

    /// Begins a call, for concurrent ones.
    pub(crate) async fn begin(&mut self, name: &str, arguments: Json) {
        let line = json!([name, arguments]).to_string() + "\n";
        self.input.write_all(line.as_bytes()).await.expect("Python listens");
    }

    /// Waits for the result of a call.
    pub(crate) async fn end(&mut self) -> Json {
        let mut answer = self.line().await;
        assert!(answer.get("error").is_none(), "Python: {answer}");
        answer["ok"].take()
    }

    /// Calls a function like [`call`](Self::call). Returns false if Python raises an exception.
    pub(crate) async fn try_call(&mut self, name: &str, arguments: Json) -> bool {
        self.begin(name, arguments).await;
        self.line().await.get("error").is_none()
    }

    pub(crate) async fn new_channel(&mut self) -> String {
        self.call("new_channel", json!([])).await.as_str().expect("a name").to_owned()
    }

    /// The next message, or `None` after this number of seconds.
    pub(crate) async fn receive(&mut self, channel: &str, seconds: f64) -> Option<Message> {
        let answer = self.call("receive", json!([channel, seconds])).await;
        (!answer.is_null()).then(|| thaw_message(&answer))
    }

    async fn line(&mut self) -> Json {
        let line = timeout(PATIENCE, self.output.next_line()).await.expect("Python answers in time");
        let line = line.expect("Python can be read").expect("Python is still there: see its error above");
        serde_json::from_str(&line).expect("Python answers in JSON")
    }
}

/// The interpreter with channels_redis.
pub(crate) fn python() -> PathBuf {
    let folder = env::var_os("CHANNELS_TEST_VENV").map(PathBuf::from).unwrap_or_else(|| {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| env::home_dir().map(|home| home.join(".cache")));
        cache.expect("HOME or XDG_CACHE_HOME is set").join("channels-rs/venv")
    });
    let python = folder.join("bin/python");
    assert!(python.exists(), "{} is missing: run tests/run.sh", python.display());
    python
}

/// Encodes a value for the script.
pub(crate) fn freeze(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::I64(value) => json!(value),
        Value::U64(value) => json!(value),
        Value::F64(value) => json!({"$float": format!("{value:?}")}),
        Value::Str(value) => json!(value),
        Value::Bytes(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({"$bytes": hex})
        }
        Value::List(items) => items.iter().map(freeze).collect(),
        Value::Map(map) => freeze_map(map),
    }
}

pub(crate) fn freeze_map(map: &Map) -> Json {
    Json::Object(map.iter().map(|(key, value)| (key.to_owned(), freeze(value))).collect())
}

/// Decodes a value of the script.
pub(crate) fn thaw_message(json: &Json) -> Message {
    match thaw(json) {
        Value::Map(map) => Message::try_from(map).expect("no reserved key is left in it"),
        other => panic!("not a message: {other:?}"),
    }
}

fn thaw(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => panic!("floats come in words: {number}"),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::List(items.iter().map(thaw).collect()),
        Json::Object(map) => match (map.get("$bytes"), map.get("$float")) {
            (Some(hex), None) => Value::Bytes(unhex(hex.as_str().expect("hexadecimal digits"))),
            (None, Some(float)) => {
                let text = float.as_str().expect("a float in words");
                Value::F64(text.parse().expect("a float"))
            }
            _ => Value::Map(map.iter().map(|(key, value)| (key.as_str(), thaw(value))).collect()),
        },
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("two digits")).collect()
}
