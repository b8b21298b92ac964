//! TLS: trusted certificates, and the client's certificate. The options have redis-py's names.

use std::fmt;

use channel_layer::{ConfigError, Error, Result, registry::Options};

/// Settings for all servers that are reached over TLS.
#[derive(Clone, Default)]
pub(crate) struct TlsConfig {
    /// The trusted authorities (PEM) instead of the system's.
    pub(crate) root: Option<Vec<u8>>,
    /// The client's certificate with its chain, and its key (PEM).
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether any certificate of a server is accepted.
    pub(crate) is_unverified: bool,
}

/// Shows which settings are present, without their content: one is a key.
impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("root", &self.root.is_some())
            .field("client", &self.client.is_some())
            .field("is_unverified", &self.is_unverified)
            .finish()
    }
}

/// Takes the settings, with the name of the first option given. `None` if there is no such option.
pub(super) fn take(options: &mut Options) -> Result<Option<(&'static str, TlsConfig)>> {
    const NAMES: [&str; 5] =
        ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"];
    let mut given = Vec::new();
    for name in NAMES {
        given.push(options.take::<String>(name)?);
    }
    let Some(first) = given.iter().position(Option::is_some) else { return Ok(None) };
    let text = |at: usize| given[at].as_deref().map(str::to_ascii_lowercase);
    let file = |at: usize| given[at].as_deref().map(|path| read(NAMES[at], path)).transpose();
    let is_unverified = is_unverified(text(3).as_deref(), text(4).as_deref())?;
    let client = client(file(1)?, file(2)?)?;
    let root = file(0)?;
    for (name, pem) in [(NAMES[0], root.as_ref()), (NAMES[1], client.as_ref().map(|client| &client.0))] {
        if pem.is_some_and(|pem| !is_pem(pem, "-----BEGIN CERTIFICATE-----")) {
            return Err(invalid(name, "there is no certificate (PEM) in the file"));
        }
    }
    Ok(Some((NAMES[first], TlsConfig { root, client, is_unverified })))
}

fn is_unverified(requirements: Option<&str>, check_name: Option<&str>) -> Result<bool> {
    let is_unverified = match requirements {
        None | Some("required" | "optional" | "cert_required" | "cert_optional") => false,
        Some("none" | "cert_none") => true,
        Some(_) => return Err(invalid("ssl_cert_reqs", "it must be none, optional or required")),
    };
    match check_name {
        None | Some("true" | "1" | "yes") => Ok(is_unverified),
        Some("false" | "0" | "no") if is_unverified => Ok(true),
        Some("false" | "0" | "no") => {
            let reason = "a certificate is checked with its name, or not at all: `ssl_cert_reqs=none`";
            Err(invalid("ssl_check_hostname", reason))
        }
        Some(_) => Err(invalid("ssl_check_hostname", "it must be true or false")),
    }
}

/// Checks the client's certificate and key. The key may be in the certificate's file, as in Python.
fn client(certificate: Option<Vec<u8>>, key: Option<Vec<u8>>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    match (certificate, key) {
        (Some(certificate), key) => {
            let key = key.unwrap_or_else(|| certificate.clone());
            match is_pem(&key, "PRIVATE KEY-----") {
                true => Ok(Some((certificate, key))),
                false => Err(invalid("ssl_keyfile", "there is no key (PEM) in the file")),
            }
        }
        (None, Some(_)) => Err(invalid("ssl_certfile", "the certificate of the key is missing")),
        (None, None) => Ok(None),
    }
}

fn read(option: &str, path: &str) -> Result<Vec<u8>> {
    let unreadable =
        |error: std::io::Error| invalid(option, &format!("the file cannot be read: {}", error.kind()));
    // A pipe or a device may have no end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(invalid(option, "it must be a file"));
    }
    std::fs::read(path).map_err(unreadable)
}

fn is_pem(bytes: &[u8], mark: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(mark)
}

fn invalid(option: &str, reason: &str) -> Error {
    ConfigError::Option { option: option.to_owned(), reason: reason.to_owned() }.into()
}
