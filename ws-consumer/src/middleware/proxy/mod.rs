//! The trusted proxies, and the address and origin that follow from their headers.

mod address;
mod forwarded;
mod server_origin;
#[cfg(test)]
mod tests;
mod trusted;

pub(crate) use self::server_origin::{ServerOrigin, unnamed};
pub use self::{address::AddressError, trusted::TrustedProxies};
