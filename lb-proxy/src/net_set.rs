//! Sets of networks that are asked for every connection: a trie, so that a hundred thousand networks
//! cost hardly more than ten. Pure.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixSet;

/// A set of networks of both families.
#[derive(Default)]
pub struct NetSet {
    set: JointPrefixSet<IpNet>,
    /// As many as were named, each time one was.
    entries: usize,
}

impl NetSet {
    pub fn new(networks: &[IpNet]) -> Self {
        let mut set = JointPrefixSet::new();
        for network in networks {
            set.insert(network.trunc());
        }
        Self {
            set,
            entries: networks.len(),
        }
    }

    /// Whether a network of the set has the address, which is not IPv4 written as IPv6.
    pub fn has(&self, address: IpAddr) -> bool {
        // Most sets are empty.
        self.entries > 0 && self.set.is_covered(&IpNet::from(address))
    }

    pub fn entries(&self) -> usize {
        self.entries
    }
}

impl fmt::Debug for NetSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NetSet of {}", self.entries)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use ipnet::{Ipv4Net, Ipv6Net};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Addresses that are near each other, so that networks have some of them.
    fn near() -> impl Strategy<Value = IpAddr> {
        let v4 = (0..4_u32, 0..8_u32).prop_map(|(high, low)| {
            IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 | high << 30 | low))
        });
        let v6 = (0..4_u128, 0..8_u128).prop_map(|(high, low)| {
            IpAddr::from(Ipv6Addr::from_bits(0x2001 << 112 | high << 126 | low))
        });
        prop_oneof![v4, v6]
    }

    fn network() -> impl Strategy<Value = IpNet> {
        (near(), 0..=128_u8).prop_map(|(address, bits)| match address {
            IpAddr::V4(v4) => Ipv4Net::new(v4, bits % 33).expect("up to 32").into(),
            IpAddr::V6(v6) => Ipv6Net::new(v6, bits).expect("up to 128").into(),
        })
    }

    proptest! {
        /// With and without bits of a host in the network's address.
        #[test]
        fn the_trie_says_what_a_search_through_all_says(
            networks in vec(network(), 0..40),
            clients in vec(near(), 40),
        ) {
            let set = NetSet::new(&networks);
            prop_assert_eq!(set.entries(), networks.len());
            for client in clients {
                let listed = networks.iter().any(|net| net.contains(&client));
                prop_assert_eq!(set.has(client), listed, "{}", client);
            }
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "measures how long it takes")]
    fn a_hundred_thousand_networks_are_no_search_through_all() {
        let address = |n: u32| IpAddr::from(Ipv4Addr::from_bits(n.wrapping_mul(2_654_435_761)));
        let networks: Vec<IpNet> = (0..100_000).map(|n| address(n).into()).collect();
        let set = NetSet::new(&networks);
        let began = std::time::Instant::now();
        let found = (0..200_000).filter(|n| set.has(address(*n))).count();
        let took = began.elapsed();
        assert_eq!(found, 100_000);
        // Ten thousand million comparisons would take ten seconds.
        assert!(took.as_secs() < 2, "{took:?}");
    }

    #[test]
    fn all_of_a_family_is_none_of_the_other() {
        let set = NetSet::new(&["0.0.0.0/0".parse().expect("a network")]);
        assert!(set.has(Ipv4Addr::new(192, 0, 2, 1).into()));
        assert!(!set.has(Ipv6Addr::LOCALHOST.into()));
        assert!(!NetSet::default().has(Ipv6Addr::LOCALHOST.into()));
    }
}
