//! A channel layer on NATS: an example of a backend, as [`Backbone`](channel_layer::backbone::Backbone) has it.
//!
//! Addresses are `nats://[USER:PASSWORD@]HOST[:PORT][,HOST2[:PORT2]...]`, with all servers in one cluster. Messages are not
//! stored: one on a named channel goes to one of the processes that wait for it, by a queue group, or is lost. The longest
//! message is the server's `max_payload`, 1 MiB by default.
//!
//! Options follow after `?`: all those of [`memory://`](channel_layer::Registry), with the same meaning, `prefix`, the
//! beginning of all subjects (`channels`), and `timeout`, the longest time for an answer of the server (`1s`).

mod link;

use async_nats::{ConnectOptions, ServerAddr};
use channel_layer::{ConfigError, Result};

pub use crate::link::NatsBackbone;

impl NatsBackbone {
    /// The servers of an address without options. None is connected to yet.
    ///
    /// # Errors
    /// [`Config`](channel_layer::Error::Config) for an address that cannot be read.
    pub fn new(address: &str) -> Result<Self> {
        let (mut options, mut servers) = (ConnectOptions::new(), Vec::new());
        for server in address.split(',') {
            let server: ServerAddr = server.parse().map_err(|error: std::io::Error| ConfigError::Option {
                option: "address".to_owned(),
                reason: error.to_string(),
            })?;
            let mut url = server.into_inner();
            if let Some(password) = url.password() {
                let decoded =
                    |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
                options = options.user_and_password(decoded(url.username()), decoded(password));
            }
            // Logs show addresses.
            let _ = (url.set_username(""), url.set_password(None));
            servers.extend(ServerAddr::from_url(url));
        }
        Ok(Self { servers, options })
    }
}
