//! Signed grants: group names that a browser carries from one server to another.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use channel_layer::GroupName;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{
    error::{Error, Result},
    socket::{ConcurrentSocket, Context},
};

/// The prefix of signed texts, so that signatures of other texts under the same key are no grants.
const CONTEXT: &[u8] = b"channels.grant:";
/// The least number of bytes of a secret.
const SECRET: usize = 32;

/// The keys of grants: the newest one signs, all of them verify.
///
/// A grant is the name of a group that a browser carries from the server that knows its permissions to the
/// server that holds its socket. For example, the page comes from Django, which knows the user and the user's
/// rooms. Django writes a grant into the page, the page's script sends it over the socket, and the consumer
/// [joins the group](Context::join_granted) without a further check. In Python a grant is made by
///
/// ```python
/// import base64, hashlib, hmac, time
///
/// def grant(group, seconds, key, secret, user=""):
///     b64 = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
///     text = f"{group}:{int(time.time()) + seconds}:{key}:{b64(user.encode())}"
///     return f"{text}:{b64(hmac.digest(secret, b'channels.grant:' + text.encode(), hashlib.sha256))}"
/// ```
///
/// A grant names its key, so that keys can be changed while older grants are still valid. A grant for a single user also holds
/// the id of that user on the socket's server.
///
/// ```
/// use std::time::Duration;
/// use ws_consumer::middleware::GrantKeys;
///
/// let keys = GrantKeys::new("2026b", b"0123456789abcdef0123456789abcdef").and("2026a", b"an older one of at least 32 bytes");
/// let grant = keys.sign("room_7", Duration::from_secs(60))?;
/// assert_eq!(keys.verify(&grant, None).unwrap(), "room_7".parse()?);
/// # Ok::<(), ws_consumer::Error>(())
/// ```
#[derive(Clone)]
pub struct GrantKeys {
    newest: GrantKey,
    older: Vec<GrantKey>,
}

#[derive(Clone)]
struct GrantKey {
    name: String,
    mac: Hmac<Sha256>,
}

impl GrantKeys {
    /// Creates a set of one key. The name is not secret.
    ///
    /// # Panics
    /// If the secret is shorter than 32 bytes, or the name contains a colon.
    pub fn new(name: impl Into<String>, secret: impl AsRef<[u8]>) -> Self {
        Self { newest: GrantKey::new(name.into(), secret.as_ref()), older: Vec::new() }
    }

    /// Adds an older key, which verifies grants and signs none.
    ///
    /// # Panics
    /// See [`new`](Self::new).
    pub fn and(mut self, name: impl Into<String>, secret: impl AsRef<[u8]>) -> Self {
        self.older.push(GrantKey::new(name.into(), secret.as_ref()));
        self
    }

    /// Signs a grant for any bearer.
    ///
    /// # Errors
    /// The name is invalid.
    pub fn sign<G>(&self, group: G, lifetime: Duration) -> Result<String>
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>>,
    {
        self.sign_for("", group, lifetime)
    }

    /// Signs a grant for a single user.
    ///
    /// # Errors
    /// The name is invalid.
    pub fn sign_for<G>(&self, user_id: &str, group: G, lifetime: Duration) -> Result<String>
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>>,
    {
        let group = group.try_into().map_err(|error| Error::Layer(error.into()))?;
        Ok(self.sign_until(&group, user_id, unix_time().saturating_add(lifetime.as_secs())))
    }

    /// Verifies a grant presented by `user_id`, and returns its group.
    ///
    /// # Errors
    /// The grant is invalid, or not for this user.
    pub fn verify(&self, grant: &str, user_id: Option<&str>) -> Result<GroupName, GrantError> {
        self.verify_at(grant, user_id, unix_time())
    }

    fn sign_until(&self, group: &GroupName, user: &str, end: u64) -> String {
        let text = format!("{group}:{end}:{}:{}", self.newest.name, BASE64.encode(user));
        let signature = BASE64.encode(self.newest.mac_of(&text).finalize().into_bytes());
        format!("{text}:{signature}")
    }

    fn verify_at(&self, grant: &str, user_id: Option<&str>, now: u64) -> Result<GroupName, GrantError> {
        let (text, signature) = grant.rsplit_once(':').ok_or(GrantError::Malformed)?;
        let parts: Vec<_> = text.split(':').collect();
        let [group, end, key, user] = parts[..] else { return Err(GrantError::Malformed) };
        let key = std::iter::once(&self.newest).chain(&self.older).find(|known| known.name == key);
        let signature = BASE64.decode(signature).map_err(|_| GrantError::Malformed)?;
        // In constant time, and before any other field is used.
        key.ok_or(GrantError::UnknownKey)?
            .mac_of(text)
            .verify_slice(&signature)
            .map_err(|_| GrantError::Forged)?;
        if end.parse::<u64>().map_err(|_| GrantError::Malformed)? <= now {
            return Err(GrantError::Expired);
        }
        let user = BASE64.decode(user).map_err(|_| GrantError::Malformed)?;
        if !user.is_empty() && Some(&*user) != user_id.map(str::as_bytes) {
            return Err(GrantError::OtherUser);
        }
        group.parse().map_err(|_| GrantError::Malformed)
    }
}

