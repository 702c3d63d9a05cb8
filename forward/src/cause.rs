//! Why a packet went where it went.

/// Where a packet for a VIP goes, and by which rule. The numbers are those of `enum cause` in `program.c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Cause {
    /// Here: the other node has sent it here.
    FromPeer = 0,
    /// Here: the other node is dead.
    PeerDead = 1,
    /// Here: a SYN, this node is active.
    SynHere = 2,
    /// Here: there is a socket for it.
    Socket = 3,
    /// Here: the end of a handshake by SYN cookie.
    Cookie = 4,
    /// Here: an ICMP error about a connection of this node.
    IcmpHere = 5,
    /// Here: too short for a TCP header.
    Unreadable = 6,
    /// There: a SYN, and this node is not active or nobody listens here.
    SynThere = 7,
    /// There: the socket here is of another connection of the same addresses.
    Foreign = 8,
    /// There: this kernel knows no such connection.
    Unknown = 9,
    /// There: an ICMP error about a connection that this kernel does not know.
    IcmpThere = 10,
    /// There: a fragment of a packet whose first one went there.
    Fragment = 11,
}

impl Cause {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::FromPeer,
        Self::PeerDead,
        Self::SynHere,
        Self::Socket,
        Self::Cookie,
        Self::IcmpHere,
        Self::Unreadable,
        Self::SynThere,
        Self::Foreign,
        Self::Unknown,
        Self::IcmpThere,
        Self::Fragment,
    ];

    /// Whether such a packet goes to the other node.
    pub fn is_forwarded(self) -> bool {
        self >= Self::SynThere
    }

    /// The word in JSON, tables and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::FromPeer => "from-peer",
            Self::PeerDead => "peer-dead",
            Self::SynHere => "syn-here",
            Self::Socket => "socket",
            Self::Cookie => "cookie",
            Self::IcmpHere => "icmp-here",
            Self::Unreadable => "unreadable",
            Self::SynThere => "syn-there",
            Self::Foreign => "foreign",
            Self::Unknown => "unknown",
            Self::IcmpThere => "icmp-there",
            Self::Fragment => "fragment",
        }
    }
}

/// How much of it there was, since the program was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// TCP segments and other packets, as they were on the wire.
    pub packets: u64,
    /// From their Ethernet headers on; segments that the kernel had joined count with one header.
    pub bytes: u64,
}
