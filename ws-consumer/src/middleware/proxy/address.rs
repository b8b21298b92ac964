//! Addresses and networks as text.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// A text that is neither an address nor a network.
#[derive(Debug)]
pub struct AddressError(String);

pub(super) fn network(text: &str) -> Result<IpNet, AddressError> {
    let host = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| host()).map(unmapped).map_err(|_| AddressError(text.to_owned()))
}

/// Addresses of IPv4 that are written as IPv6 are compared as what they are.
fn unmapped(network: IpNet) -> IpNet {
    let v4 = match network {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    v4.and_then(|(address, length)| IpNet::new(address.into(), length).ok()).unwrap_or(network)
}

/// An address, perhaps with a port, as some proxies add one.
pub(super) fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address =
        bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

impl std::fmt::Display for AddressError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is neither an address nor a network", self.0.escape_debug())
    }
}

impl std::error::Error for AddressError {}
