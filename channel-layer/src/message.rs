//! Messages: maps of values, shared by reference counting.

mod wire;

use std::{any::Any, fmt, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    derived::Derived,
    error::{Error, Result},
    value::{Map, Value, ValueError, to_value},
};

/// The key that Django Channels' Redis layer uses for the address. No message may use it.
pub const RESERVED_KEY: &str = "__asgi_channel__";

/// The type of a message that goes directly to the socket, without waking the consumer.
pub const WEBSOCKET_SEND: &str = "websocket.send";

/// The field of a message that holds its [tags](Message::tags).
pub const TAGS_KEY: &str = "tags";

/// A message: a map with string keys, whose `type` names its handler.
///
/// Cloning counts a reference. Values derived from a message, such as wire bytes or the decoded event, can be kept with
/// it: see [`derived`](Self::derived).
///
/// ```
/// use channel_layer::Message;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// #[serde(tag = "type")]
/// enum Event {
///     #[serde(rename = "chat.message")]
///     Message { text: String },
/// }
///
/// let message = Message::new("chat.message").with("text", "hello");
/// let Event::Message { text } = message.decode()?;
/// assert_eq!(text, "hello");
/// assert_eq!(Message::encode(&Event::Message { text })?, message);
/// # Ok::<(), channel_layer::Error>(())
/// ```
#[derive(Clone)]
pub struct Message(Arc<MessageData>);

struct MessageData {
    map: Map,
    /// The approximate size on the wire. Counted once, because every mailbox needs it.
    size: usize,
    /// Whether the type is [`WEBSOCKET_SEND`]. Kept, because every member of a group needs it.
    websocket_send: bool,
    /// The derived values.
    derived: Derived,
}

impl Message {
    /// A message of this type, without other fields.
    pub fn new(event_type: impl Into<String>) -> Self {
        // Most messages have one or two more fields.
        let mut map = Map::with_capacity(3);
        map.insert("type", Value::Str(event_type.into()));
        Self::share(map)
    }

    /// A text frame for the sockets of the receivers.
    pub fn websocket_text(text: impl Into<String>) -> Self {
        Self::new(WEBSOCKET_SEND).with("text", Value::Str(text.into()))
    }

    /// A binary frame for the sockets of the receivers.
    pub fn websocket_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(WEBSOCKET_SEND).with("bytes", Value::Bytes(bytes.into()))
    }

    /// Makes a message of a value that serialises as a map with string keys.
    ///
    /// # Errors
    /// [`InvalidMessage`](Error::InvalidMessage) for other values, and for contents that no message can hold.
    pub fn encode<T: Serialize + ?Sized>(event: &T) -> Result<Self> {
        match to_value(event)? {
            Value::Map(map) => Self::try_from(map),
            _ => Err(Error::InvalidMessage("a message must be a map".into())),
        }
    }

    /// Adds or replaces a field. [`RESERVED_KEY`] is ignored.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        let key = key.into();
        if key == RESERVED_KEY {
            return self;
        }
        if let Some(shared) = Arc::get_mut(&mut self.0) {
            let mut map = std::mem::take(&mut shared.map);
            map.insert(key, value);
            *shared = MessageData::new(map);
            return self;
        }
        let mut map = self.0.map.clone();
        map.insert(key, value);
        Self::share(map)
    }

    /// Adds or replaces a tag. Filters compare text, numbers and booleans; of other values they only see that the tag
    /// exists.
    ///
    /// A field [`TAGS_KEY`] that is no map is replaced.
    pub fn with_tag(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let mut tags = self.tags().cloned().unwrap_or_default();
        tags.insert(name, value);
        self.with(TAGS_KEY, tags)
    }

    /// The tags: the map in the field [`TAGS_KEY`], by which members of a group select messages (see
    /// [`Selection`](crate::Selection)).
    ///
    /// The field is like any other: every backend carries it, peers in other languages can write and read it, and so can
    /// an event with a field of that name.
    pub fn tags(&self) -> Option<&Map> {
        self.get(TAGS_KEY)?.as_map()
    }

    /// Decodes the message. Each call decodes again.
    ///
    /// In the type, `.` and `_` count as equal, as in Django Channels: `chat_message` finds the variant
    /// named `chat.message`.
    ///
    /// # Errors
    /// [`InvalidMessage`](Error::InvalidMessage) when the fields do not fit `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        match T::deserialize(self.map()) {
            Err(ValueError::UnknownVariant { variant, expected }) => self.decode_as(&variant, expected),
            other => Ok(other?),
        }
    }

    fn decode_as<T: DeserializeOwned>(&self, variant: &str, expected: &'static [&'static str]) -> Result<T> {
        let known = expected.iter().find(|known| same_type(known, variant));
        match known {
            Some(known) if self.event_type() == Some(variant) => {
                let mut map = self.map().clone();
                map.insert("type", *known);
                Ok(T::deserialize(&map)?)
            }
            _ => Err(ValueError::UnknownVariant { variant: variant.to_owned(), expected }.into()),
        }
    }

    /// The fields.
    pub fn map(&self) -> &Map {
        &self.0.map
    }

    /// The value of a field.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.map().get(key)
    }

    /// The value of `type`, if there is one and it is a string.
    pub fn event_type(&self) -> Option<&str> {
        self.get("type")?.as_str()
    }

    /// Whether the message is a frame for sockets, of type [`WEBSOCKET_SEND`].
    pub fn is_websocket_send(&self) -> bool {
        self.0.websocket_send
    }

    /// The approximate size on the wire in bytes, by which queues are bounded.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// The value that `make` derives from this message, made at most once per type and kept with the message.
    ///
    /// All clones of the message share it: a thousand members of a group encode a broadcast once. `make` must not ask
    /// the same message for the same `T`, which would deadlock.
    pub fn derived<T, F>(&self, make: F) -> &T
    where
        T: Any + Send + Sync,
        F: FnOnce(&Self) -> T,
    {
        self.0.derived.get_or_make(|| make(self))
    }

    fn share(map: Map) -> Self {
        Self(Arc::new(MessageData::new(map)))
    }
}

