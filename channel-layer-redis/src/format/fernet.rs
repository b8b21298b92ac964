//! Fernet, as Python's `cryptography` has it, with keys made of texts as channels_redis makes them.
//!
//! A token is, in base64url with padding: `0x80`, the time of making as 8 bytes, 16 random bytes, the plain text
//! under AES-128-CBC with PKCS7 padding, and 32 bytes of HMAC-SHA256 over all that. A key is the SHA-256 of the
//! text; its first half signs, its second half encrypts.

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
/// How far a maker's clock may be ahead, where age matters at all.
const SKEW: Duration = Duration::from_secs(60);

/// The keys of a layer: the first encrypts, each may decrypt, so that keys can be changed one process at a time.
#[derive(Clone, Default)]
pub(crate) struct Keyring(Vec<Key>);

#[derive(Clone)]
struct Key {
    signing: [u8; 16],
    encryption: [u8; 16],
}

/// Why a token cannot be read. Which of the reasons it is helps only those who forge tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no token of ours, or too old")]
pub(crate) struct InvalidToken;

impl Keyring {
    pub(crate) fn new<K: AsRef<[u8]>>(texts: impl IntoIterator<Item = K>) -> Self {
        Self(texts.into_iter().map(|text| Key::of(text.as_ref())).collect())
    }

    /// Is nothing encrypted?
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A token of the first key. Nothing if the operating system has no randomness, or if there is no key.
    pub(crate) fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut vector = [0; 16];
        getrandom::fill(&mut vector).ok()?;
        Some(self.0.first()?.seal(plain, seconds(SystemTime::now()), &vector))
    }

    /// What is in a token that one of the keys made, and not longer ago than `lifetime`, if there is one.
    pub(crate) fn decrypt(&self, token: &[u8], lifetime: Option<Duration>) -> Result<Vec<u8>, InvalidToken> {
        self.decrypt_at(token, lifetime, seconds(SystemTime::now()))
    }

    fn decrypt_at(
        &self,
        token: &[u8],
        lifetime: Option<Duration>,
        now: u64,
    ) -> Result<Vec<u8>, InvalidToken> {
        let bytes = BASE64_URL_SAFE.decode(token).map_err(|_| InvalidToken)?;
        let made = made_at(&bytes)?;
        let is_fresh = |lifetime: Duration| {
            made.saturating_add(lifetime.as_secs()) >= now && made <= now.saturating_add(SKEW.as_secs())
        };
        if !lifetime.is_none_or(is_fresh) {
            return Err(InvalidToken);
        }
        self.0.iter().find_map(|key| key.open(&bytes)).ok_or(InvalidToken)
    }
}

impl Key {
    fn of(text: &[u8]) -> Self {
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

/// Shows how many keys there are, and nothing of them.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

fn made_at(token: &[u8]) -> Result<u64, InvalidToken> {
    match token.split_first_chunk::<9>() {
        Some(([VERSION, time @ ..], _)) => Ok(u64::from_be_bytes(*time)),
        _ => Err(InvalidToken),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Python's `cryptography` makes of `{"type": "x"}` in msgpack.
    const TOKEN: &str = "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD0rL8uab1vSJjbvCsRTw3PpXTxF5ECrz0UUqcW84gSQy2LAx5pDnq-D4V59wW6wtrg==";
    const PLAIN: &[u8] = b"\x81\xa4type\xa1x";
    const MADE: u64 = 1_700_000_000;

    fn keyring(texts: &[&str]) -> Keyring {
        Keyring::new(texts)
    }

    #[test]
    fn a_key_and_a_token_are_pythons_to_the_byte() {
        let key = Key::of(b"a-test-key");
        let whole = BASE64_URL_SAFE.encode([key.signing, key.encryption].concat());
        assert_eq!(whole, "vQHTG9CFHUSqb8quMxeiDkUMwWkp8zurx5IirXypqVI=");
        let vector = std::array::from_fn(|at| at as u8);
        assert_eq!(key.seal(PLAIN, MADE, &vector), TOKEN.as_bytes());
        assert_eq!(keyring(&["a-test-key"]).decrypt(TOKEN.as_bytes(), None).unwrap(), PLAIN);
    }

    #[test]
    fn age_matters_only_where_a_lifetime_is_given() {
        let keys = keyring(&["a-test-key"]);
        let read = |age: i64, lifetime: Option<u64>| {
            let now = MADE.saturating_add_signed(age);
            keys.decrypt_at(TOKEN.as_bytes(), lifetime.map(Duration::from_secs), now).is_ok()
        };
        assert!(read(70, Some(70)) && read(65, Some(70)));
        assert!(!read(71, Some(70)) && !read(75, Some(70)));
        assert!(read(-60, Some(70)) && !read(-61, Some(70)), "a clock ahead by a minute is borne with");
        assert!(read(1_000_000, None) && read(-1_000_000, None));
    }

    #[test]
    fn the_first_key_encrypts_and_each_decrypts() {
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
    fn what_was_changed_or_cut_is_refused() {
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
    fn keys_are_not_shown() {
        assert_eq!(format!("{:?}", keyring(&["canary"])), "1 keys");
    }
}
