//! The envelope: what travels through Redis Pub/Sub around a message.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | kind: 0 groups, 1 one channel, 2 probe, 3 flush, 4 add, 5 discard, 6 done |
//! | 8 | publisher: the node id of the process |
//! | 8 | number: counts what this publisher publishes |
//! | 8 | sequence: counts what it publishes on this Redis channel, from 1; the first 3 bytes count how often it began anew |
//! | 4 | lifetime in milliseconds |
//! | 1 + n | the channel that is left out, or nothing |
//! | 1 | count of targets |
//! | 1 + n each | groups; one channel; a channel and a group to add it to or discard it from |
//! | the rest | the message, msgpack |
//!
//! Numbers are big-endian. Who reads an unknown version drops it: a new version is first read everywhere and
//! written later. Encryption will wrap the message, and take a version of its own.

use std::time::Duration;

use channel_layer::{Audience, ChannelName, Error, GroupName, Message, value::DecodeError};

const VERSION: u8 = 1;
/// Where the sequence stands; the task that publishes fills it in.
const SEQUENCE_AT: usize = 18;

/// Who publishes, what number this is, and how long it is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) publisher: u64,
    pub(crate) number: u64,
    pub(crate) sequence: u64,
    pub(crate) lifetime: Duration,
}

/// Whom an envelope is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A request: add this channel of the reader's to this group.
    Add(ChannelName, GroupName),
    /// All members of these groups, each once.
    Audience(Audience),
    /// One mailbox of the process that reads this.
    Channel(ChannelName),
    /// A request: take this channel out of this group, if it is the reader's.
    Discard(ChannelName, GroupName),
    /// The answer to a request of the reader's with the same number.
    Done,
    /// Nobody: all leave their groups and drop what they hold.
    Flush,
    /// The publisher itself, to see that messages get through.
    Probe,
}

/// A received envelope whose message has not been decoded yet.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) header: Header,
    pub(crate) target: Target,
    /// The message, for [`Message::from_bytes`].
    pub(crate) body: &'a [u8],
}

/// Why an envelope cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("an unknown version of the envelope")]
    Version,
    #[error("a broken envelope")]
    Broken,
    #[error("encrypted with another key, too old, or not encrypted")]
    Key,
    #[error("a broken message")]
    Message,
    #[error("no message: {0}")]
    Payload(#[from] DecodeError),
    #[error("an envelope beyond the limit")]
    TooLong,
}

/// Up to this size a message is encoded into its envelope: to keep the bytes, as [`Message::to_bytes`] does, costs more
/// than to make them again.
const SMALL: usize = 1024;

/// Puts a message into an envelope. Its sequence is 0 until [`set_sequence`].
pub(crate) fn encode(header: &Header, target: &Target, message: Option<&Message>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(160 + message.map_or(0, Message::size));
    bytes.extend([VERSION, kind(target)]);
    bytes.extend(header.publisher.to_be_bytes());
    bytes.extend(header.number.to_be_bytes());
    bytes.extend(header.sequence.to_be_bytes());
    bytes.extend(u32::try_from(header.lifetime.as_millis()).unwrap_or(u32::MAX).to_be_bytes());
    put_target(&mut bytes, target);
    match message {
        Some(message) if message.size() <= SMALL => message.write_to(&mut bytes)?,
        Some(message) => bytes.extend_from_slice(&message.to_bytes()?),
        None => {}
    }
    Ok(bytes)
}

/// The bits of a sequence below those that count eras: how often the publisher has forgotten its sequences, to bound them,
/// and begun anew.
const ERA_AT: u32 = 40;

/// The sequence of a channel's first message in an era.
pub(crate) fn first_sequence(era: u64) -> u64 {
    era << ERA_AT | 1
}

/// The era of a sequence, and its number in there.
pub(crate) fn split_sequence(sequence: u64) -> (u64, u64) {
    (sequence >> ERA_AT, sequence & ((1 << ERA_AT) - 1))
}

/// Fills in the sequence of an encoded envelope.
pub(crate) fn set_sequence(envelope: &mut [u8], sequence: u64) {
    if let Some(place) = envelope.get_mut(SEQUENCE_AT..SEQUENCE_AT + 8) {
        place.copy_from_slice(&sequence.to_be_bytes());
    }
}

impl<'a> Envelope<'a> {
    /// Reads all but the message.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let mut reader = Reader(bytes);
        if reader.byte()? != VERSION {
            return Err(CodecError::Version);
        }
        let kind = reader.byte()?;
        let header = Header {
            publisher: reader.long()?,
            number: reader.long()?,
            sequence: reader.long()?,
            lifetime: Duration::from_millis(u64::from(reader.int()?)),
        };
        let target = reader.target(kind)?;
        Ok(Self { header, target, body: reader.0 })
    }
}

fn kind(target: &Target) -> u8 {
    match target {
        Target::Audience(_) => 0,
        Target::Channel(_) => 1,
        Target::Probe => 2,
        Target::Flush => 3,
        Target::Add(..) => 4,
        Target::Discard(..) => 5,
        Target::Done => 6,
    }
}

