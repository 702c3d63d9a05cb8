//! The program in the kernel, and the tables that it reads.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use aya::maps::{HashMap, IterableMap as _, Map, MapData, MapError, PerCpuArray};
use aya::programs::{ProgramError, SchedClassifier};
use aya::{Btf, BtfError, EbpfError, EbpfLoader, include_bytes_aligned};
use common::config::VipIndex;
use nix::libc;

use crate::{Cause, Count};

const OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/program.o"));
/// Largest and smallest window that the program reckons with. A receive window is below 1 GiB (RFC 7323, section 2.3),
/// and below 16 MiB nobody's settings are that unusual.
const WINDOW: std::ops::RangeInclusive<u32> = 1 << 24..=1 << 30;
/// What a receive buffer and a send buffer may grow to, the last number of three, in bytes: so far ahead of what is
/// acknowledged may either side be.
const BUFFERS: [&str; 2] = ["/proc/sys/net/ipv4/tcp_rmem", "/proc/sys/net/ipv4/tcp_wmem"];

/// The kernel does not take the program.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("read the kernel's own types (/sys/kernel/btf/vmlinux)")]
    Types(#[source] BtfError),
    #[error("not permitted: it takes CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")]
    NotPermitted,
    #[error("make the maps of the TC program")]
    Maps(#[source] EbpfError),
    /// Its verifier has found something; the last line of what it said.
    #[error("load the TC program: {verdict}")]
    Refused {
        verdict: String,
        #[source]
        source: io::Error,
    },
    #[error("load the TC program")]
    Program(#[source] ProgramError),
    #[error("open the TC program's maps")]
    Tables(#[source] MapError),
    #[error("keep the TC program's descriptor")]
    Descriptor(#[source] io::Error),
}

/// A table of the program could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct TableError {
    what: &'static str,
    #[source]
    source: MapError,
}

/// How a frame that came to an interface gets to the other node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The other node's hardware address.
    pub peer: [u8; 6],
    /// This node's own one, that forwarded frames come from.
    pub own: [u8; 6],
    /// Index of the interface that they leave by.
    pub way: u32,
}

/// The loaded program. It is in use as long as it is attached somewhere, whether this value lives or not.
#[derive(Debug)]
pub struct Program {
    descriptor: OwnedFd,
    /// See `struct listener` of the program; the value is the VIP.
    listeners: HashMap<MapData, [u8; 20], u32>,
    /// By index of the interface; see `struct link` of the program.
    links: HashMap<MapData, u32, [u8; 16]>,
    /// By [`Cause`]: packets and bytes, for each processor.
    counts: Map,
    state: MapData,
}

impl Program {
    /// Place of the board's map among the parts.
    pub const STATE: usize = 4;

    /// Loads it, with empty tables. Needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; CAP_PERFMON for this alone.
    ///
    /// # Errors
    /// If a capability is missing or the kernel does not take it.
    pub fn load() -> Result<Self, LoadError> {
        let types = Btf::from_sys_fs().map_err(LoadError::Types)?;
        let window = window();
        let mut object = EbpfLoader::new()
            .btf(Some(&types))
            .override_global("WINDOW", &window, true)
            .load(OBJECT)
            .map_err(LoadError::of_object)?;
        let program: &mut SchedClassifier = object
            .program_mut("flow_forward")
            .expect("the object has this program")
            .try_into()
            .map_err(LoadError::Program)?;
        program.load().map_err(LoadError::of_program)?;
        let descriptor = program
            .fd()
            .map_err(LoadError::Program)?
            .as_fd()
            .try_clone_to_owned()
            .map_err(LoadError::Descriptor)?;
        let mut map = |name| object.take_map(name).expect("the object has this map");
        let Map::Array(state) = map("state") else {
            unreachable!("the program's state is an array");
        };
        Ok(Self {
            descriptor,
            listeners: map("listeners").try_into().map_err(LoadError::Tables)?,
            links: map("links").try_into().map_err(LoadError::Tables)?,
            counts: map("counts"),
            state,
        })
    }

    /// What outlives this process in another one that keeps it, in an order that never changes: the program itself, its
    /// listeners, links, counters, and at [`Program::STATE`] the map for [`crate::map_state`].
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn parts(&self) -> io::Result<[OwnedFd; 5]> {
        let copy = |map: &MapData| map.fd().as_fd().try_clone_to_owned();
        let Map::PerCpuArray(counts) = &self.counts else {
            unreachable!("the program counts for each processor");
        };
        let (listeners, links) = (self.listeners.map(), self.links.map());
        Ok([
            self.descriptor.try_clone()?,
            copy(listeners)?,
            copy(links)?,
            copy(counts)?,
            copy(&self.state)?,
        ])
    }

    /// The program of an earlier process.
    ///
    /// # Errors
    /// If these are not its parts.
    pub fn from_parts(parts: [OwnedFd; 5]) -> Result<Self, LoadError> {
        let [descriptor, listeners, links, counts, state] = parts;
        let map = |fd| MapData::from_fd(fd).map_err(LoadError::Tables);
        let hash = |fd| map(fd).map(Map::HashMap);
        Ok(Self {
            descriptor,
            listeners: hash(listeners)?.try_into().map_err(LoadError::Tables)?,
            links: hash(links)?.try_into().map_err(LoadError::Tables)?,
            counts: Map::PerCpuArray(map(counts)?),
            state: map(state)?,
        })
    }

    /// Whether it is the same program as another one, with tables of the same shape.
    ///
    /// # Errors
    /// If the kernel does not say what they are.
    pub fn is_like(&self, other: &Self) -> io::Result<bool> {
        let shapes = |program: &Self| program.parts()?.iter().map(shape).collect();
        let (own, others): (io::Result<Vec<String>>, io::Result<Vec<String>>) =
            (shapes(self), shapes(other));
        Ok(own? == others?)
    }

    /// Goes on where an earlier program is: with what that knows of the other node, its counts, and all that vrrp has
    /// said. What is listened to is told anew.
    ///
    /// # Errors
    /// If its tables are of another shape: then this one begins with what could be read.
    pub fn succeed(&mut self, earlier: &Self) -> Result<(), TableError> {
        let failed = |source| TableError {
            what: "copy the earlier TC program's tables",
            source,
        };
        for link in earlier.links.iter() {
            let (interface, link) = link.map_err(failed)?;
            self.links.insert(interface, link, 0).map_err(failed)?;
        }
        let of_earlier = PerCpuArray::<_, [u64; 2]>::try_from(&earlier.counts).map_err(failed)?;
        let mut own = PerCpuArray::<_, [u64; 2]>::try_from(&mut self.counts).map_err(failed)?;
        for cause in Cause::ALL {
            let counted = of_earlier.get(&(cause as u32), 0).map_err(failed)?;
            own.set(cause as u32, counted, 0).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes these the addresses and ports whose segments are judged, each of a VIP; what stays is never missing.
    ///
    /// # Errors
    /// If the kernel refuses, as when there are more than 8,192 of them, their addresses counted as well.
    pub fn set_listeners(&mut self, wanted: &[(SocketAddr, VipIndex)]) -> Result<(), TableError> {
        let failed = |source| TableError {
            what: "tell the TC program what is listened to",
            source,
        };
        let wanted: BTreeMap<[u8; 20], u32> = wanted
            .iter()
            .flat_map(|(address, vip)| {
                let keys = [address_key(address.ip()), listener_key(*address)];
                keys.map(|key| (key, vip.0 as u32))
            })
            .collect();
        for (key, vip) in &wanted {
            self.listeners.insert(key, vip, 0).map_err(failed)?;
        }
        let present: Vec<[u8; 20]> = self
            .listeners
            .keys()
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        for key in present {
            if !wanted.contains_key(&key) {
                self.listeners.remove(&key).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Where the other node is behind the interface with this index. Without it the program does nothing there.
    ///
    /// # Errors
    /// If the kernel refuses, as when there are more than 64 interfaces.
    pub fn set_link(&mut self, interface: u32, link: Link) -> Result<(), TableError> {
        let mut value = [0; 16];
        let (macs, way) = value.split_at_mut(12);
        macs[..6].copy_from_slice(&link.peer);
        macs[6..].copy_from_slice(&link.own);
        way.copy_from_slice(&link.way.to_ne_bytes());
        self.links
            .insert(interface, value, 0)
            .map_err(|source| TableError {
                what: "tell the TC program where the other node is",
                source,
            })
    }

    /// What was counted since the program was loaded, over all processors.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn counts(&self) -> Result<[(Cause, Count); Cause::ALL.len()], TableError> {
        let failed = |source| TableError {
            what: "read the TC program's counters",
            source,
        };
        let table = PerCpuArray::<_, [u64; 2]>::try_from(&self.counts).map_err(failed)?;
        let mut counts = Cause::ALL.map(|cause| (cause, Count::default()));
        for (cause, count) in &mut counts {
            let processors = table.get(&(*cause as u32), 0).map_err(failed)?;
            for [packets, bytes] in processors.iter() {
                count.packets += packets;
                count.bytes += bytes;
            }
        }
        Ok(counts)
    }

    /// The map to give to [`crate::map_state`].
    pub fn state(&self) -> BorrowedFd<'_> {
        self.state.fd().as_fd()
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl LoadError {
    fn of_object(error: EbpfError) -> Self {
        if is_forbidden(&error) {
            Self::NotPermitted
        } else {
            Self::Maps(error)
        }
    }

    fn of_program(error: ProgramError) -> Self {
        let ProgramError::LoadError {
            io_error,
            verifier_log,
        } = error
        else {
            return Self::Program(error);
        };
        if io_error.raw_os_error() == Some(libc::EPERM) {
            return Self::NotPermitted;
        }
        let log = verifier_log.to_string();
        // The last line is its statistics.
        let mut lines = log.lines().filter(|line| !line.starts_with("processed "));
        Self::Refused {
            verdict: lines.next_back().unwrap_or_default().to_owned(),
            source: io_error,
        }
    }
}

/// Whether a missing right is at the bottom of it; the verifier's refusal is EACCES.
fn is_forbidden(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.and_then(io::Error::raw_os_error) == Some(libc::EPERM)
    })
}

/// See `struct listener` of the program.
fn listener_key(address: SocketAddr) -> [u8; 20] {
    let mut key = [0; 20];
    let v6 = match address.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    key[..16].copy_from_slice(&v6.octets());
    key[16..18].copy_from_slice(&address.port().to_be_bytes());
    key
}

/// That the address is listened to, whatever the port.
fn address_key(address: IpAddr) -> [u8; 20] {
    let mut key = listener_key((address, 0).into());
    key[18..].copy_from_slice(&1_u16.to_ne_bytes());
    key
}

/// What the kernel says of a program (its tag is a hash of the instructions) or of a map.
fn shape(part: &OwnedFd) -> io::Result<String> {
    const TELLING: [&str; 5] = [
        "prog_tag:",
        "map_type:",
        "key_size:",
        "value_size:",
        "max_entries:",
    ];
    let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", part.as_raw_fd()))?;
    let telling = facts
        .lines()
        .filter(|line| TELLING.iter().any(|start| line.starts_with(start)));
    Ok(telling.collect::<Vec<_>>().join(" "))
}

fn window() -> u32 {
    let settings = BUFFERS.map(|path| std::fs::read_to_string(path).unwrap_or_default());
    window_of(settings.each_ref().map(String::as_str))
}

/// As the settings of the two buffers have it.
fn window_of(settings: [&str; 2]) -> u32 {
    let largest = settings
        .into_iter()
        .filter_map(|text| text.split_whitespace().last()?.parse().ok());
    largest
        .max()
        .unwrap_or(*WINDOW.start())
        .clamp(*WINDOW.start(), *WINDOW.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_may_be_as_far_away_as_the_larger_buffer_lets_it() {
        let usual = "4096\t131072\t6291456\n";
        let large = "4096\t65536\t67108864\n";
        for (settings, window) in [
            ([usual, usual], 1 << 24),
            ([large, usual], 1 << 26),
            ([usual, large], 1 << 26),
            (["", large], 1 << 26),
            (["", ""], 1 << 24),
            (["4096 131072 2147483647", usual], 1 << 30),
        ] {
            assert_eq!(window_of(settings), window, "{settings:?}");
        }
    }
}
