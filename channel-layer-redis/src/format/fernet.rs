//! Fernet tokens, compatible with Python's `cryptography`, and keys derived from texts as channels_redis derives them.
//!
//! A token is, in base64url with padding: `0x80`, the creation time in 8 bytes, an initialisation vector of 16 random bytes,
//! the plain text under AES-128-CBC with PKCS7 padding, and 32 bytes of HMAC-SHA256 over all of these. A key is the SHA-256
//! of the text: the first half signs, the second half encrypts.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aes::Aes128;
use base64::{Engine, prelude::BASE64_URL_SAFE};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const VERSION: u8 = 0x80;
/// Version, time and initialisation vector.
const HEAD: usize = 1 + 8 + 16;
const SIGNATURE: usize = 32;
/// The tolerated lead of a sender's clock, where tokens have a lifetime.
const SKEW: Duration = Duration::from_secs(60);

/// The keys of a layer: the first encrypts, each decrypts, so that keys can be rotated one process at a time.
#[derive(Clone, Default)]
pub(crate) struct Keyring(Vec<FernetKey>);

#[derive(Clone)]
struct FernetKey {
    signing: [u8; 16],
    encryption: [u8; 16],
}

/// A token that cannot be read. The reason is not given, as it would help to forge tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token of these keys, or too old")]
pub(crate) struct TokenError;

impl Keyring {
    pub(crate) fn new<K: AsRef<[u8]>>(texts: impl IntoIterator<Item = K>) -> Self {
        Self(texts.into_iter().map(|text| FernetKey::from_text(text.as_ref())).collect())
    }

    /// Whether there are no keys, so that messages are not encrypted.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Encrypts with the first key. `None` without a key, or if the operating system has no randomness.
    pub(crate) fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut vector = [0; 16];
        getrandom::fill(&mut vector).ok()?;
        Some(self.0.first()?.seal(plain, seconds(SystemTime::now()), &vector))
    }

    /// Decrypts a token that one of the keys made within the last `lifetime`, or at any time if that is `None`.
    pub(crate) fn decrypt(&self, token: &[u8], lifetime: Option<Duration>) -> Result<Vec<u8>, TokenError> {
        self.decrypt_at(token, lifetime, seconds(SystemTime::now()))
    }

    fn decrypt_at(&self, token: &[u8], lifetime: Option<Duration>, now: u64) -> Result<Vec<u8>, TokenError> {
        let bytes = BASE64_URL_SAFE.decode(token).map_err(|_| TokenError)?;
        let made = made_at(&bytes)?;
        let is_fresh = |lifetime: Duration| {
            made.saturating_add(lifetime.as_secs()) >= now && made <= now.saturating_add(SKEW.as_secs())
        };
        if !lifetime.is_none_or(is_fresh) {
            return Err(TokenError);
        }
        self.0.iter().find_map(|key| key.open(&bytes)).ok_or(TokenError)
    }
}

impl FernetKey {
    fn from_text(text: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(text).into();
        let (mut signing, mut encryption) = ([0; 16], [0; 16]);
        signing.copy_from_slice(&digest[..16]);
        encryption.copy_from_slice(&digest[16..]);
        Self { signing, encryption }
    }

    fn seal(&self, plain: &[u8], now: u64, vector: &[u8; 16]) -> Vec<u8> {
        let cipher = cbc::Encryptor::<Aes128>::new(&self.encryption.into(), &(*vector).into());
        let mut token = Vec::with_capacity(HEAD + plain.len() + 16 + SIGNATURE);
        token.push(VERSION);
        token.extend(now.to_be_bytes());
        token.extend(vector);
        token.extend(cipher.encrypt_padded_vec::<Pkcs7>(plain));
        let signature = self.signature(&token).finalize().into_bytes();
        token.extend(signature);
        BASE64_URL_SAFE.encode(token).into_bytes()
    }

