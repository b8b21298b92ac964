//! The options of every program that serves, and its listeners.

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    path::PathBuf,
};

use clap::Args;
use tokio::net::TcpListener;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};
use ws_consumer::{IntoSocketService, Serve, SocketService, middleware::TrustedProxies, serve};

use crate::access_log::AccessLog;

/// The options of a program that serves.
#[derive(Args, Clone, Debug)]
pub struct ServerOptions {
    /// The address to listen on, repeated for further ones; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<SocketAddr>,
    /// The file to which the access log is appended; standard error without a path or with `-`
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "-")]
    pub access_log: Option<PathBuf>,
    /// The proxies in front, whose headers tell the client's address: addresses or networks, such as 10.0.0.0/8
    #[arg(long, value_name = "CIDR", num_args = 1..)]
    pub proxy_trust: Vec<String>,
}

impl ServerOptions {
    /// Sends logs to standard error, with the levels of RUST_LOG or else of `default`, and requests to the access log.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn start_logs(&self, default: &str) -> Result<(), String> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
        let log = tracing_subscriber::fmt::layer().with_writer(io::stderr);
        let log = log.with_ansi(io::stderr().is_terminal()).with_filter(filter);
        let access = self.access_log.as_deref().map(AccessLog::open).transpose()?;
        tracing_subscriber::registry().with(log).with(access.map(AccessLog::into_layer)).init();
        Ok(())
    }

    /// Returns the trusted proxies.
    ///
    /// # Errors
    /// One of them is no address and no network.
    pub fn trusted(&self) -> Result<TrustedProxies, String> {
        TrustedProxies::new(&self.proxy_trust).map_err(|error| format!("--proxy-trust: {error}"))
    }

    /// Listens on all addresses.
    ///
    /// # Errors
    /// One of them is not free.
    pub async fn listen(&self) -> Result<Listeners, String> {
        let mut listeners = Listeners { addresses: Vec::new(), listeners: Vec::new() };
        for address in &self.listen {
            let failed = |error: io::Error| format!("cannot listen on {address}: {error}");
            let listener = ws_consumer::listen(*address).await.map_err(failed)?;
            listeners.addresses.push(listener.local_addr().map_err(failed)?);
            listeners.listeners.push(listener);
        }
        Ok(listeners)
    }
}

/// The listeners of a program. There is at least one.
#[derive(Debug)]
pub struct Listeners {
    addresses: Vec<SocketAddr>,
    listeners: Vec<TcpListener>,
}

impl Listeners {
    /// Returns the first address.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Returns all addresses.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the listener, for a server that takes one.
    ///
    /// # Errors
    /// There are several.
    pub fn into_one(self) -> Result<TcpListener, String> {
        let [listener] = <[TcpListener; 1]>::try_from(self.listeners)
            .map_err(|several| format!("--listen: this program serves one address, not {}", several.len()))?;
        Ok(listener)
    }

    /// Serves on all addresses until `stop` completes and everything has ended.
    ///
    /// # Errors
    /// A start-up hook failed.
    pub async fn serve<H>(
        self,
        service: SocketService<H>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), String>
    where
        SocketService<H>: IntoSocketService<Http = H>,
        Serve<H>: IntoFuture<Output = io::Result<()>>,
    {
        let mut listeners = self.listeners.into_iter();
        let first = listeners.next().expect("clap asks for one");
        let all = listeners.fold(serve(first, service), Serve::with_listener);
        all.with_graceful_shutdown(stop).await.map_err(|error| error.to_string())
    }
}
