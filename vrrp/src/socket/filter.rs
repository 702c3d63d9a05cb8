//! Classic BPF (socket filters, `Documentation/networking/filter.rst` of the kernel).

use std::net::IpAddr;

use nix::libc::{BPF_ABS, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use socket2::SockFilter;

/// Size of a load, offset in the packet, and the value that has to be there.
pub(super) type Test = (u32, u32, u32);

/// What a frame of neighbour discovery begins with (RFC 4861, section 4.3): ICMPv6, from this link.
pub(super) const OF_NEIGHBOURS: [Test; 2] = [(BPF_B, 20, 58), (BPF_B, 21, 255)];
/// Offset of the message's type in such a frame, and the types.
pub(super) const MESSAGE_TYPE: u32 = 54;
pub(super) const SOLICITATION: u32 = 135;
pub(super) const ADVERTISEMENT: u32 = 136;
/// Offset of the address that is asked for, or advertised.
pub(super) const TARGET: u32 = 62;

/// One instruction with the jumps that it takes if true and if false.
pub(super) fn instruction(code: u32, jumps: (u8, u8), operand: u32) -> SockFilter {
    let code = u16::try_from(code).expect("classic BPF codes have 16 bits");
    SockFilter::new(code, jumps.0, jumps.1, operand)
}

/// Whether an address is at an offset.
pub(super) fn is_at(offset: u32, address: IpAddr) -> impl Iterator<Item = Test> {
    (offset..)
        .step_by(4)
        .zip(words(address))
        .map(|(at, word)| (BPF_W, at, word))
}

/// An address in pieces of 32 bits, one or four.
pub(super) fn words(address: IpAddr) -> Vec<u32> {
    match address {
        IpAddr::V4(address) => vec![address.to_bits()],
        IpAddr::V6(address) => {
            let octets = address.octets();
            let (words, _) = octets.as_chunks::<4>();
            words.iter().map(|word| u32::from_be_bytes(*word)).collect()
        }
    }
}

/// A program that accepts what passes all of a few tests.
pub(super) fn all_of(tests: impl IntoIterator<Item = Test>) -> Vec<SockFilter> {
    let tests: Vec<Test> = tests.into_iter().collect();
    let mut program = Vec::new();
    for (place, (size, at, value)) in tests.iter().enumerate() {
        // Over the tests behind this one, and over what accepts.
        let to_drop = 2 * (tests.len() - place - 1) + 1;
        let to_drop = u8::try_from(to_drop).expect("there are few tests");
        program.push(instruction(BPF_LD | size | BPF_ABS, (0, 0), *at));
        program.push(instruction(BPF_JMP | BPF_JEQ | BPF_K, (0, to_drop), *value));
    }
    let (accept, drop) = (u32::MAX, 0);
    program.push(instruction(BPF_RET | BPF_K, (0, 0), accept));
    program.push(instruction(BPF_RET | BPF_K, (0, 0), drop));
    program
}
