//! Who holds a VIP: the address on `eth0` or on an interface on it, asked of each node's kernel (the shadow on `lo` does
//! not count).

use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::frr::DEVICES;
use crate::{Lab, Node, limits};

/// Groups of changes of links and of addresses, IPv4 and IPv6, rtnetlink(7).
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// The kernel is asked at least this often, whatever it announces.
const SAMPLE: u16 = 10;

/// The load balancers that have the VIP on `eth0` at this moment.
pub fn holders(lab: &Lab, vip: impl Into<IpAddr>) -> Vec<Node> {
    let vip = vip.into();
    Node::LBS
        .into_iter()
        .filter(|node| lab.run_in(*node, || holds(vip)))
        .collect()
}

/// The only load balancer that has the VIP on `eth0`.
pub fn holder(lab: &Lab, vip: impl Into<IpAddr>) -> Option<Node> {
    match holders(lab, vip).as_slice() {
        [only] => Some(*only),
        _ => None,
    }
}

/// Whether a load balancer has the VIP on `eth0`.
pub fn is_holder(lab: &Lab, node: Node, vip: impl Into<IpAddr>) -> bool {
    let vip = vip.into();
    lab.run_in(node, || holds(vip))
}

/// Whether the calling thread's namespace has the address on another interface than `lo`.
fn holds(vip: IpAddr) -> bool {
    let Ok(entries) = getifaddrs() else {
        return false;
    };
    entries
        .filter(|entry| !is_loopback(&entry.interface_name) && !is_silent(entry))
        .filter_map(|entry| entry.address)
        .any(|address| {
            let v4 = address.as_sockaddr_in().map(|found| found.ip().into());
            let v6 = address.as_sockaddr_in6().map(|found| found.ip().into());
            v4.or(v6) == Some(vip)
        })
}

/// FRR leaves its addresses where they are, on devices that it switches off while it is no master.
fn is_silent(entry: &InterfaceAddress) -> bool {
    DEVICES.contains(&entry.interface_name.as_str())
        && !entry.flags.contains(InterfaceFlags::IFF_RUNNING)
}

/// The name comes from the address's label, which may go on after a colon.
fn is_loopback(name: &str) -> bool {
    name.split(':').next() == Some("lo")
}

/// A change: from then on a node held the VIP or did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// When it was seen.
    pub at: Instant,
    /// On which node.
    pub node: Node,
    /// Whether it then held the VIP.
    pub holds: bool,
}

/// A time during which the same nodes held the VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// When it began.
    pub from: Instant,
    /// When it ended.
    pub to: Instant,
    /// The holders; empty = none.
    pub holders: Vec<Node>,
}

/// Records who holds a VIP, by the kernel's own announcements and a sample each 10 ms. Dropping it stops it.
#[derive(Debug)]
pub struct LeaseWatch {
    changes: Arc<Mutex<Vec<Change>>>,
    started: Instant,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl LeaseWatch {
    /// Starts watching a VIP on both load balancers.
    ///
    /// # Errors
    /// When a thread cannot be made.
    pub fn start(lab: &Lab, vip: impl Into<IpAddr>) -> Result<Self> {
        let vip = vip.into();
        let changes = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut watch = Self {
            changes,
            started: Instant::now(),
            stop,
            threads: Vec::new(),
        };
        for node in Node::LBS {
            let (shared, ending) = (Arc::clone(&watch.changes), Arc::clone(&watch.stop));
            let thread =
                lab.spawn_in(node, "lease", move || follow(node, vip, &shared, &ending))?;
            watch.threads.push(thread);
        }
        Ok(watch)
    }

    /// Every change so far, in order.
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = self
            .changes
            .lock()
            .expect("nothing panics while it holds the list")
            .clone();
        changes.sort_by_key(|change| change.at);
        changes
    }

    /// The whole time since the start, cut where the holders changed.
    pub fn intervals(&self) -> Vec<Interval> {
        intervals(&self.changes(), self.started, Instant::now())
    }

    /// How long both held it since an instant, all such times together.
    pub fn both(&self, since: Instant) -> Duration {
        self.total(since, 2)
    }

    /// How long nobody held it since an instant, all such times together.
    pub fn none(&self, since: Instant) -> Duration {
        self.total(since, 0)
    }

    fn total(&self, since: Instant, holders: usize) -> Duration {
        self.intervals()
            .iter()
            .filter(|interval| interval.holders.len() == holders)
            .map(|interval| {
                interval
                    .to
                    .saturating_duration_since(interval.from.max(since))
            })
            .sum()
    }
}

impl Drop for LeaseWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A watch that failed shows as changes that do not come.
            drop(thread.join());
        }
    }
}

fn follow(node: Node, vip: IpAddr, changes: &Mutex<Vec<Change>>, stop: &AtomicBool) -> Result<()> {
    limits::real_time();
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkRoute,
    )
    .context("open a netlink socket")?;
    bind(netlink.as_raw_fd(), &NetlinkAddr::new(0, GROUPS)).context("subscribe to changes")?;
    let mut held = false;
    let mut buffer = vec![0; 16_384];
    while !stop.load(Ordering::Relaxed) {
        let now_held = holds(vip);
        if now_held != held {
            held = now_held;
            let change = Change {
                at: Instant::now(),
                node,
                holds: held,
            };
            changes
                .lock()
                .expect("nothing panics while it holds the list")
                .push(change);
        }
        let mut set = [PollFd::new(netlink.as_fd(), PollFlags::POLLIN)];
        // An interrupted wait is a sample too many, nothing else.
        let _ = poll(&mut set, PollTimeout::from(SAMPLE));
        // What it says does not matter, only that it said something; bounded by what is queued.
        for _ in 0..64 {
            if recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).is_err() {
                break;
            }
        }
    }
    Ok(())
}

fn intervals(changes: &[Change], started: Instant, ended: Instant) -> Vec<Interval> {
    let mut holders: Vec<Node> = Vec::new();
    let mut from = started;
    let mut intervals = Vec::new();
    for change in changes {
        intervals.push(Interval {
            from,
            to: change.at,
            holders: holders.clone(),
        });
        from = change.at;
        holders.retain(|node| *node != change.node);
        if change.holds {
            holders.push(change.node);
        }
    }
    intervals.push(Interval {
        from,
        to: ended,
        holders,
    });
    intervals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_become_intervals() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let changes = [
            Change {
                at: at(10),
                node: Node::Lb1,
                holds: true,
            },
            Change {
                at: at(20),
                node: Node::Lb2,
                holds: true,
            },
            Change {
                at: at(25),
                node: Node::Lb1,
                holds: false,
            },
        ];
        let found = intervals(&changes, start, at(30));
        let holders: Vec<_> = found
            .iter()
            .map(|interval| interval.holders.clone())
            .collect();
        assert_eq!(
            holders,
            [
                vec![],
                vec![Node::Lb1],
                vec![Node::Lb1, Node::Lb2],
                vec![Node::Lb2]
            ]
        );
        assert_eq!(found[2].to - found[2].from, Duration::from_millis(5));
    }
}
