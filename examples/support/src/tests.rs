//! Options, and lines of the access log.

use std::{ffi::OsString, fs, process};

use tracing::field::display;
use tracing_subscriber::layer::SubscriberExt;

use super::{access_log::AccessLog, *};

#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    layer: LayerOptions,
}

fn parsed(line: &str) -> Result<Options, clap::Error> {
    let args = ["program"].into_iter().chain(line.split_whitespace()).map(OsString::from);
    parse_from("127.0.0.1:8000", args)
}

#[test]
fn options_are_understood() {
    let addresses = |options: &Options| {
        options.server.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    for (line, listen, log, trusted) in [
        ("", "127.0.0.1:8000", None, 0),
        ("--listen [::1]:0", "[::1]:0", None, 0),
        ("--listen 127.0.0.1:1 --listen 127.0.0.2:2", "127.0.0.1:1 127.0.0.2:2", None, 0),
        ("--access-log", "127.0.0.1:8000", Some("-"), 0),
        ("--access-log /tmp/x --proxy-trust 10.0.0.0/8 ::1", "127.0.0.1:8000", Some("/tmp/x"), 2),
        ("--proxy-trust 10.0.0.1 --proxy-trust 10.0.0.2", "127.0.0.1:8000", None, 2),
    ] {
        let options = parsed(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(addresses(&options), listen, "{line}");
        assert_eq!(options.server.access_log.as_ref().and_then(|path| path.to_str()), log, "{line}");
        assert_eq!(options.server.proxy_trust.len(), trusted, "{line}");
        assert!(options.server.trusted().is_ok(), "{line}");
        assert_eq!(options.layer.layer, "memory://", "{line}");
    }
    assert!(parsed("--listen nowhere").is_err());
    let refused = parsed("--proxy-trust nowhere").unwrap().server.trusted().unwrap_err();
    assert!(refused.starts_with("--proxy-trust: "), "{refused}");
}

#[test]
fn access_log_is_a_line_per_entry() {
    let path = std::env::temp_dir().join(format!("access-{}.log", process::id()));
    fs::write(&path, "before\n").unwrap();
    let log = AccessLog::open(&path).unwrap().into_layer();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
        let (method, path, client) = ("GET", "/ws", Some(display("192.0.2.7")));
        tracing::info!(target: "ws_consumer::access", method, path, client, status = 101_u16, bytes = 0_u64, seconds = 0.0016);
        tracing::info!(target: "ws_consumer::access", method, path, client, code = 1001_u16, seconds = 450.0);
        tracing::info!(target: "ws_consumer", "another target");
    });
    let written = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let lines: Vec<_> = written.lines().collect();
    assert_eq!(lines[0], "before");
    let entries: Vec<_> = lines[1..].iter().map(|line| line.split_once(' ').unwrap()).collect();
    assert!(entries.iter().all(|(time, _)| time.starts_with("20") && time.ends_with('Z')), "{written}");
    let texts: Vec<_> = entries.iter().map(|(_, text)| *text).collect();
    assert_eq!(texts, ["192.0.2.7 GET /ws 101 0 0.002", "192.0.2.7 GET /ws close=1001 - 450.000"]);
    assert!(AccessLog::open(&path.join("no-folder")).is_err());
}

#[tokio::test]
async fn one_address_is_asked_for() {
    for (line, is_one) in
        [("--listen 127.0.0.1:0", true), ("--listen 127.0.0.1:0 --listen 127.0.0.1:0", false)]
    {
        let listeners = parsed(line).unwrap().server.listen().await.unwrap();
        assert_eq!(listeners.into_one().is_ok(), is_one, "{line}");
    }
}
