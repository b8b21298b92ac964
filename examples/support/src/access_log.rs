//! The access log: a line for each request, and one for the end of each socket.
//!
//! A line has eight fields with one space between; `-` is one that is unknown:
//!
//! ```text
//! TIME CLIENT METHOD PATH STATUS|close=CODE BYTES SECONDS
//! 2026-01-31T12:00:00Z 192.0.2.7 GET /ws/chat/lobby/ 101 0 0.002
//! 2026-01-31T12:07:30Z 192.0.2.7 GET /ws/chat/lobby/ close=1001 - 450.113
//! ```
//!
//! The time is UTC, when the line is written. The path is percent-encoded, without its query.

use std::{
    fmt::{self, Write as _},
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    fmt::{
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::Context,
    registry::LookupSpan,
};

/// Writes the access log.
pub(crate) struct AccessLog(Mutex<Box<dyn Write + Send>>);

impl AccessLog {
    /// Appends to a file, or writes to standard error for the path `-`.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let output: Box<dyn Write + Send> = match path.to_str() {
            Some("-") => Box::new(io::stderr()),
            _ => {
                let file = File::options().create(true).append(true).open(path);
                Box::new(file.map_err(|error| format!("access log {}: {error}", path.display()))?)
            }
        };
        Ok(Self(Mutex::new(output)))
    }

    pub(crate) fn into_layer<S: Subscriber + for<'a> LookupSpan<'a>>(self) -> impl Layer<S> {
        let requests = tracing_subscriber::filter::Targets::new();
        self.with_filter(requests.with_target("ws_consumer::access", tracing::Level::INFO))
    }
}

impl<S: Subscriber> Layer<S> for AccessLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = AccessFields::default();
        event.record(&mut fields);
        let mut line = String::new();
        let _infallible = SystemTime.format_time(&mut Writer::new(&mut line));
        let _infallible = writeln!(line, " {fields}");
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // There is no place to report that the log's disk is full.
        let _failed = output.write_all(line.as_bytes());
    }
}

/// The fields of an event with the target `ws_consumer::access`.
#[derive(Default)]
struct AccessFields {
    client: Option<String>,
    method: Option<String>,
    path: Option<String>,
    status: Option<u64>,
    code: Option<u64>,
    bytes: Option<u64>,
    seconds: Option<f64>,
}

impl Visit for AccessFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "seconds" {
            self.seconds = Some(value);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "status" => self.status = Some(value),
            "code" => self.code = Some(value),
            "bytes" => self.bytes = Some(value),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "method" => self.method = Some(value.to_owned()),
            "path" => self.path = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "client" {
            self.client = Some(format!("{value:?}"));
        }
    }
}

impl fmt::Display for AccessFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = "-".to_owned();
        for text in [&self.client, &self.method, &self.path] {
            write!(f, "{} ", text.as_ref().unwrap_or(&unknown))?;
        }
        match (self.status, self.code) {
            (_, Some(code)) => write!(f, "close={code}")?,
            (Some(status), None) => write!(f, "{status}")?,
            (None, None) => f.write_str("-")?,
        }
        let bytes = self.bytes.map_or(unknown, |bytes| bytes.to_string());
        write!(f, " {bytes} {:.3}", self.seconds.unwrap_or_default())
    }
}
