//! Options, logs, start and stop, shared by the examples' programs.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use channel_layer::MemoryLayer;
//! use clap::Parser;
//! use example_support::{ServerOptions, stopped};
//! use ws_consumer::Protocols;
//!
//! /// Serves no application.
//! #[derive(Parser)]
//! struct Options {
//!     #[command(flatten)]
//!     server: ServerOptions,
//! }
//!
//! #[tokio::main]
//! async fn main() -> ExitCode {
//!     let options: Options = example_support::parse("127.0.0.1:8000");
//!     example_support::exit("empty", run(options).await)
//! }
//!
//! async fn run(options: Options) -> Result<(), String> {
//!     options.server.start_logs("info")?;
//!     let listeners = options.server.listen().await?;
//!     let protocols = Protocols::new().trust(options.server.trusted()?);
//!     println!("empty on http://{}/", listeners.address());
//!     listeners.serve(protocols.into_service(MemoryLayer::default()), stopped()).await
//! }
//! ```

mod access_log;
mod server;

use std::{error::Error, iter::successors, process::ExitCode, sync::Arc};

use channel_layer::{ChannelLayer, Registry};
use clap::{Args, Parser};
use tokio::signal;

pub use self::server::{Listeners, ServerOptions};

/// Parses the command line of a program that listens on this address by default, and exits if it is invalid.
pub fn parse<O: Parser>(listen: &'static str) -> O {
    parse_from(listen, std::env::args_os()).unwrap_or_else(|error| error.exit())
}

fn parse_from<O: Parser>(
    listen: &'static str,
    args: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<O, clap::Error> {
    let command = O::command().mut_arg("listen", |option| option.default_value(listen));
    O::from_arg_matches(&command.try_get_matches_from(args)?)
}

/// Prints the error of a program, if there is one. Returns its exit code.
pub fn exit(name: &str, outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{name}: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// The option `--layer`.
#[derive(Args, Clone, Debug)]
pub struct LayerOptions {
    /// The channel layer: memory://, or to share groups and workers with other processes redis://HOST:PORT/DB
    #[arg(long, default_value = "memory://", value_name = "URL")]
    pub layer: String,
}

impl LayerOptions {
    /// Makes the layer, with the schemes of a registry.
    ///
    /// # Errors
    /// The address is invalid, or the backend cannot be reached.
    pub async fn connect(&self, registry: Registry) -> Result<Arc<dyn ChannelLayer>, String> {
        registry.connect(&self.layer).await.map_err(|error| causes(&error))
    }
}

/// Waits for Ctrl-C, or for the SIGTERM of a process supervisor.
pub async fn stopped() {
    #[cfg(unix)]
    {
        let terminated = signal::unix::signal(signal::unix::SignalKind::terminate());
        if let Ok(mut terminated) = terminated {
            tokio::select! {
                _ = terminated.recv() => return,
                _ = signal::ctrl_c() => return,
            }
        }
    }
    let _ = signal::ctrl_c().await;
}

fn causes(error: &dyn Error) -> String {
    let causes = successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