impl GrantKey {
    fn new(name: String, secret: &[u8]) -> Self {
        assert!(secret.len() >= SECRET, "a secret of a grant has at least {SECRET} bytes");
        assert!(!name.contains(':'), "a key's name holds no colon");
        Self { name, mac: Hmac::new_from_slice(secret).expect("any length will do") }
    }

    fn mac_of(&self, text: &str) -> Hmac<Sha256> {
        self.mac.clone().chain_update(CONTEXT).chain_update(text)
    }
}

/// Shows the names only.
impl fmt::Debug for GrantKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entry(&self.newest.name).entries(self.older.iter().map(|key| &key.name)).finish()
    }
}

/// The reason for which a grant is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrantError {
    /// The grant has expired.
    Expired,
    /// The signature does not match.
    Forged,
    /// The text is no grant.
    Malformed,
    /// The grant is for another user.
    OtherUser,
    /// The name of the key is unknown.
    UnknownKey,
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the grant has expired",
            Self::OtherUser => "the grant is another user's",
            // The client does not learn which part is wrong.
            Self::Forged | Self::Malformed | Self::UnknownKey => "this is no valid grant",
        })
    }
}

impl std::error::Error for GrantError {}

impl Context {
    /// Joins the group of a grant.
    ///
    /// # Errors
    /// [`BadInput`](Error::BadInput) if the grant is invalid, or an error of the layer.
    pub async fn join_granted(&mut self, keys: &GrantKeys, grant: &str) -> Result<GroupName> {
        let group = keys.verify(grant, self.scope().user_id()).map_err(Error::bad_input)?;
        self.group_add(group.clone()).await?;
        Ok(group)
    }
}

impl ConcurrentSocket {
    /// Joins the group of a grant: see [`Context::join_granted`].
    ///
    /// # Errors
    /// Those of [`Context::join_granted`].
    pub async fn join_granted(&self, keys: &GrantKeys, grant: &str) -> Result<GroupName> {
        let group = keys.verify(grant, self.scope().user_id()).map_err(Error::bad_input)?;
        self.group_add(group.clone()).await?;
        Ok(group)
    }
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = b"an old secret of thirty-two bytes";
    const NEW: &[u8] = b"a new secret of thirty-two bytes.";

    fn sign(keys: &GrantKeys, user: &str) -> String {
        keys.sign_until(&"room.7".parse().unwrap(), user, 100)
    }

    #[test]
    fn grants_expire() {
        let keys = GrantKeys::new("a", OLD);
        let grant = sign(&keys, "");
        assert_eq!(keys.verify_at(&grant, None, 99).unwrap().as_str(), "room.7");
        assert_eq!(keys.verify_at(&grant, None, 100), Err(GrantError::Expired));
    }

    #[test]
    fn grants_may_name_a_user() {
        let keys = GrantKeys::new("a", OLD);
        let grant = sign(&keys, "ann:\u{6c49}");
        assert!(keys.verify_at(&grant, Some("ann:\u{6c49}"), 0).is_ok());
        assert_eq!(keys.verify_at(&grant, Some("bob"), 0), Err(GrantError::OtherUser));
        assert_eq!(keys.verify_at(&grant, None, 0), Err(GrantError::OtherUser));
        assert!(keys.verify_at(&sign(&keys, ""), Some("bob"), 0).is_ok());
    }

    #[test]
    fn keys_rotate() {
        let grant = sign(&GrantKeys::new("a", OLD), "");
        let both = GrantKeys::new("b", NEW).and("a", OLD);
        assert!(both.verify_at(&grant, None, 0).is_ok());
        assert!(both.verify_at(&sign(&both, ""), None, 0).is_ok());
        let after = GrantKeys::new("b", NEW);
        assert_eq!(after.verify_at(&grant, None, 0), Err(GrantError::UnknownKey));
        assert!(after.verify_at(&sign(&both, ""), None, 0).is_ok(), "the newest has signed");
        assert_eq!(GrantKeys::new("a", NEW).verify_at(&grant, None, 0), Err(GrantError::Forged));
    }

    #[test]
    fn rejects_changed_grants() {
        let keys = GrantKeys::new("a", OLD);
        let grant = sign(&keys, "ann");
        for at in 0..grant.len() {
            let mut forged = grant.clone().into_bytes();
            forged[at] = if forged[at] == b'x' { b'y' } else { b'x' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(keys.verify_at(&forged, Some("ann"), 0).is_err(), "{forged}");
        }
        for nonsense in ["", ":", "::::", "a:1:a::", "room:99999999999:a::AAAA", "\u{6c49}"] {
            assert!(keys.verify_at(nonsense, None, 0).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn debug_hides_secrets() {
        assert_eq!(format!("{:?}", GrantKeys::new("b", NEW).and("a", OLD)), r#"["b", "a"]"#);
    }

    #[test]
    #[should_panic(expected = "at least 32 bytes")]
    fn rejects_short_secrets() {
        GrantKeys::new("a", "short");
    }
}
