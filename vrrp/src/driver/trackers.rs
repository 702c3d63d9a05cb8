//! Trackers in the loop: looks at what needs no waiting, and reads what admin has found.

use std::net::IpAddr;

use common::board::{ProxyBoard, TrackerSlot, TrackerState, VrrpBoard};
use common::config::{Config, Tracker, TrackerKind};
use common::time::Moment;
use common::tracker::Tally;
use std::time::Duration;

use super::Driver;
use crate::link::{Address, Event, Interface, RouteSocket};
use crate::ports::same_subnet;
use crate::socket::{QuestionSocket, ReceiveBuffer};

/// Most answers of a gateway that one look reads.
const ANSWERS: usize = 16;
/// The first question of a gateway is looked at sooner: it decides whether the node is ready.
const FIRST_ANSWER: Duration = Duration::from_millis(200);

/// The trackers that vrrp looks at itself.
#[derive(Debug)]
pub(super) struct Trackers {
    watched: Vec<Watched>,
}

/// One of them.
#[derive(Debug)]
struct Watched {
    /// In the configuration and on the board.
    place: usize,
    tally: Tally,
    next: Moment,
    /// The kernel told of a change: what is as it was does not count once more.
    hurried: bool,
    was_good: Option<bool>,
    /// Index of its interface as last seen.
    interface: Option<u32>,
    /// Asked, if it is one.
    gateway: Option<QuestionSocket>,
}

/// What a look needs.
struct Eyes<'a> {
    route: &'a mut RouteSocket,
    buffer: &'a mut ReceiveBuffer,
    proxy: &'a ProxyBoard,
    config: &'a Config,
}

/// Good or bad, in words; `None` = nothing can be said yet.
type Seen = Option<Result<String, String>>;

impl Trackers {
    /// All are due.
    pub(super) fn new(config: &Config, board: &VrrpBoard, now: Moment) -> Self {
        let own = config.live_trackers();
        let own = own.filter(|(_, tracker)| tracker.kind.is_of_vrrp());
        let watched = own.map(|(place, tracker)| Watched {
            place,
            // A successor goes on with what was found.
            tally: Tally::new((tracker.rise, tracker.fall), board.trackers[place].state()),
            next: now,
            hurried: false,
            was_good: None,
            interface: None,
            gateway: None,
        });
        Self {
            watched: watched.collect(),
        }
    }

    /// When the next look is due.
    pub(super) fn due(&self) -> Option<Moment> {
        self.watched.iter().map(|one| one.next).min()
    }

    /// Looks at once where the kernel tells of a change.
    pub(super) fn heed(&mut self, event: Event, config: &Config, now: Moment) {
        let changed = match event {
            Event::LinkChanged { interface } => Some(interface),
            Event::Overrun => None,
            Event::AddressAdded { .. } | Event::AddressRemoved { .. } => return,
        };
        for one in &mut self.watched {
            let concerned =
                changed.is_none() || one.interface.is_none() || one.interface == changed;
            let kind = &config.trackers[one.place].kind;
            if concerned && matches!(kind, TrackerKind::Interface { .. }) {
                one.next = now;
                one.hurried = true;
            }
        }
    }
}

impl Driver {
    /// Looks at what is due.
    pub(super) fn look_at_trackers(&mut self, now: Moment) {
        let mut eyes = Eyes {
            route: &mut self.route,
            buffer: &mut self.buffer,
            proxy: self.proxy,
            config: &self.config,
        };
        let due = self.trackers.watched.iter_mut();
        for one in due.filter(|one| one.next <= now) {
            let tracker = &self.config.trackers[one.place];
            one.look(tracker, &mut eyes, (&self.board.trackers[one.place], now));
        }
    }
}

impl Watched {
    fn look(
        &mut self,
        tracker: &Tracker,
        eyes: &mut Eyes<'_>,
        (slot, now): (&TrackerSlot, Moment),
    ) {
        let hurried = std::mem::take(&mut self.hurried);
        self.next = self.next + tracker.interval;
        if self.next <= now {
            self.next = now + tracker.interval;
        }
        let seen = match &tracker.kind {
            TrackerKind::Interface { interface } => self.interface(interface, eyes),
            TrackerKind::Gateway { address, interface } => {
                let asked = self.gateway.is_some();
                let seen = self.gateway((*address, interface), eyes);
                if !asked && self.gateway.is_some() {
                    self.next = now + tracker.interval.min(FIRST_ANSWER);
                }
                seen
            }
            TrackerKind::Servers { min_share } => servers(tracker, *min_share, eyes.proxy),
            // Others look at these.
            TrackerKind::File { .. } | TrackerKind::Process { .. } | TrackerKind::Script { .. } => {
                None
            }
        };
        let Some(seen) = seen else { return };
        let is_good = seen.is_ok();
        let was_good = self.was_good.replace(is_good);
        if hurried && was_good == Some(is_good) {
            return;
        }
        let words = seen.as_ref().map(String::as_str).map_err(String::as_str);
        if slot.take(&mut self.tally, words, now) {
            report(tracker, self.tally.state(), &slot.reason.get());
        }
    }

