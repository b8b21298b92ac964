//! The unit of limits per address.

use std::net::{IpAddr, Ipv6Addr};

/// Returns the address under which a client is counted: with IPv6 that of its /64, as a customer has at least 2^64
/// addresses.
pub(crate) fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_counts_by_network() {
        let same =
            |a: &str, b: &str| counted_address(a.parse().unwrap()) == counted_address(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:2"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
        assert!(same("10.0.0.1", "::ffff:10.0.0.1") && !same("::ffff:10.0.0.1", "::ffff:10.0.0.2"));
    }
}
