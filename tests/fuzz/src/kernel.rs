//! What the kernel answers.

/// Answers and events of rtnetlink.
pub(crate) fn netlink(data: &[u8]) {
    vrrp::link::read_everything(data);
}