    fn interface(&mut self, name: &str, eyes: &mut Eyes<'_>) -> Seen {
        let found = eyes.route.interface(name).ok()?;
        self.interface = found.map(|found| found.index);
        Some(usable(found, name).map(|_| format!("{name} has a carrier")))
    }

    /// Whether the last question was answered; asks the next one.
    fn gateway(&mut self, (address, name): (IpAddr, &str), eyes: &mut Eyes<'_>) -> Seen {
        let found = match usable(eyes.route.interface(name).ok()?, name) {
            Ok(found) => found,
            Err(trouble) => {
                self.gateway = None;
                return Some(Err(trouble));
            }
        };
        let moved = self.interface.replace(found.index) != Some(found.index);
        let seen = match self.gateway.take().filter(|_| !moved) {
            Some(gateway) if gateway.has_answered(eyes.buffer, ANSWERS) => {
                self.gateway = Some(gateway);
                Some(Ok(format!("{address} answers on {name}")))
            }
            // What we ask from may be another one now.
            Some(_) => Some(Err(format!("{address} does not answer on {name}"))),
            None => None,
        };
        if self.gateway.is_none() {
            match open_gateway(found, address, eyes) {
                Ok(gateway) => self.gateway = gateway,
                Err(error) => return Some(Err(format!("no socket on {name}: {error}"))),
            }
        }
        match &self.gateway {
            None => Some(Err(format!("{name} has no address to ask from"))),
            Some(gateway) => match gateway.ask(None) {
                Ok(()) => seen,
                Err(error) => Some(Err(format!("{name} takes no question: {error}"))),
            },
        }
    }
}

/// `None` = this node has no address there.
fn open_gateway(
    found: Interface,
    address: IpAddr,
    eyes: &mut Eyes<'_>,
) -> std::io::Result<Option<QuestionSocket>> {
    let addresses = eyes.route.addresses().map_err(std::io::Error::other)?;
    let own = own_address(found.index, address, &addresses, eyes.config);
    own.map(|own| QuestionSocket::open((found.index, found.mac), own, address))
        .transpose()
}

/// The address from which the gateway is asked: one of its subnet, or any of its family; never a VIP, which the
/// other node may hold.
fn own_address(
    interface: u32,
    gateway: IpAddr,
    addresses: &[Address],
    config: &Config,
) -> Option<IpAddr> {
    let is_vip = |address| config.vip_at(address).is_some();
    let own = addresses.iter().filter(|found| {
        found.interface == interface
            && found.settled
            && found.address.is_ipv4() == gateway.is_ipv4()
            && !is_vip(found.address)
    });
    let best = own.max_by_key(|found| same_subnet(found.address, gateway, found.prefix_len));
    best.map(|found| found.address)
}

fn usable(found: Option<Interface>, name: &str) -> Result<Interface, String> {
    match found {
        None => Err(format!("{name} is missing")),
        Some(found) if !found.up => Err(format!("{name} is switched off")),
        Some(found) if !found.carrier => Err(format!("{name} has no carrier")),
        Some(found) => Ok(found),
    }
}

/// The smallest share over the VIPs that it concerns.
fn servers(tracker: &Tracker, min_share: u8, proxy: &ProxyBoard) -> Seen {
    if proxy.probed.get() == 0 {
        return None;
    }
    let shares = tracker.vips.iter().map(|vip| proxy.vip_health[vip.0].get());
    let share = shares.min()?.min(100);
    let words = format!("{share} % of the servers are usable");
    Some(if share >= u64::from(min_share) {
        Ok(words)
    } else {
        Err(words)
    })
}

fn report(tracker: &Tracker, state: TrackerState, words: &str) {
    let (tracker, kind) = (&tracker.name, tracker.kind.word());
    match state {
        TrackerState::Down => tracing::warn!(tracker, kind, words, "a tracker is down"),
        TrackerState::Up | TrackerState::Unknown => {
            tracing::info!(tracker, kind, words, "a tracker is up");
        }
    }
}
