//! Hashes that are the same on both nodes, in every version, after every restart. Pure.
//!
//! The standard library's hashers may change with a release, and two nodes need not be of the same
//! one: hence the finalizer of SplitMix64, written out. It is not keyed, so who owns many addresses
//! can find some that fall on one server, as with any balancer whose two nodes agree without a
//! secret; load bounds and limits hold against that.

use std::net::{IpAddr, SocketAddr};

/// The finalizer of SplitMix64: neighbouring inputs give unrelated outputs.
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The hash of a machine's address; an IPv4-mapped one counts as IPv4.
pub(crate) fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => step(SEED, u64::from(v4.to_bits())),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            step(step(SEED, upper(bits)), lower(bits))
        }
    }
}

/// The hash of a server's address and port.
pub(crate) fn of_server(server: SocketAddr) -> u64 {
    step(of_address(server.ip()), u64::from(server.port()))
}

/// Takes another word into a hash.
pub(crate) const fn step(hash: u64, word: u64) -> u64 {
    // The constant keeps a hash of 0 from swallowing a 0.
    mix(hash.wrapping_add(GOLDEN_RATIO) ^ word)
}

/// 2^64 divided by the golden ratio.
pub(crate) const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
const SEED: u64 = 0x666d_635f_6c62_0001;

const fn lower(bits: u128) -> u64 {
    // Cut off on purpose.
    bits as u64
}

const fn upper(bits: u128) -> u64 {
    lower(bits >> 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(address: &str) -> u64 {
        of_address(address.parse().expect("an address"))
    }

    #[test]
    fn hashes_are_those_of_every_other_version() {
        assert_eq!(hash("192.168.0.40"), 0xfd2f_e166_0885_c88f);
        assert_eq!(hash("fd00::40"), 0x94f6_aa62_6ab2_b2b7);
        assert_eq!(
            of_server("10.17.4.21:6443".parse().expect("an address")),
            0x85df_85a9_25da_e3e1
        );
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert_eq!(hash("::ffff:192.168.0.40"), hash("192.168.0.40"));
        assert_ne!(hash("::192.168.0.40"), hash("192.168.0.40"));
    }

    #[test]
    fn every_bit_of_an_address_changes_about_half_of_the_hash() {
        let v4 = std::net::Ipv4Addr::new(192, 168, 0, 40).to_bits();
        let v6 = std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x40).to_bits();
        let flips = (0..32)
            .map(|bit| {
                let flipped = IpAddr::V4((v4 ^ 1 << bit).into());
                of_address(flipped) ^ of_address(IpAddr::V4(v4.into()))
            })
            .chain((0..128).map(|bit| {
                let flipped = IpAddr::V6((v6 ^ 1 << bit).into());
                of_address(flipped) ^ of_address(IpAddr::V6(v6.into()))
            }));
        for change in flips {
            assert!((12..=52).contains(&change.count_ones()), "{change:x}");
        }
    }

    #[test]
    fn ports_of_one_machine_have_hashes_of_their_own() {
        let mut hashes: Vec<_> = (0..=u16::MAX)
            .map(|port| of_server(SocketAddr::from(([10, 17, 4, 21], port))))
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 65_536);
    }
}
