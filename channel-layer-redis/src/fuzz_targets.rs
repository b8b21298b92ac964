//! The functions behind the fuzz targets: every reader of bytes that another process may have put into Redis.
//!
//! Not part of the API: compiled with `--cfg fuzzing`, and in the tests of this crate, which run the corpora.

use std::future::Future;

use channel_layer::{
    Map, Message, Value,
    backbone::envelope::{self, Envelope},
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    config::RedisConfig,
    format::Keyring,
    format::{PayloadFormat, Serializer},
    modes,
};

/// Forged frames for a process in native mode.
pub fn native(input: &[u8]) {
    run(modes::native::fuzz_target::received(config("native"), records(input)));
}

/// Forged messages for a process in mode `pubsub`; the first byte chooses the serializer.
pub fn pubsub(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let config = config("pubsub").with_serializer_format(serializer(*choice));
    run(modes::pubsub::fuzz_target::received(config, records(rest)));
}

/// Forged messages for a process in mode `core`; the first byte chooses the serializer.
pub fn core(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let config = config("core").with_serializer_format(serializer(*choice)).with_random_prefix_length(0);
    modes::core::fuzz_target::taken(config, records(rest));
}

/// Runs a target on a runtime: the engine delivers inbound messages in a task.
fn run(received: impl Future<Output = ()>) {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(received));
}

/// Splits an input into records: a byte, a length of two bytes, and the content.
fn records(mut input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let ([kind, high, low], rest) = input.split_first_chunk::<3>()?;
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (record, rest) = rest.split_at(len);
        input = rest;
        Some((*kind, record))
    })
}

/// A configuration whose server is never contacted.
fn config(mode: &str) -> RedisConfig {
    format!("redis://nowhere?mode={mode}").parse().expect("an address")
}

fn serializer(choice: u8) -> Serializer {
    if choice & 1 == 0 { Serializer::Msgpack } else { Serializer::Json }
}

/// An envelope of the native mode: a readable one is written back without a change.
pub fn envelope(input: &[u8]) {
    let Ok(envelope) = Envelope::decode(input) else { return };
    let Ok(message) = Message::from_bytes(envelope.body) else { return };
    let write = |message: &Message| envelope::encode(&envelope.header, &envelope.target, Some(message));
    let mut bytes = write(&message).expect("it was read");
    envelope::set_sequence(&mut bytes, envelope.header.sequence);
    let again = Envelope::decode(&bytes).expect("it was written");
    assert_eq!((again.header, &again.target), (envelope.header, &envelope.target));
    let mut twice = write(&Message::from_bytes(again.body).expect("it was written")).expect("it was read");
    envelope::set_sequence(&mut twice, envelope.header.sequence);
    assert_eq!(bytes, twice);
}

/// A payload in Django's formats. The first byte chooses the serializer, whether it is encrypted, and a prefix.
pub fn payload(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    let keys: &[&str] = if choice & 2 == 0 { &[] } else { &["new", "old"] };
    let config = config("core")
        .with_serializer_format(serializer(*choice))
        .with_random_prefix_length(usize::from(choice >> 6))
        .with_symmetric_encryption_keys(keys);
    let payload = if choice & 4 == 0 {
        modes::core::payload_format(&config)
    } else {
        modes::pubsub::payload_format(&config)
    };
    // As it is, and encrypted with a known key, which leads to the decoder behind the encryption.
    let sealed = Keyring::new(["old"]).encrypt(body);
    let forged = sealed
        .map(|token| [vec![0; if choice & 4 == 0 { usize::from(choice >> 6) } else { 0 }], token].concat());
    for bytes in [Some(body.to_vec()), forged].into_iter().flatten() {
        if let Ok(map) = payload.decode(&bytes) {
            rewrite(&payload, map);
        }
    }
}

/// Writes a decoded message and decodes it again.
fn rewrite(payload: &PayloadFormat, map: Map) {
    let Ok(message) = Message::try_from(map) else { return };
    let extra = Value::from("mailbox!");
    // JSON has no bytes and no infinite numbers, but what came in JSON had neither.
    let Ok(bytes) = payload.encode(&message, Some(("extra", &extra))) else { return };
    let Ok(mut again) = payload.decode(&bytes) else { return };
    if message.get("extra").is_none() {
        assert_eq!(again.remove("extra"), Some(extra));
    }
    let again = Message::try_from(again).expect("it was a message");
    assert_eq!(again.size(), message.size());
}

/// A forged token.
pub fn token(input: &[u8]) {
    let keys = Keyring::new(["new", "old"]);
    assert!(keys.decrypt(input, None).is_err(), "a forged token");
    let token = keys.encrypt(input).expect("there is randomness");
    assert_eq!(keys.decrypt(&token, None).ok().as_deref(), Some(input));
    let at = usize::from(input.first().copied().unwrap_or(0)) % token.len();
    let mut broken = token.clone();
    broken[at] ^= 1 << (input.len() % 7);
    if let Ok(plain) = keys.decrypt(&broken, None) {
        panic!("a bit was changed at {at} of {}, and it gives {plain:?}", token.len());
    }
}

/// An address. Errors must not contain the password.
pub fn address(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = text.parse::<RedisConfig>();
    for scheme in ["redis", "rediss", "unix", "redis+sentinel"] {
        let address = format!("{scheme}://user:caNary@{text}");
        if let Err(error) = address.parse::<RedisConfig>() {
            assert!(!format!("{error} {error:?}").contains("caNary"), "{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// Runs a target over its committed corpus.
    fn run(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
        let inputs = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for input in inputs {
            run(&fs::read(input.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "no corpus of {target}");
    }

    #[test]
    fn fuzz_corpora_pass() {
        for (target, function) in [
            ("redis_envelope", super::envelope as fn(&[u8])),
            ("redis_payload", super::payload),
            ("redis_token", super::token),
            ("redis_address", super::address),
            ("redis_native", super::native),
            ("redis_pubsub", super::pubsub),
            ("redis_core", super::core),
        ] {
            run(target, function);
        }
    }
}
