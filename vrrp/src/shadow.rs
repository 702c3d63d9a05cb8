//! Shadows: every VIP on `lo` of every node, always, so that the address is local whoever holds it.
//!
//! With the shadow in place sockets bound to a VIP live on when its lease goes. The node must not
//! answer ARP for a shadow, so two settings of each IPv4 VIP's interface come first and go last:
//!
//! - `arp_ignore = 1`: answer only for addresses of the interface that was asked on.
//! - `arp_announce = 2`: never name a VIP as the sender of our own ARP requests; it would draw the
//!   VIP to this node.
//!
//! The kernel takes the larger of an interface's value and that of `all` (ip-sysctl.rst); ours
//! suffice unless `all` has a larger one.
//!
//! IPv6 needs no setting: the kernel answers a neighbour solicitation for addresses of the interface
//! that was asked on, and for no others, and it solicits from the address that a packet leaves from,
//! which a deprecated one is only where somebody binds to it.
//!
//! The interfaces of VIPs with a hardware address of their own ([`crate::macvlan`]) come and go with the shadows.
//!
//! What was found is kept by the caller until it is restored: [`record`] before the first
//! [`install`], and [`remove`] at the end.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::fs;
use std::io;
use std::net::IpAddr;

use common::config::Config;
use serde::{Deserialize, Serialize};

use crate::link::{LinkError, Placement, RouteSocket};
use crate::macvlan;

/// The interface that carries the shadows.
const LOOPBACK: &str = "lo";
/// Per-interface settings of IPv4.
const SETTINGS: &str = "/proc/sys/net/ipv4/conf";
/// What the shadows need.
const NEEDED: [(&str, u8); 2] = [("arp_ignore", 1), ("arp_announce", 2)];

/// Settings as they were found, to be restored, and the VIPs whose shadows are to be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSettings {
    settings: Vec<SavedSetting>,
    #[serde(default)]
    shadows: BTreeSet<IpAddr>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedSetting {
    interface: String,
    name: String,
    found: u8,
}

/// Shadows or their settings could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// A write below `/proc/sys` failed.
    #[error("set {name} of {interface} to {value}")]
    Setting {
        interface: String,
        name: String,
        value: u8,
        #[source]
        source: io::Error,
    },
    /// Interfaces or addresses.
    #[error("change the shadows")]
    Link(#[from] LinkError),
    /// The network namespace has no `lo`.
    #[error("find the interface lo")]
    NoLoopback,
}

/// Reads the settings that [`install`] will change and changes nothing. What an earlier run found
/// and has not restored yet (`earlier`) is kept: what stands there now is ours.
pub fn record(config: &Config, earlier: Option<SavedSettings>) -> SavedSettings {
    let mut saved = earlier.unwrap_or_default();
    saved.shadows.extend(vips(config));
    for interface in interfaces(config) {
        for (name, _) in NEEDED {
            let known = saved
                .settings
                .iter()
                .any(|setting| setting.interface == interface && setting.name == name);
            if let (false, Some(found)) = (known, read(interface, name)) {
                saved.settings.push(SavedSetting {
                    interface: interface.to_owned(),
                    name: name.to_owned(),
                    found,
                });
            }
        }
    }
    saved
}

/// Makes the settings, then the shadows of all VIPs; what is there already stays. Shadows of VIPs
/// that the configuration no longer names are removed. Gives warnings for a human.
///
/// # Errors
/// The first change that the kernel refused; an interface that is missing is a warning.
pub fn install(config: &Config) -> Result<Vec<String>, ShadowError> {
    let warnings = add(config)?;
    macvlan::remove_others(config)?;
    let vips = vips(config);
    remove_shadows(&mut RouteSocket::open()?, |found| !vips.contains(&found))?;
    Ok(warnings)
}

/// The same, and leaves what is there of VIPs that the configuration does not name: somebody holds them still.
///
/// # Errors
/// As [`install`].
pub fn add(config: &Config) -> Result<Vec<String>, ShadowError> {
    let mut warnings = Vec::new();
    for interface in interfaces(config) {
        for (name, value) in NEEDED {
            match read(interface, name) {
                None => warnings.push(format!("{interface} is missing: {name} is not set on it")),
                Some(found) if found != value => write(interface, name, value)?,
                Some(_) => {}
            }
        }
    }
    warnings.extend(warn_of_all());
    for error in macvlan::install(config)? {
        let cause = error
            .source()
            .map_or_else(String::new, |cause| format!(": {cause}"));
        warnings.push(format!(
            "{error}{cause}: its VIP stays at the interface's own hardware address"
        ));
    }
    let mut route = RouteSocket::open()?;
    let loopback = route.interface(LOOPBACK)?.ok_or(ShadowError::NoLoopback)?;
    if !loopback.up {
        warnings
            .push("lo is down: connections to a VIP from this node itself will fail".to_owned());
    }
    for address in vips(config) {
        route.put_shadow(Placement {
            interface: loopback.index,
            interface_name: LOOPBACK,
            address,
        })?;
    }
    Ok(warnings)
}

