//! A packet socket that announces, and that advertises from a hardware address that is not the interface's.
#![expect(
    clippy::disallowed_types,
    reason = "opens the socket that announcements leave by"
)]

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};
use pnet_packet::ethernet::{EtherTypes, MutableEthernetPacket};
use socket2::{Domain, Socket, Type};

use super::PRIORITY;
use crate::packet::{gratuitous_reply, gratuitous_request, unsolicited_advertisement};
use crate::ports::OWN_DATAGRAM;
use crate::syscall::{self, PacketProtocol};

const ETHERNET_HEADER: usize = 14;
/// Of 224.0.0.18 (RFC 1112, section 6.4) and of ff02::12 (RFC 2464, section 7).
const GROUP_MAC: [u8; 6] = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12];
const GROUP_MAC_V6: [u8; 6] = [0x33, 0x33, 0x00, 0x00, 0x00, 0x12];

/// Sends gratuitous ARP and unsolicited neighbour advertisements on one interface, and adverts; it hears nothing.
#[derive(Debug)]
pub(crate) struct Announcer {
    socket: Socket,
    interface: String,
    mac: [u8; 6],
}

impl Announcer {
    /// Binds to the interface, whose hardware address is `mac`.
    pub(crate) fn open(interface: &str, index: u32, mac: [u8; 6]) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::Priority, &PRIORITY)?;
        syscall::bind_packet_socket(socket.as_fd(), index, PacketProtocol::Nothing)?;
        Ok(Self {
            socket,
            interface: interface.to_owned(),
            mac,
        })
    }

    /// One round, of the interface's hardware address or of `mac`. Of ARP in both forms: some hosts learn from requests
    /// only, some from replies.
    pub(crate) fn announce(&self, vip: IpAddr, mac: Option<[u8; 6]>) -> io::Result<()> {
        let mac = mac.unwrap_or(self.mac);
        match vip {
            IpAddr::V4(vip) => {
                self.socket.send(&gratuitous_request(mac, vip))?;
                self.socket.send(&gratuitous_reply(mac, vip))?;
            }
            IpAddr::V6(vip) => {
                let router = forwards_ipv6(&self.interface);
                self.socket
                    .send(&unsolicited_advertisement(mac, vip, router))?;
            }
        }
        Ok(())
    }

    /// Sends an advert, a whole IP datagram to the group, in a frame from `mac`.
    pub(crate) fn advertise(&self, mac: [u8; 6], datagram: &[u8]) -> io::Result<()> {
        let mut bytes = [0; ETHERNET_HEADER + OWN_DATAGRAM];
        let frame = bytes
            .get_mut(..ETHERNET_HEADER + datagram.len())
            .ok_or(io::ErrorKind::InvalidInput)?;
        let (header, payload) = frame.split_at_mut(ETHERNET_HEADER);
        let is_v6 = datagram.first().is_some_and(|byte| byte >> 4 == 6);
        let (group, kind) = match is_v6 {
            false => (GROUP_MAC, EtherTypes::Ipv4),
            true => (GROUP_MAC_V6, EtherTypes::Ipv6),
        };
        let mut ethernet = MutableEthernetPacket::new(header).expect("the slice is a header long");
        ethernet.set_destination(group.into());
        ethernet.set_source(mac.into());
        ethernet.set_ethertype(kind);
        payload.copy_from_slice(datagram);
        self.socket.send(frame)?;
        Ok(())
    }
}

/// Whether the kernel calls itself a router in its own neighbour advertisements on the interface. It
/// may change at any time, and ours must not say the opposite. (A setting of the kernel's: no disk is
/// read.)
fn forwards_ipv6(interface: &str) -> bool {
    let setting = format!("/proc/sys/net/ipv6/conf/{interface}/forwarding");
    std::fs::read_to_string(setting).is_ok_and(|text| text.trim() != "0")
}
