//! The distribution of names over hosts.

/// Returns the index of the host that a name belongs to, as channels_redis computes it: stable over processes, languages
/// and restarts.
///
/// A change of the number of hosts moves names: all processes must agree on the list and its order.
pub(crate) fn shard_of(name: &str, hosts: usize) -> usize {
    let slot = f64::from(crc32fast::hash(name.as_bytes()) & 0xFFF);
    // In floats as in Python: a border that is rounded differently would lead to another host.
    (slot / (4096.0 / hosts as f64)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_python() {
        let python = [("test_group", 2, 0), ("chat_lobby", 3, 1), ("a", 4, 3), ("b", 4, 3), ("s.0f!x", 1, 0)];
        for (name, hosts, expected) in python {
            assert_eq!(shard_of(name, hosts), expected, "{name}");
        }
    }

    #[test]
    fn many_hosts_match_python() {
        let hosts = [2, 3, 5, 7, 10, 16];
        let python = [
            ("a", [1, 2, 4, 6, 8, 14]),
            ("room.1", [1, 2, 3, 5, 7, 11]),
            ("asgi__group__room.1", [0, 0, 1, 1, 2, 4]),
            ("", [0; 6]),
            ("é", [1, 2, 4, 5, 8, 13]),
        ];
        for (name, expected) in python {
            assert_eq!(hosts.map(|hosts| shard_of(name, hosts)), expected, "{name}");
        }
        for (name, two, ten) in [("key_one", 1, 6), ("key_two", 0, 4)] {
            assert_eq!((shard_of(name, 2), shard_of(name, 10)), (two, ten), "{name}");
        }
    }

    #[test]
    fn hosts_get_equal_shares() {
        for hosts in 1..9 {
            let mut counts = vec![0usize; hosts];
            for n in 0..1000 * hosts {
                counts[shard_of(&format!("group_{n}"), hosts)] += 1;
            }
            assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        }
    }
}
