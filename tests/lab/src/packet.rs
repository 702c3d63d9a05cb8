//! Raw frames: a socket that sees every frame of an interface and can send one.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, MsgFlags, bind, recvmsg, sendto};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// `ETH_P_ALL` in network byte order, as packet(7) wants it.
const ALL_PROTOCOLS: i32 = 0x0300;
/// `PACKET_OUTGOING` of packet(7).
const OUTGOING: u8 = 4;
/// Room for frames that wait to be read.
const RECEIVE_BUFFER: usize = 4 << 20;
/// More frames than can be queued between opening and binding.
const MAX_QUEUED: u32 = 10_000;

/// Frames of one interface of the calling thread's namespace.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    link: LinkAddr,
}

/// A frame that was read.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Bytes that fitted into the buffer.
    pub kept: usize,
    /// Bytes that it had.
    pub length: usize,
    /// Whether this namespace sent it.
    pub outgoing: bool,
}

impl PacketSocket {
    /// Opens it on an interface; `filter` is a classic BPF program, empty = every frame.
    ///
    /// # Errors
    /// Without root, or when there is no such interface.
    pub fn open(interface: &str, filter: &[SockFilter]) -> Result<Self> {
        let link = link(interface)?;
        let socket = Socket::new(
            Domain::PACKET,
            Type::RAW,
            Some(Protocol::from(ALL_PROTOCOLS)),
        )
        .context("open a packet socket (CAP_NET_RAW)")?;
        bind(socket.as_raw_fd(), &link).with_context(|| format!("bind to {interface}"))?;
        if !filter.is_empty() {
            socket.attach_filter(filter).context("attach the filter")?;
        }
        socket
            .set_recv_buffer_size(RECEIVE_BUFFER)
            .context("set the receive buffer")?;
        let packets = Self { socket, link };
        // What came before interface and filter were set is not for this socket.
        let mut buffer = [0; 64];
        for _ in 0..MAX_QUEUED {
            if packets.take(&mut buffer, MsgFlags::MSG_DONTWAIT)?.is_none() {
                break;
            }
        }
        Ok(packets)
    }

    /// The next frame, `None` when none came within the limit.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn receive(&self, buffer: &mut [u8], limit: Duration) -> Result<Option<Frame>> {
        self.socket
            .set_read_timeout(Some(limit))
            .context("limit the read")?;
        self.take(buffer, MsgFlags::empty())
    }

    fn take(&self, buffer: &mut [u8], flags: MsgFlags) -> Result<Option<Frame>> {
        let room = buffer.len();
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = flags | MsgFlags::MSG_TRUNC;
        match recvmsg::<LinkAddr>(self.socket.as_raw_fd(), &mut parts, None, flags) {
            Ok(message) => Ok(Some(Frame {
                kept: message.bytes.min(room),
                length: message.bytes,
                outgoing: message
                    .address
                    .is_some_and(|from| from.pkttype() == OUTGOING),
            })),
            // An interface that goes down says so once on every socket bound to it.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => Ok(None),
            Err(error) => Err(error).context("read a frame"),
        }
    }

    /// Sends a whole frame.
    ///
    /// # Errors
    /// When the kernel refuses, as where the interface is down.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        sendto(
            self.socket.as_raw_fd(),
            frame,
            &self.link,
            MsgFlags::empty(),
        )
        .context("send a frame")?;
        Ok(())
    }
}

/// The link-layer address of an interface, which names it to the packet socket.
fn link(interface: &str) -> Result<LinkAddr> {
    let found = getifaddrs()
        .context("list the interfaces")?
        .filter(|entry| entry.interface_name == interface)
        .filter_map(|entry| entry.address)
        .find_map(|address| address.as_link_addr().copied());
    found.with_context(|| format!("no interface {interface}"))
}
