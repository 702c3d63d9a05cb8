//! Classic BPF (socket filters, `Documentation/networking/filter.rst` of the kernel).

use socket2::SockFilter;

/// One instruction with the jumps that it takes if true and if false.
pub(super) fn instruction(code: u32, jumps: (u8, u8), operand: u32) -> SockFilter {
    let code = u16::try_from(code).expect("classic BPF codes have 16 bits");
    SockFilter::new(code, jumps.0, jumps.1, operand)
}
