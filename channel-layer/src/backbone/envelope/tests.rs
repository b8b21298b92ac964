use proptest::prelude::*;

use super::*;
use crate::value::Value;

fn header() -> Header {
    Header { publisher: 7, number: 8, sequence: 0, lifetime: Duration::from_millis(1500) }
}

fn message() -> Message {
    Message::new("m").with("b", Value::bytes([1, 2])).with("f", 1.5).with("n", -1).with("big", 1_i64 << 40)
}

fn channel() -> ChannelName {
    "a.1!x".parse().unwrap()
}

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

#[test]
fn envelopes_round_trip() {
    let audience = Audience::from(group("g")).and(group("h"));
    let targets = [
        Target::Audience(audience.clone()),
        Target::Audience(audience.except(channel())),
        Target::Channel(channel()),
    ];
    for target in targets {
        let mut bytes = encode(&header(), &target, Some(&message())).unwrap();
        set_sequence(&mut bytes, 9);
        let envelope = Envelope::decode(&bytes).unwrap();
        assert_eq!(envelope.header, Header { sequence: 9, ..header() });
        assert_eq!(envelope.target, target);
        assert_eq!(Message::from_bytes(envelope.body).unwrap(), message());
    }
    let add = Target::Add(channel(), group("g"));
    let discards = [Target::Discard(channel(), group("g")), Target::DiscardAll(channel())];
    for target in [Target::Done, Target::Probe, Target::Flush, add].into_iter().chain(discards) {
        let bytes = encode(&header(), &target, None).unwrap();
        assert_eq!(Envelope::decode(&bytes).unwrap().target, target);
    }
}

/// The bytes were made by a program in another language.
#[test]
fn matches_the_vectors() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../vectors/envelope.json")).unwrap();
    let rows = vectors["envelopes"].as_array().unwrap();
    assert!(rows.len() > 10);
    for row in rows {
        let bytes = from_hex(&row["hex"]);
        let envelope = Envelope::decode(&bytes).unwrap();
        let number = |name: &str| row[name].as_str().unwrap().parse::<u64>().unwrap();
        let lifetime = Duration::from_millis(row["lifetime_ms"].as_u64().unwrap());
        let [publisher, number, sequence] = ["publisher", "number", "sequence"].map(number);
        let header = Header { publisher, number, sequence, lifetime };
        assert_eq!((envelope.header, &envelope.target), (header, &target_of(row)), "{row}");
        assert_eq!(envelope.body, from_hex(&row["body"]), "{row}");
        let message = (!envelope.body.is_empty()).then(|| Message::from_bytes(envelope.body).unwrap());
        assert_eq!(encode(&header, &envelope.target, message.as_ref()).unwrap(), bytes, "{row}");
    }
    for row in vectors["refused"].as_array().unwrap() {
        assert!(Envelope::decode(&from_hex(&row["hex"])).is_err(), "{row}");
    }
}

fn target_of(row: &serde_json::Value) -> Target {
    let names: Vec<_> =
        row["targets"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let channel = || names[0].parse().unwrap();
    match row["kind"].as_str().unwrap() {
        "add" => Target::Add(channel(), group(names[1])),
        "audience" => {
            let all = Audience::from(group(names[0]));
            let all = names[1..].iter().fold(all, |all, name| all.and(group(name)));
            match row["except"].as_str().unwrap() {
                "" => Target::Audience(all),
                except => Target::Audience(all.except(except.parse::<ChannelName>().unwrap())),
            }
        }
        "channel" => Target::Channel(channel()),
        "discard" => Target::Discard(channel(), group(names[1])),
        "discard_all" => Target::DiscardAll(channel()),
        "done" => Target::Done,
        "flush" => Target::Flush,
        "probe" => Target::Probe,
        other => panic!("an unknown kind: {other}"),
    }
}

fn from_hex(text: &serde_json::Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn large_and_small_encode_alike() {
    for length in [SMALL / 2, SMALL * 2] {
        let message = message().with("text", "x".repeat(length));
        let bytes = encode(&header(), &Target::Done, Some(&message)).unwrap();
        assert!(bytes.ends_with(&message.to_bytes().unwrap()));
    }
}

#[test]
fn too_many_groups_are_refused() {
    let audience = |groups: usize| {
        let first = Audience::from(group("g0"));
        Target::Audience((1..groups).fold(first, |audience, n| audience.and(group(&format!("g{n}")))))
    };
    assert!(encode(&header(), &audience(MAX_GROUPS), None).is_ok());
    let refused = encode(&header(), &audience(MAX_GROUPS + 1), None);
    assert!(matches!(refused, Err(Error::InvalidMessage(_))));
}

#[test]
fn reports_unknown_versions() {
    let mut bytes = encode(&header(), &Target::Probe, None).unwrap();
    bytes[0] = 2;
    assert_eq!(Envelope::decode(&bytes).unwrap_err(), EnvelopeError::Version);
    assert_eq!(Envelope::decode(&bytes[..0]).unwrap_err(), EnvelopeError::Malformed);
}

#[test]
fn rejects_cut_envelopes() {
    let bytes = encode(&header(), &Target::Channel(channel()), Some(&message())).unwrap();
    for end in 0..bytes.len() {
        let envelope = Envelope::decode(&bytes[..end]).ok();
        let read = envelope.and_then(|envelope| Message::from_bytes(envelope.body).ok());
        assert!(read.is_none(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        let _ = Envelope::decode(&bytes).map(|envelope| Message::from_bytes(envelope.body));
    }
}