/// Whose settings and shadows [`lapses`] looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A few small reads; nothing that waits for the kernel's configuration lock.
    Settings,
    /// The addresses of `lo` too.
    SettingsAndShadows,
}

/// What [`install`] has set and somebody has undone, in words: an interface that was made anew
/// has the kernel's defaults, and with them both nodes would answer ARP for every VIP. An
/// interface that is missing is no lapse.
///
/// # Errors
/// When the kernel does not tell its addresses.
pub fn lapses(config: &Config, look: Look) -> Result<Vec<String>, ShadowError> {
    let mut lapses = Vec::new();
    for interface in interfaces(config) {
        for (name, value) in NEEDED {
            if let Some(found) = read(interface, name)
                && found != value
            {
                lapses.push(format!("{name} of {interface} was {found}"));
            }
        }
    }
    if look == Look::SettingsAndShadows {
        let mut route = RouteSocket::open()?;
        let loopback = route.interface(LOOPBACK)?.ok_or(ShadowError::NoLoopback)?;
        let there: BTreeSet<IpAddr> = route
            .addresses()?
            .into_iter()
            .filter(|found| found.interface == loopback.index)
            .map(|found| found.address)
            .collect();
        let missing = vips(config).into_iter().filter(|vip| !there.contains(vip));
        lapses.extend(missing.map(|vip| format!("{vip} was missing on {LOOPBACK}")));
        let missing = macvlan::missing(config)?;
        lapses.extend(missing.iter().map(|name| format!("{name} was missing")));
    }
    Ok(lapses)
}

/// Removes our shadows, those that were recorded and those of `config`, and our macvlan interfaces, then restores the
/// settings that still have our value. `None` = the configuration cannot be read.
///
/// # Errors
/// The first change that the kernel refused. Nothing is restored while a shadow is left: it would
/// answer ARP.
pub fn remove(config: Option<&Config>, saved: &SavedSettings) -> Result<(), ShadowError> {
    let mut ours = saved.shadows.clone();
    ours.extend(config.map(vips).unwrap_or_default());
    if ours.is_empty() && saved.settings.is_empty() {
        return Ok(());
    }
    let mut route = RouteSocket::open()?;
    macvlan::remove()?;
    remove_shadows(&mut route, |found| ours.contains(&found))?;
    for setting in &saved.settings {
        let ours = NEEDED
            .iter()
            .find(|(name, _)| *name == setting.name)
            .map(|(_, value)| *value);
        let now = read(&setting.interface, &setting.name);
        if ours.is_some() && now == ours && now != Some(setting.found) {
            write(&setting.interface, &setting.name, setting.found)?;
        }
    }
    Ok(())
}

/// Removes our shadows on `lo` that are among `which`.
fn remove_shadows(
    route: &mut RouteSocket,
    which: impl Fn(IpAddr) -> bool,
) -> Result<(), ShadowError> {
    let Some(loopback) = route.interface(LOOPBACK)? else {
        return Ok(());
    };
    for found in route.addresses()? {
        let ours = found.interface == loopback.index && found.is_our_shadow(LOOPBACK);
        if ours && which(found.address) {
            route.remove(&found)?;
        }
    }
    Ok(())
}

/// Larger values than ours change what we need: from 2 on, `arp_ignore` answers no request for a
/// /32.
fn warn_of_all() -> Option<String> {
    let all = read("all", NEEDED[0].0)?;
    (all > NEEDED[0].1).then(|| {
        format!("net.ipv4.conf.all.arp_ignore is {all}: with more than 1 nobody can resolve a VIP")
    })
}

/// Those that need the settings.
fn interfaces(config: &Config) -> BTreeSet<&str> {
    config
        .live_vips()
        .filter(|(_, vip)| vip.address.is_ipv4())
        .map(|(_, vip)| vip.interface.as_str())
        .collect()
}

fn vips(config: &Config) -> BTreeSet<IpAddr> {
    config.live_vips().map(|(_, vip)| vip.address).collect()
}

fn read(interface: &str, name: &str) -> Option<u8> {
    let text = fs::read_to_string(format!("{SETTINGS}/{interface}/{name}")).ok()?;
    text.trim().parse().ok()
}

fn write(interface: &str, name: &str, value: u8) -> Result<(), ShadowError> {
    fs::write(
        format!("{SETTINGS}/{interface}/{name}"),
        format!("{value}\n"),
    )
    .map_err(|source| ShadowError::Setting {
        interface: interface.to_owned(),
        name: name.to_owned(),
        value,
        source,
    })
}
