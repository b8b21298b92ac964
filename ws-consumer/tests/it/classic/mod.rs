//! The programs of Django Channels' tutorial and documentation, each with its test, each in at most as many lines.
//!
//! A file is a program, up to its first test. Lines that are blank, comments or imports do not count, on either side. The consumers of
//! the documentation's fragments count with the lines that are shown. A test reads the numbers of this table.
//!
//! | program | lines in Python | place in Channels' documentation |
//! |---|---|---|
//! | `alias` | 11 | channel layers: `EchoConsumer` with its `channel_layer_alias` |
//! | `background_worker` | 8 | worker and background tasks: `PrintConsumer` with its `ChannelNameRouter` |
//! | `basic_http` | 6 | generic consumers: `BasicHttpConsumer` |
//! | `chat` | 17 | tutorial, parts 2 and 3: `ChatConsumer` (21 lines in its synchronous form) |
//! | `demultiplexer` | 4 | `channelsmultiplexer`: the routing of `AsyncJsonWebsocketDemultiplexer` |
//! | `echo` | 10 | consumers: `EchoConsumer` |
//! | `generic` | 12 | generic consumers: `MyConsumer(WebsocketConsumer)` |
//! | `groups` | 15 | channel layers: a consumer of the group `chat` |
//! | `login` | 6 | authentication: `ChatConsumer`, with its two lines `...` |
//! | `long_poll` | 8 | generic consumers: `LongPollConsumer` |
//! | `ping` | 11 | consumers: `PingConsumer` |
//! | `server_sent_events` | 11 | generic consumers: `ServerSentEventsConsumer` |
//! | `sync_echo` | 10 | consumers: `EchoConsumer(SyncConsumer)` |
//! | `testing` | 7 | testing: `WebsocketCommunicator` |
//! | `tutorial_echo` | 9 | tutorial, part 2: `ChatConsumer` before it has rooms |
//!
//! Part 4 of the tutorial, the tests of the chat in browsers, is in the tests of the workspace's example `chat`.

mod alias;
mod background_worker;
mod basic_http;
mod chat;
mod demultiplexer;
mod echo;
mod generic;
mod groups;
#[cfg(feature = "auth")]
mod login;
mod long_poll;
mod ping;
mod server_sent_events;
mod sync_echo;
mod testing;
mod tutorial_echo;
mod underscores;

/// The number of lines of a program's file that count.
fn lines(source: &str) -> usize {
    let program = source.split("#[tokio::test").next().unwrap_or_default();
    let mut imports = false;
    let mut counted = 0;
    for line in program.lines().map(str::trim) {
        imports |= line.starts_with("use ");
        if !imports && !line.is_empty() && !line.starts_with("//") {
            counted += 1;
        }
        imports &= !line.ends_with(';');
    }
    counted
}

#[test]
fn programs_are_as_short_as_in_python() {
    let table = include_str!("mod.rs").lines().filter_map(|line| {
        let [name, python, _] = line.strip_prefix("//! | `")?.splitn(3, " | ").collect::<Vec<_>>()[..] else {
            return None;
        };
        Some((name.trim_end_matches('`').to_owned(), python.parse::<usize>().ok()?))
    });
    let table: Vec<_> = table.collect();
    assert_eq!(table.len(), 15);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/classic");
    for (name, python) in table {
        let source = std::fs::read_to_string(format!("{folder}/{name}.rs")).expect("a program");
        let rust = lines(&source);
        assert!(rust > 0 && rust <= python, "{name}: {rust} lines, {python} in Python");
    }
}

#[test]
fn only_code_counts() {
    let source = "//! A doc.\n\nuse a::b;\nuse c::{\n    d,\n    e,\n};\n\n/// A doc.\nfn f() {\n    g() // h\n}\n#[tokio::test]\nfn i() {}\n";
    assert_eq!(lines(source), 3);
}
