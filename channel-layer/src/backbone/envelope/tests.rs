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
fn an_envelope_is_read_as_it_was_written() {
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

#[test]
fn a_large_message_has_the_same_bytes_as_a_small_one() {
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
fn an_unknown_version_is_told_from_garbage() {
    let mut bytes = encode(&header(), &Target::Probe, None).unwrap();
    bytes[0] = 2;
    assert_eq!(Envelope::decode(&bytes).unwrap_err(), EnvelopeError::Version);
    assert_eq!(Envelope::decode(&bytes[..0]).unwrap_err(), EnvelopeError::Malformed);
}

#[test]
fn a_cut_envelope_is_refused_wherever_it_is_cut() {
    let bytes = encode(&header(), &Target::Channel(channel()), Some(&message())).unwrap();
    for end in 0..bytes.len() {
        let envelope = Envelope::decode(&bytes[..end]).ok();
        let read = envelope.and_then(|envelope| Message::from_bytes(envelope.body).ok());
        assert!(read.is_none(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn garbage_is_an_error_and_never_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        let _ = Envelope::decode(&bytes).map(|envelope| Message::from_bytes(envelope.body));
    }
}
