//! The sockets of the loop. None of them ever blocks; every datagram comes with the kernel's
//! receive stamp.
//!
//! - `advert`: raw sockets of protocol 112 on one interface, one to hear, one to speak.
//! - `announcer`: a packet socket that announces.
//! - `pair`: the UDP socket of the pair channel.
//! - `question`: a packet socket that asks the other node's kernel, or a gateway, whether it lives.
//! - `sentinel`: a packet socket that hears who claims a VIP.
//! - `witness`: packet sockets that see adverts from our own address, and the other node's in front of the firewall.
//!
//! No socket filter drops bad packets: each has to be counted by its reason. The loop bounds the
//! work instead.

mod advert;
mod announcer;
mod filter;
mod pair;
mod question;
mod sentinel;
mod witness;

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::in6_pktinfo;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, recvmsg};
use nix::sys::time::TimeSpec;

pub(crate) use self::advert::{AdvertReceiver, AdvertSender};
pub(crate) use self::announcer::Announcer;
pub(crate) use self::pair::PairSocket;
pub(crate) use self::question::QuestionSocket;
pub(crate) use self::sentinel::Sentinel;
pub(crate) use self::witness::Witness;

/// Traffic class of network control, CS6 (RFC 4594, section 3.1), as the adverts of Keepalived
/// carry it.
pub(crate) const TOS_NETWORK_CONTROL: u32 = 0xc0;
/// `SO_PRIORITY` of what must not wait behind bulk traffic in our own queue.
const PRIORITY: i32 = 6;
/// Queue of a receiving socket.
const RECEIVE_QUEUE: usize = 256 * 1024;
/// Longest datagram that is read: an advert with 255 IPv6 addresses has 4156 bytes. Longer ones are
/// cut, and dropped for their length.
const DATAGRAM_BYTES: usize = 4608;

/// Where datagrams are read to.
#[derive(Debug)]
pub(crate) struct ReceiveBuffer {
    bytes: [u8; DATAGRAM_BYTES],
    control: Vec<u8>,
}

impl ReceiveBuffer {
    pub(crate) fn new() -> Self {
        Self {
            bytes: [0; DATAGRAM_BYTES],
            control: cmsg_space!(TimeSpec, in6_pktinfo, i32),
        }
    }
}

/// One datagram.
#[derive(Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) bytes: &'a [u8],
    /// `None` from a packet socket.
    pub(crate) source: Option<IpAddr>,
    /// When the kernel received it, on `CLOCK_REALTIME`.
    pub(crate) stamp: Option<Duration>,
    /// Where a raw socket of IPv6 gives no header: where it was sent to, and its hop limit.
    pub(crate) header: Option<(Ipv6Addr, u8)>,
}

/// What a read gave.
#[derive(Debug)]
pub(crate) enum Read<'a> {
    Datagram(Datagram<'a>),
    /// The queue is empty.
    Empty,
    /// The socket reported an error (its interface went down).
    Failed(Errno),
}

/// Reads one datagram without waiting.
fn receive<'a>(socket: impl AsFd, buffer: &'a mut ReceiveBuffer) -> Read<'a> {
    let ReceiveBuffer { bytes, control } = buffer;
    let (length, source, told) = {
        let mut slices = [IoSliceMut::new(bytes)];
        let received = recvmsg::<SockaddrStorage>(
            socket.as_fd().as_raw_fd(),
            &mut slices,
            Some(control),
            MsgFlags::MSG_DONTWAIT,
        );
        match received {
            Ok(message) => (message.bytes, source(&message), told(&message)),
            Err(Errno::EAGAIN | Errno::EINTR) => return Read::Empty,
            Err(errno) => return Read::Failed(errno),
        }
    };
    Read::Datagram(Datagram {
        bytes: &bytes[..length],
        source,
        stamp: told.stamp,
        header: told.destination.zip(told.hop_limit),
    })
}

type Message<'a, 's> = RecvMsg<'a, 's, SockaddrStorage>;

fn source(message: &Message<'_, '_>) -> Option<IpAddr> {
    let address = message.address?;
    let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
}

/// What the kernel says beside a datagram.
#[derive(Debug, Default)]
struct Told {
    stamp: Option<Duration>,
    destination: Option<Ipv6Addr>,
    hop_limit: Option<u8>,
}

fn told(message: &Message<'_, '_>) -> Told {
    let mut told = Told::default();
    for one in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmTimestampns(stamp) = one {
            told.stamp = Some(Duration::from(stamp));
        } else if let ControlMessageOwned::Ipv6PacketInfo(info) = one {
            told.destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
        } else if let ControlMessageOwned::Ipv6HopLimit(limit) = one {
            told.hop_limit = u8::try_from(limit).ok();
        }
    }
    told
}