impl MessageData {
    fn new(map: Map) -> Self {
        let size = map.size();
        let websocket_send = map.get("type").and_then(Value::as_str) == Some(WEBSOCKET_SEND);
        Self { map, size, websocket_send, derived: Derived::default() }
    }
}

/// Whether two types name the same handler: Python replaces `.` by `_` to find it.
fn same_type(a: &str, b: &str) -> bool {
    let plain = |b: u8| if b == b'.' { b'_' } else { b };
    a.len() == b.len() && a.bytes().map(plain).eq(b.bytes().map(plain))
}

impl TryFrom<Map> for Message {
    type Error = Error;

    fn try_from(map: Map) -> Result<Self> {
        if map.contains_key(RESERVED_KEY) {
            return Err(Error::InvalidMessage(format!("the key `{RESERVED_KEY}` is reserved").into()));
        }
        Ok(Self::share(map))
    }
}

impl From<ValueError> for Error {
    fn from(error: ValueError) -> Self {
        Self::InvalidMessage(error.into())
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.map() == other.map()
    }
}

/// Shows the type and the size, never the contents, because messages are logged.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("type", &self.event_type()).field("size", &self.size()).finish()
    }
}

impl Serialize for Message {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.map().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Map::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Event {
        #[serde(rename = "xx.oo")]
        Oo { n: i64 },
        #[serde(rename = "plain")]
        Plain,
    }

    #[test]
    fn dots_equal_underscores() {
        for spelling in ["xx.oo", "xx_oo"] {
            let event: Event = Message::new(spelling).with("n", 7).decode().unwrap();
            assert_eq!(event, Event::Oo { n: 7 });
        }
        assert!(Message::new("xx-oo").with("n", 7).decode::<Event>().is_err());
    }

    #[test]
    fn derived_values_are_made_once() {
        let made = AtomicUsize::new(0);
        let message = Message::new("a");
        let count = |_: &Message| made.fetch_add(1, Relaxed);
        assert_eq!(*message.derived::<usize, _>(count), 0);
        assert_eq!(*message.clone().derived::<usize, _>(count), 0);
        assert_eq!(*message.derived::<String, _>(|m| format!("{:?}", m.event_type())), r#"Some("a")"#);
        assert_eq!(*message.derived::<usize, _>(count), 0);
    }

    #[test]
    fn derived_values_may_nest() {
        let message = Message::new("a");
        let text = message.derived::<String, _>(|m| m.derived::<usize, _>(|m| m.size()).to_string());
        assert_eq!(*text, message.size().to_string());
    }

    #[test]
    fn rejects_the_reserved_key() {
        let map = Map::from_iter([(RESERVED_KEY, "x")]);
        assert!(matches!(Message::try_from(map), Err(Error::InvalidMessage(_))));
        assert!(Message::new("a").with(RESERVED_KEY, "x").get(RESERVED_KEY).is_none());
    }

    #[test]
    fn rejects_non_maps() {
        assert!(Message::encode(&[1, 2]).is_err());
        assert!(Message::encode("text").is_err());
        assert_eq!(Message::encode(&Event::Plain).unwrap(), Message::new("plain"));
    }

    #[test]
    fn with_leaves_clones_unchanged() {
        let first = Message::new("a");
        let second = first.clone().with("n", 1);
        assert!(first.get("n").is_none());
        assert_eq!(second.get("n"), Some(&Value::I64(1)));
    }

    #[test]
    fn debug_shows_no_contents() {
        let shown = format!("{:?}", Message::new("chat.message").with("password", "canary"));
        assert!(!shown.contains("canary") && !shown.contains("password"));
    }
}
