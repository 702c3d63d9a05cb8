//! The sockets of a rescue: one for each VIP to send, one to see which RSTs leave.

#![expect(clippy::disallowed_types, reason = "opens raw sockets")]

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::board::VipSession;
use common::config::VipIndex;
use nix::libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_MSH,
    BPF_RET, ETH_P_ALL, ETH_P_IP, ETH_P_IPV6, IPPROTO_RAW, SKF_AD_OFF, SKF_AD_PKTTYPE,
    SKF_AD_PROTOCOL,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::segment::{self, Form};

/// Room for RSTs that were not read yet, in bytes; the kernel may cut it.
const QUEUE: usize = 4 << 20;
/// An RST with options.
const LONGEST: usize = 128;

/// How a packet socket marks what leaves (PACKET_OUTGOING).
const OUTGOING: u32 = 4;
const TCP: u32 = 6;
/// Place of the flags in a TCP header, and the one that is looked for.
const FLAGS: u32 = 13;
const RST: u32 = 4;

/// All of them.
#[derive(Debug)]
pub(super) struct Wire {
    /// By VIP; `None` = it is not held here.
    vips: Vec<Option<Vip>>,
    resets: Socket,
}

#[derive(Debug)]
struct Vip {
    address: IpAddr,
    socket: Socket,
}

impl Wire {
    /// For the VIPs that are held here.
    pub(super) fn open(vips: &[Option<IpAddr>]) -> io::Result<Self> {
        let open = |vip: &Option<IpAddr>| {
            vip.map(|address| {
                Ok(Vip {
                    address,
                    socket: sender(address)?,
                })
            })
            .transpose()
        };
        Ok(Self {
            vips: vips.iter().map(open).collect::<io::Result<_>>()?,
            resets: watcher()?,
        })
    }

    /// Sends the client a segment with this number, from the VIP.
    pub(super) fn poke(&self, session: &VipSession, sequence: u32, form: Form) -> io::Result<()> {
        let vip = self.vips.get(session.vip.0).and_then(Option::as_ref);
        let vip = vip.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let from = SocketAddr::new(vip.address, session.port);
        let packet = segment::poke((from, session.client), sequence, form);
        let packet = packet.ok_or(io::ErrorKind::InvalidInput)?;
        // The port of a raw socket's destination is a protocol's number, or 0.
        let to = SocketAddr::new(session.client.ip(), 0);
        vip.socket.send_to(&packet, &to.into()).map(drop)
    }

    /// Whose client the next RST has left for; `None` = no more has, yet.
    pub(super) fn reset(&self) -> Option<VipSession> {
        let mut packet = [0; LONGEST];
        loop {
            let length = (&self.resets).read(&mut packet).ok()?;
            let Some((from, client)) = segment::reset(&packet[..length]) else {
                continue;
            };
            let mut vips = self.vips.iter();
            let vip = vips.position(|vip| vip.as_ref().is_some_and(|vip| vip.address == from.ip()));
            if let Some(vip) = vip {
                return Some(VipSession {
                    vip: VipIndex(vip),
                    port: from.port(),
                    client,
                });
            }
        }
    }

    /// Until an RST leaves, at most so long.
    pub(super) fn wait(&self, limit: Duration) {
        let Ok(limit) = Timespec::try_from(limit) else {
            return;
        };
        let mut waiting = [PollFd::new(&self.resets, PollFlags::IN)];
        // One shortens the wait.
        let _signal = poll(&mut waiting, Some(&limit));
    }
}

/// It only sends, and writes the IP header itself (raw(7)): so no segment that arrives is ever copied for it.
fn sender(vip: IpAddr) -> io::Result<Socket> {
    let address = SocketAddr::new(vip, 0);
    let protocol = Some(Protocol::from(IPPROTO_RAW));
    let socket = Socket::new(Domain::for_address(address), Type::RAW, protocol)?;
    socket.set_nonblocking(true)?;
    // So the route is that of the VIP's own segments.
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Sees RSTs that leave by any interface, from the IP header on (packet(7)).
fn watcher() -> io::Result<Socket> {
    let all = i32::from((ETH_P_ALL as u16).to_be());
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(all)))?;
    // What came before the filter is looked at, too.
    socket.attach_filter(&leaving_resets())?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(QUEUE)?;
    Ok(socket)
}

fn leaving_resets() -> Vec<SockFilter> {
    let beside = |what: i32| (SKF_AD_OFF + what) as u32;
    let load = |size: u32, at: u32| instruction(BPF_LD | size | BPF_ABS, (0, 0), at);
    let equal = |value: u32, jumps| instruction(BPF_JMP | BPF_JEQ | BPF_K, jumps, value);
    let has = |bits: u32, jumps| instruction(BPF_JMP | BPF_JSET | BPF_K, jumps, bits);
    vec![
        load(BPF_B, beside(SKF_AD_PKTTYPE)),
        equal(OUTGOING, (0, 13)),
        load(BPF_H, beside(SKF_AD_PROTOCOL)),
        equal(ETH_P_IP as u32, (0, 5)),
        // IPv4
        load(BPF_B, 9),
        equal(TCP, (0, 9)),
        instruction(BPF_LDX | BPF_B | BPF_MSH, (0, 0), 0),
        instruction(BPF_LD | BPF_B | BPF_IND, (0, 0), FLAGS),
        has(RST, (5, 6)),
        // IPv6, without extension headers
        equal(ETH_P_IPV6 as u32, (0, 5)),
        load(BPF_B, 6),
        equal(TCP, (0, 3)),
        load(BPF_B, 40 + FLAGS),
        has(RST, (0, 1)),
        instruction(BPF_RET | BPF_K, (0, 0), LONGEST as u32),
        instruction(BPF_RET | BPF_K, (0, 0), 0),
    ]
}

/// One instruction with the jumps that it takes if true and if false.
fn instruction(code: u32, jumps: (u8, u8), operand: u32) -> SockFilter {
    let code = u16::try_from(code).expect("classic BPF codes have 16 bits");
    SockFilter::new(code, jumps.0, jumps.1, operand)
}