    fn open(&self, token: &[u8]) -> Option<Vec<u8>> {
        let (signed, signature) = token.split_at_checked(token.len().checked_sub(SIGNATURE)?)?;
        // Compared in constant time.
        self.signature(signed).verify_slice(signature).ok()?;
        let vector = signed.get(9..HEAD)?;
        let cipher = cbc::Decryptor::<Aes128>::new_from_slices(&self.encryption, vector).ok()?;
        cipher.decrypt_padded_vec::<Pkcs7>(signed.get(HEAD..)?).ok()
    }

    fn signature(&self, signed: &[u8]) -> Hmac<Sha256> {
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.signing);
        mac.expect("HMAC takes keys of any length").chain_update(signed)
    }
}

/// Shows only the number of keys.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

fn made_at(token: &[u8]) -> Result<u64, TokenError> {
    match token.split_first_chunk::<9>() {
        Some(([VERSION, time @ ..], _)) => Ok(u64::from_be_bytes(*time)),
        _ => Err(TokenError),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The token that Python's `cryptography` makes of `{"type": "x"}` in msgpack.
    const TOKEN: &str = "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD0rL8uab1vSJjbvCsRTw3PpXTxF5ECrz0UUqcW84gSQy2LAx5pDnq-D4V59wW6wtrg==";
    const PLAIN: &[u8] = b"\x81\xa4type\xa1x";
    const MADE: u64 = 1_700_000_000;

    fn keyring(texts: &[&str]) -> Keyring {
        Keyring::new(texts)
    }

    #[test]
    fn keys_and_tokens_equal_pythons() {
        let key = FernetKey::from_text(b"a-test-key");
        let whole = BASE64_URL_SAFE.encode([key.signing, key.encryption].concat());
        assert_eq!(whole, "vQHTG9CFHUSqb8quMxeiDkUMwWkp8zurx5IirXypqVI=");
        let vector = std::array::from_fn(|at| at as u8);
        assert_eq!(key.seal(PLAIN, MADE, &vector), TOKEN.as_bytes());
        assert_eq!(keyring(&["a-test-key"]).decrypt(TOKEN.as_bytes(), None).unwrap(), PLAIN);
    }

    #[test]
    fn a_lifetime_limits_the_age() {
        let keys = keyring(&["a-test-key"]);
        let read = |age: i64, lifetime: Option<u64>| {
            let now = MADE.saturating_add_signed(age);
            keys.decrypt_at(TOKEN.as_bytes(), lifetime.map(Duration::from_secs), now).is_ok()
        };
        assert!(read(70, Some(70)) && read(65, Some(70)));
        assert!(!read(71, Some(70)) && !read(75, Some(70)));
        assert!(read(-60, Some(70)) && !read(-61, Some(70)), "a clock may be ahead by a minute");
        assert!(read(1_000_000, None) && read(-1_000_000, None));
    }

    #[test]
    fn each_key_decrypts() {
        let old = keyring(&["old"]);
        let both = keyring(&["new", "old"]);
        let from_old = old.encrypt(b"secret").unwrap();
        assert_eq!(both.decrypt(&from_old, None).unwrap(), b"secret");
        let from_both = both.encrypt(b"secret").unwrap();
        assert!(old.decrypt(&from_both, None).is_err());
        assert_eq!(keyring(&["new"]).decrypt(&from_both, None).unwrap(), b"secret");
        assert_ne!(both.encrypt(b"secret"), both.encrypt(b"secret"), "no two tokens are equal");
    }

    #[test]
    fn changed_or_cut_tokens_fail() {
        let keys = keyring(&["key"]);
        let token = keys.encrypt(b"a message of some length").unwrap();
        for at in 0..token.len() {
            assert!(keys.decrypt(&token[..at], None).is_err(), "cut at {at}");
            let mut changed = token.clone();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(keys.decrypt(&changed, None).is_err(), "changed at {at}");
        }
        assert!(keys.decrypt(b"", None).is_err() && keyring(&[]).decrypt(&token, None).is_err());
    }

    #[test]
    fn debug_hides_the_keys() {
        assert_eq!(format!("{:?}", keyring(&["canary"])), "1 keys");
    }
}