fn put_target(bytes: &mut Vec<u8>, target: &Target) {
    match target {
        Target::Audience(audience) => {
            put_name(bytes, audience.excepted().map_or("", ChannelName::as_str));
            // More than 255 groups are refused before they come here.
            bytes.push(u8::try_from(audience.groups().count()).unwrap_or(u8::MAX));
            audience.groups().take(usize::from(u8::MAX)).for_each(|group| put_name(bytes, group.as_str()));
        }
        Target::Channel(channel) => {
            bytes.extend([0, 1]);
            put_name(bytes, channel.as_str());
        }
        Target::Add(channel, group) | Target::Discard(channel, group) => {
            bytes.extend([0, 2]);
            put_name(bytes, channel.as_str());
            put_name(bytes, group.as_str());
        }
        Target::Done | Target::Flush | Target::Probe => bytes.extend([0, 0]),
    }
}

fn put_name(bytes: &mut Vec<u8>, name: &str) {
    // Names are shorter than 100 bytes.
    bytes.push(name.len() as u8);
    bytes.extend(name.as_bytes());
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(CodecError::Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        Ok(self.take(1)?[0])
    }

    fn int(&mut self) -> Result<u32, CodecError> {
        let bytes = self.take(4)?.try_into().map_err(|_| CodecError::Broken)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn long(&mut self) -> Result<u64, CodecError> {
        let bytes = self.take(8)?.try_into().map_err(|_| CodecError::Broken)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn name(&mut self) -> Result<&'a str, CodecError> {
        let len = self.byte()?;
        std::str::from_utf8(self.take(usize::from(len))?).map_err(|_| CodecError::Broken)
    }

    fn group(&mut self) -> Result<GroupName, CodecError> {
        GroupName::new(self.name()?).map_err(|_| CodecError::Broken)
    }

    fn channel(&mut self) -> Result<ChannelName, CodecError> {
        ChannelName::new(self.name()?).map_err(|_| CodecError::Broken)
    }

    fn target(&mut self, kind: u8) -> Result<Target, CodecError> {
        let except = self.name()?;
        let targets = self.byte()?;
        match (kind, targets) {
            (0, 1..) => self.audience(except, targets).map(Target::Audience),
            (1, 1) => self.channel().map(Target::Channel),
            (2, 0) => Ok(Target::Probe),
            (3, 0) => Ok(Target::Flush),
            (4, 2) => Ok(Target::Add(self.channel()?, self.group()?)),
            (5, 2) => Ok(Target::Discard(self.channel()?, self.group()?)),
            (6, 0) => Ok(Target::Done),
            _ => Err(CodecError::Broken),
        }
    }

    fn audience(&mut self, except: &str, groups: u8) -> Result<Audience, CodecError> {
        let mut audience = Audience::from(self.group()?);
        for _ in 1..groups {
            audience = audience.and(self.group()?);
        }
        if except.is_empty() {
            return Ok(audience);
        }
        let except = ChannelName::new(except).map_err(|_| CodecError::Broken)?;
        Ok(audience.except(except))
    }
}

#[cfg(test)]
mod tests {
    use channel_layer::Value;
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header { publisher: 7, number: 8, sequence: 0, lifetime: Duration::from_millis(1500) }
    }

    fn message() -> Message {
        Message::new("m")
            .with("b", Value::bytes([1, 2]))
            .with("f", 1.5)
            .with("n", -1)
            .with("big", 1_i64 << 40)
    }

    #[test]
    fn what_was_put_in_comes_out() {
        let audience =
            Audience::from("g".parse::<GroupName>().unwrap()).and("h".parse::<GroupName>().unwrap());
        let targets = [
            Target::Audience(audience.clone()),
            Target::Audience(audience.except("a.1!x".parse::<ChannelName>().unwrap())),
            Target::Channel("a.1!x".parse().unwrap()),
        ];
        for target in targets {
            let mut bytes = encode(&header(), &target, Some(&message())).unwrap();
            set_sequence(&mut bytes, 9);
            let envelope = Envelope::decode(&bytes).unwrap();
            assert_eq!(envelope.header, Header { sequence: 9, ..header() });
            assert_eq!(envelope.target, target);
            assert_eq!(Message::from_bytes(envelope.body).unwrap(), message());
        }
        let (channel, group) = ("a.1!x".parse::<ChannelName>().unwrap(), "g".parse::<GroupName>().unwrap());
        let requests = [Target::Add(channel.clone(), group.clone()), Target::Discard(channel, group)];
        for target in [Target::Done, Target::Probe, Target::Flush].into_iter().chain(requests) {
            let bytes = encode(&header(), &target, None).unwrap();
            assert_eq!(Envelope::decode(&bytes).unwrap().target, target);
        }
    }

    #[test]
    fn a_message_is_the_same_on_the_wire_whether_its_bytes_are_kept_or_not() {
        for length in [SMALL / 2, SMALL * 2] {
            let message = message().with("text", "x".repeat(length));
            let bytes = encode(&header(), &Target::Done, Some(&message)).unwrap();
            assert!(bytes.ends_with(&message.to_bytes().unwrap()));
        }
    }

    #[test]
    fn an_unknown_version_is_told_from_garbage() {
        let mut bytes = encode(&header(), &Target::Probe, None).unwrap();
        bytes[0] = 2;
        assert_eq!(Envelope::decode(&bytes).unwrap_err(), CodecError::Version);
        assert_eq!(Envelope::decode(&bytes[..0]).unwrap_err(), CodecError::Broken);
    }

    #[test]
    fn a_cut_envelope_is_refused_wherever_it_is_cut() {
        let target = Target::Channel("a.1!x".parse().unwrap());
        let bytes = encode(&header(), &target, Some(&message())).unwrap();
        for end in 0..bytes.len() {
            let read = Envelope::decode(&bytes[..end]).ok();
            let read = read.and_then(|envelope| Message::from_bytes(envelope.body).ok());
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
}
