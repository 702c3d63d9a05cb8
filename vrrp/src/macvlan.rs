//! The interfaces of VIPs that are reached at the hardware address of their virtual router: a macvlan on the VIP's
//! interface for each of them, there on both nodes, and switched on by the one that holds the VIP alone. Frames to that
//! address reach nobody else, and no switch hears of it from a backup.
//!
//! - IPv4: `arp_ignore = 1` and `arp_announce = 2` as on every interface of a VIP ([`crate::shadow`]), and
//!   `rp_filter = 2`, since answers leave by the interface below (RFC 3704, section 2.4). IPv6 is switched off.
//! - IPv6: no link-local address, no router advertisements, no duplicate detection: nothing leaves by it but what the
//!   VIP answers.

use std::fs;
use std::io;
use std::path::Path;

use common::addr::Family;
use common::config::{Config, Vip};

use crate::link::{LinkError, Macvlan, RouteSocket};

/// Per-interface settings.
const SETTINGS: &str = "/proc/sys/net";
const V4: [(&str, &str); 4] = [
    ("ipv6", "disable_ipv6=1"),
    ("ipv4", "arp_ignore=1"),
    ("ipv4", "arp_announce=2"),
    ("ipv4", "rp_filter=2"),
];
const V6: [(&str, &str); 5] = [
    ("ipv6", "addr_gen_mode=1"),
    ("ipv6", "accept_ra=0"),
    ("ipv6", "accept_dad=0"),
    ("ipv6", "router_solicitations=0"),
    ("ipv6", "disable_ipv6=0"),
];

/// One of them could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MacvlanError {
    #[error("make the interface {name} with the hardware address of a virtual router")]
    Link {
        name: String,
        #[source]
        source: LinkError,
    },
    #[error("set {setting} of {name}")]
    Setting {
        name: String,
        setting: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Makes those that are missing, and anew those that are there otherwise than the configuration has them. What could
/// not be made comes back: its VIP stays at the hardware address of its interface.
///
/// # Errors
/// If the kernel does not tell its interfaces.
pub(crate) fn install(config: &Config) -> Result<Vec<MacvlanError>, LinkError> {
    if config.vips.iter().all(|vip| vip.macvlan().is_none()) {
        return Ok(Vec::new());
    }
    let mut route = RouteSocket::open()?;
    let wanted = wanted(config, &mut route)?;
    let there = route.macvlans()?;
    for found in &there {
        let is_named = wanted.iter().any(|(name, ..)| *name == found.name);
        if is_named && !wanted.iter().any(|one| fits(found, one)) {
            route.remove_macvlan(found)?;
        }
    }
    let missing = wanted
        .iter()
        .filter(|one| !there.iter().any(|found| fits(found, one)));
    Ok(missing
        .filter_map(|(name, parent, vip)| make(&mut route, name, *parent, vip).err())
        .collect())
}

/// Removes those that the configuration does not name.
///
/// # Errors
/// The first one that the kernel refused to remove, or it does not tell its interfaces.
pub(crate) fn remove_others(config: &Config) -> Result<(), LinkError> {
    let mut route = RouteSocket::open()?;
    let wanted = wanted(config, &mut route)?;
    for found in route.macvlans()? {
        if !wanted.iter().any(|one| fits(&found, one)) {
            route.remove_macvlan(&found)?;
        }
    }
    Ok(())
}

/// By name and index of the interface below; that is there.
type Wanted<'a> = (String, u32, &'a Vip);

fn wanted<'a>(config: &'a Config, route: &mut RouteSocket) -> Result<Vec<Wanted<'a>>, LinkError> {
    let mut wanted = Vec::new();
    for vip in &config.vips {
        if let Some(name) = vip.macvlan()
            && let Some(parent) = route.interface(&vip.interface)?
        {
            wanted.push((name, parent.index, vip));
        }
    }
    Ok(wanted)
}

fn fits(found: &Macvlan, (name, parent, vip): &Wanted<'_>) -> bool {
    found.name == *name
        && found.interface.parent == *parent
        && found.interface.mac == vip.router_mac().0
}

/// Those that are missing, by name: of VIPs whose own interface is there.
///
/// # Errors
/// If the kernel does not tell its interfaces.
pub(crate) fn missing(config: &Config) -> Result<Vec<String>, LinkError> {
    let mut missing = Vec::new();
    let mut names = config
        .vips
        .iter()
        .filter_map(|vip| Some((vip, vip.macvlan()?)))
        .peekable();
    if names.peek().is_none() {
        return Ok(missing);
    }
    let mut route = RouteSocket::open()?;
    for (vip, name) in names {
        if route.interface(&vip.interface)?.is_some() && route.interface(&name)?.is_none() {
            missing.push(name);
        }
    }
    Ok(missing)
}

/// Removes all of them.
///
/// # Errors
/// The first one that the kernel refused to remove.
pub(crate) fn remove() -> Result<(), LinkError> {
    let mut route = RouteSocket::open()?;
    for found in route.macvlans()? {
        route.remove_macvlan(&found)?;
    }
    Ok(())
}

fn make(route: &mut RouteSocket, name: &str, parent: u32, vip: &Vip) -> Result<(), MacvlanError> {
    let link = |source| MacvlanError::Link {
        name: name.to_owned(),
        source,
    };
    route
        .make_macvlan(name, parent, vip.router_mac().0)
        .map_err(link)?;
    let set = set_all(name, vip.family());
    if set.is_err() {
        // With the kernel's own settings it would answer for every address of this machine.
        for found in route.macvlans().map_err(link)? {
            if found.name == name {
                route.remove_macvlan(&found).map_err(link)?;
            }
        }
    }
    set
}

fn set_all(name: &str, family: Family) -> Result<(), MacvlanError> {
    let settings: &[_] = match family {
        Family::V4 => &V4,
        Family::V6 => &V6,
    };
    for (family, setting) in settings {
        set(name, family, setting).map_err(|source| MacvlanError::Setting {
            name: name.to_owned(),
            setting,
            source,
        })?;
    }
    Ok(())
}

/// `setting` as `name=value`. A kernel without IPv6 has nothing to switch off there.
fn set(interface: &str, family: &str, setting: &str) -> io::Result<()> {
    let all = Path::new(SETTINGS).join(family).join("conf");
    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
    if !all.exists() {
        return Ok(());
    }
    fs::write(all.join(interface).join(name), format!("{value}\n"))
}
