//! The envelope that the engine publishes around a message.
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | kind: 0 to groups, 1 to a mailbox, 2 probe, 3 flush, 4 add, 5 discard, 6 done, 7 discard all |
//! | 8 | publisher: the number of the process |
//! | 8 | number: counts the envelopes of the publisher |
//! | 8 | sequence: the number of the message on this topic, from 1; the first 3 bytes are the era, the number of restarts; 0 if unnumbered |
//! | 4 | lifetime of the message in milliseconds |
//! | 1 + n | length and name of the excepted channel; 0 for none |
//! | 1 | the count of targets |
//! | (1 + n) each | groups; or one channel; or a channel and a group |
//! | the rest | the message, as [`Message::to_bytes`] makes it; kinds 0 and 1 only |
//!
//! Numbers are big-endian. A reader drops an envelope of an unknown version or kind: a new one is first read
//! everywhere, and written later. The file `vectors/envelope.json` of this crate has test vectors for other languages.

use std::time::Duration;

use crate::{
    error::{Error, Result},
    layer::Audience,
    message::Message,
    name::{ChannelName, GroupName},
};

const VERSION: u8 = 1;

/// The position of the sequence, which is filled in when the envelope is published.
const SEQUENCE_AT: usize = 18;

/// The most groups in one envelope.
pub const MAX_GROUPS: usize = u8::MAX as usize;

/// Up to this size a message is encoded directly into its envelope. Keeping the bytes, as [`Message::to_bytes`] does,
/// costs more than encoding again.
const SMALL: usize = 1024;

/// The fixed fields of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number of the process that publishes.
    pub publisher: u64,
    /// The number of the envelope, unique for its publisher.
    pub number: u64,
    /// The position on its topic, or 0.
    pub sequence: u64,
    /// The time after which the message is dropped, counted from its arrival. Milliseconds on the wire.
    pub lifetime: Duration,
}

impl Header {
    /// The id of the envelope: unique among all publishers.
    pub fn id(&self) -> u128 {
        u128::from(self.publisher) << 64 | u128::from(self.number)
    }
}

/// The recipients of an envelope, or the request to its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A request: add this channel of the reader to this group.
    Add(ChannelName, GroupName),
    /// All members of these groups, each once.
    Audience(Audience),
    /// A mailbox of the reading process.
    Channel(ChannelName),
    /// A request: take this channel out of this group, if it is the reader's.
    Discard(ChannelName, GroupName),
    /// A request: take this channel out of all groups, if it is the reader's.
    DiscardAll(ChannelName),
    /// The answer to a request of the reader with the same number.
    Done,
    /// Every process: leave all groups and drop all messages.
    Flush,
    /// The publisher itself, to check that messages arrive.
    Probe,
}

/// An envelope that was read, with its message still encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The fixed fields.
    pub header: Header,
    /// The recipients.
    pub target: Target,
    /// The message, for [`Message::from_bytes`].
    pub body: &'a [u8],
}

/// The reason why an envelope cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The version is not 1.
    #[error("unknown version of the envelope")]
    Version,
    /// A truncated envelope, or one that no writer makes.
    #[error("malformed envelope")]
    Malformed,
}

/// Encodes an envelope around a message.
///
/// # Errors
/// [`InvalidMessage`](Error::InvalidMessage) for a message that cannot be encoded, or more than [`MAX_GROUPS`] groups.
pub fn encode(header: &Header, target: &Target, message: Option<&Message>) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(160 + message.map_or(0, Message::size));
    bytes.extend([VERSION, kind(target)]);
    bytes.extend(header.publisher.to_be_bytes());
    bytes.extend(header.number.to_be_bytes());
    bytes.extend(header.sequence.to_be_bytes());
    bytes.extend(u32::try_from(header.lifetime.as_millis()).unwrap_or(u32::MAX).to_be_bytes());
    put_target(&mut bytes, target)?;
    match message {
        Some(message) if message.size() <= SMALL => message.write_to(&mut bytes)?,
        Some(message) => bytes.extend_from_slice(&message.to_bytes()?),
        None => {}
    }
    Ok(bytes)
}

/// Fills in the sequence of an encoded envelope.
pub fn set_sequence(envelope: &mut [u8], sequence: u64) {
    if let Some(place) = envelope.get_mut(SEQUENCE_AT..SEQUENCE_AT + 8) {
        place.copy_from_slice(&sequence.to_be_bytes());
    }
}

impl<'a> Envelope<'a> {
    /// Decodes an envelope, except for its message.
    ///
    /// # Errors
    /// [`EnvelopeError`]
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let mut reader = EnvelopeReader(bytes);
        if reader.byte()? != VERSION {
            return Err(EnvelopeError::Version);
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
        Target::DiscardAll(_) => 7,
    }
}

fn put_target(bytes: &mut Vec<u8>, target: &Target) -> Result<()> {
    match target {
        Target::Audience(audience) => {
            put_name(bytes, audience.excepted().map_or("", ChannelName::as_str));
            let too_many =
                |_| Error::InvalidMessage(format!("addressed to more than {MAX_GROUPS} groups").into());
            bytes.push(u8::try_from(audience.groups().count()).map_err(too_many)?);
            audience.groups().for_each(|group| put_name(bytes, group.as_str()));
        }
        Target::Channel(channel) | Target::DiscardAll(channel) => {
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
    Ok(())
}

fn put_name(bytes: &mut Vec<u8>, name: &str) {
    // Names are shorter than 100 bytes.
    bytes.push(name.len() as u8);
    bytes.extend(name.as_bytes());
}

/// The bytes not read yet.
struct EnvelopeReader<'a>(&'a [u8]);

impl<'a> EnvelopeReader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], EnvelopeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(EnvelopeError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, EnvelopeError> {
        Ok(self.take(1)?[0])
    }

    fn int(&mut self) -> Result<u32, EnvelopeError> {
        let bytes = self.take(4)?.try_into().map_err(|_| EnvelopeError::Malformed)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn long(&mut self) -> Result<u64, EnvelopeError> {
        let bytes = self.take(8)?.try_into().map_err(|_| EnvelopeError::Malformed)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn name(&mut self) -> Result<&'a str, EnvelopeError> {
        let len = self.byte()?;
        std::str::from_utf8(self.take(usize::from(len))?).map_err(|_| EnvelopeError::Malformed)
    }

    fn group(&mut self) -> Result<GroupName, EnvelopeError> {
        GroupName::new(self.name()?).map_err(|_| EnvelopeError::Malformed)
    }

    fn channel(&mut self) -> Result<ChannelName, EnvelopeError> {
        ChannelName::new(self.name()?).map_err(|_| EnvelopeError::Malformed)
    }

    fn target(&mut self, kind: u8) -> Result<Target, EnvelopeError> {
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
            (7, 1) => self.channel().map(Target::DiscardAll),
            _ => Err(EnvelopeError::Malformed),
        }
    }

    fn audience(&mut self, except: &str, groups: u8) -> Result<Audience, EnvelopeError> {
        let mut audience = Audience::from(self.group()?);
        for _ in 1..groups {
            audience = audience.and(self.group()?);
        }
        if except.is_empty() {
            return Ok(audience);
        }
        let except = ChannelName::new(except).map_err(|_| EnvelopeError::Malformed)?;
        Ok(audience.except(except))
    }
}

#[cfg(test)]
mod tests;
