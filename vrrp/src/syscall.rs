//! The system calls that neither nix nor socket2 wraps.
#![expect(
    unsafe_code,
    reason = "sched_setscheduler, binding a packet socket and its memberships, adjtimex and NETLINK_GET_STRICT_CHK have \
              no safe wrapper"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::libc;

/// Gives the calling thread the scheduling class `SCHED_FIFO` (sched(7)) with a priority from 1 to
/// 99. What it starts does not inherit it.
///
/// # Errors
/// `EPERM` without `CAP_SYS_NICE` and with an `RLIMIT_RTPRIO` below `priority`.
pub fn schedule_fifo(priority: i32) -> io::Result<()> {
    schedule(libc::SCHED_FIFO, priority)
}

/// Gives the calling thread the normal scheduling class back. Who ends waits for threads that have it, as for the one that
/// writes the log: where it has real-time priority and spins meanwhile, that one may never get the processor.
///
/// # Errors
/// None that is known: the step down takes no right.
pub fn schedule_normal() -> io::Result<()> {
    schedule(libc::SCHED_OTHER, 0)
}

fn schedule(class: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    let parameter = libc::sched_param {
        sched_priority: priority,
    };
    // The flag may not be taken back without a right.
    let class = class | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameter lives for the call, which only reads it; 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, class, &raw const parameter) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether somebody keeps the real-time clock right: no `STA_UNSYNC` in its status (adjtimex(2)).
pub(crate) fn clock_is_synchronised() -> bool {
    // SAFETY: it is plain data, and zero in `modes` only asks.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives for the call, which fills it.
    let result = unsafe { libc::adjtimex(&raw mut state) };
    result >= 0 && state.status & libc::STA_UNSYNC == 0
}

/// Lets the kernel filter the lists that are asked for on a netlink socket by what the request names
/// (`NETLINK_GET_STRICT_CHK`, 4.20). An older kernel does not know it, and lists everything.
pub(crate) fn filter_lists(socket: impl AsFd) {
    let on: libc::c_int = 1;
    // SAFETY: the value lives for the call, which reads exactly its size; the descriptor is open.
    unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_GET_STRICT_CHK,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

/// What a packet socket receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PacketProtocol {
    /// It only sends.
    Nothing,
    Ipv4,
    Arp,
    Ipv6,
}

/// Binds a packet socket (packet(7)) to an interface.
///
/// # Errors
/// `ENODEV` if there is no such interface.
pub(crate) fn bind_packet_socket(
    socket: BorrowedFd<'_>,
    interface: u32,
    protocol: PacketProtocol,
) -> io::Result<()> {
    let index = i32::try_from(interface).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    let protocol = match protocol {
        PacketProtocol::Nothing => 0,
        PacketProtocol::Ipv4 => (libc::ETH_P_IP as u16).to_be(),
        PacketProtocol::Arp => (libc::ETH_P_ARP as u16).to_be(),
        PacketProtocol::Ipv6 => (libc::ETH_P_IPV6 as u16).to_be(),
    };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol,
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address lives for the call, which reads exactly its size; the descriptor is open.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has an interface accept frames for another hardware address too, as long as the packet socket is open
/// (PACKET_MR_UNICAST of packet(7)).
///
/// # Errors
/// `ENODEV` if there is no such interface.
pub(crate) fn accept_frames_for(
    socket: BorrowedFd<'_>,
    interface: u32,
    mac: [u8; 6],
) -> io::Result<()> {
    let index = i32::try_from(interface).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    let [a, b, c, d, e, f] = mac;
    let membership = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: libc::PACKET_MR_UNICAST as u16,
        mr_alen: 6,
        mr_address: [a, b, c, d, e, f, 0, 0],
    };
    // SAFETY: the value lives for the call, which reads exactly its size; the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const membership).cast(),
            size_of::<libc::packet_mreq>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
