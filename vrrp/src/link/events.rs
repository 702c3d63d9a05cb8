//! What others change in the kernel's network configuration.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink::{DATAGRAM_BYTES, Messages, listen};
use netlink_packet_route::link::LinkHeader;
use nix::errno::Errno;
use nix::libc::{
    RTM_DELADDR, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV4_RULE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE, RTMGRP_LINK, RTNLGRP_IPV6_RULE,
};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};

use super::address::read_address;
use super::route::{RouteKey, foreign_replacement, tells_of_ours};
use super::{LinkError, failed};

/// Room for events while the loop does something else; beyond it the kernel says that events were
/// lost.
const QUEUE_BYTES: usize = 256 * 1024;

/// The group of IPv6's rules, which has no `RTMGRP_` of its own.
const IPV6_RULE: u32 = 1 << (RTNLGRP_IPV6_RULE - 1);
/// Most datagrams about routes that are read at once.
const ROUTE_EVENTS: usize = 32;

/// Something changed. An event says where to look; what is so now is asked then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    AddressAdded {
        interface: u32,
        address: IpAddr,
    },
    AddressRemoved {
        interface: u32,
        address: IpAddr,
    },
    /// An interface came, went, or changed its state.
    LinkChanged {
        interface: u32,
    },
    /// Events were lost: look at everything.
    Overrun,
}

/// A socket that hears of changes to interfaces and addresses.
#[derive(Debug)]
pub struct EventSocket {
    socket: OwnedFd,
    datagram: Vec<u8>,
    pending: VecDeque<Event>,
}

impl EventSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, LinkError> {
        let groups = (RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR).unsigned_abs();
        let socket = listen(groups).map_err(failed("listen to events"))?;
        setsockopt(&socket, sockopt::RcvBuf, &QUEUE_BYTES)
            .map_err(|errno| failed("size the queue of events")(errno.into()))?;
        Ok(Self {
            socket,
            datagram: vec![0; DATAGRAM_BYTES],
            pending: VecDeque::new(),
        })
    }

    /// The next event, `None` if there is none now.
    pub fn poll(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            let received = recv(
                self.socket.as_raw_fd(),
                &mut self.datagram,
                MsgFlags::MSG_DONTWAIT,
            );
            match received {
                Ok(length) => {
                    let events = Messages::of(&self.datagram[..length]).filter_map(|message| {
                        read_event(message.message_type(), message.payload())
                    });
                    self.pending.extend(events);
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return None,
                Err(Errno::ENOBUFS) => return Some(Event::Overrun),
                Err(errno) => {
                    tracing::warn!(error = %io::Error::from(errno), "network events cannot be read");
                    return None;
                }
            }
        }
    }
}

/// A socket that hears when routes and rules of ours are removed. On a machine whose routes change all
/// the time it is read little by little, and whoever lost something looks at everything.
#[derive(Debug)]
pub struct RouteWatch {
    socket: OwnedFd,
    datagram: Vec<u8>,
}

impl RouteWatch {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, LinkError> {
        let groups = (RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_RULE).unsigned_abs();
        let socket = listen(groups | IPV6_RULE).map_err(failed("listen to routes"))?;
        Ok(Self {
            socket,
            datagram: vec![0; DATAGRAM_BYTES],
        })
    }

    /// Reads some events, never many. Whether something of ours may be gone; `is_ours` is asked of each route whose
    /// place one of somebody else has taken.
    pub fn lost_any(&mut self, mut is_ours: impl FnMut(&RouteKey) -> bool) -> bool {
        let mut lost = false;
        for _ in 0..ROUTE_EVENTS {
            let received = recv(
                self.socket.as_raw_fd(),
                &mut self.datagram,
                MsgFlags::MSG_DONTWAIT,
            );
            match received {
                Ok(length) => {
                    for message in Messages::of(&self.datagram[..length]) {
                        let (kind, payload) = (message.message_type(), message.payload());
                        let replaced = foreign_replacement(kind, message.flags(), payload);
                        lost |= replaced.is_some_and(|key| is_ours(&key))
                            || tells_of_ours(kind, payload);
                    }
                }
                // ENOBUFS: events were lost.
                Err(errno) => return lost || errno == Errno::ENOBUFS,
            }
        }
        lost
    }
}

impl AsFd for EventSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

pub(super) fn read_event(kind: u16, payload: &[u8]) -> Option<Event> {
    match kind {
        RTM_NEWADDR => read_address(payload).map(|found| Event::AddressAdded {
            interface: found.interface,
            address: found.address,
        }),
        RTM_DELADDR => read_address(payload).map(|found| Event::AddressRemoved {
            interface: found.interface,
            address: found.address,
        }),
        RTM_NEWLINK | RTM_DELLINK => {
            let header = LinkHeader::parse(payload).ok()?;
            Some(Event::LinkChanged {
                interface: header.index,
            })
        }
        _ => None,
    }
}
