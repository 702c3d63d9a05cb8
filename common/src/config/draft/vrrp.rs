//! Nodes, pair and VIPs while they are checked.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{RoutesDraft, byte};
use crate::addr::Family;
use crate::config::diagnostic::{Findings, Span};
use crate::config::nearest::remedy_for_name;
use crate::config::value::{At, Value, Values};
use crate::config::{
    ChecksumForm, MAX_NODES, Runs, Signing, SilentTakeover, Transport, VirtualMac, VrrpVersion,
};

#[derive(Debug)]
pub(in crate::config) struct NodeDraft {
    pub(in crate::config) name: At<String>,
    pub(in crate::config) address: Option<At<IpAddr>>,
    pub(in crate::config) link_local: Option<At<Ipv6Addr>>,
    pub(in crate::config) priority: Option<At<u8>>,
    pub(in crate::config) runs: Option<At<Runs>>,
}

#[derive(Debug)]
pub(in crate::config) struct PairDraft {
    pub(in crate::config) header: Span,
    pub(in crate::config) interface: Option<At<String>>,
    pub(in crate::config) key_file: Option<At<PathBuf>>,
    pub(in crate::config) signing: Option<At<Signing>>,
    pub(in crate::config) heartbeat: Option<At<Option<Duration>>>,
    pub(in crate::config) silent_takeover: Option<At<SilentTakeover>>,
    pub(in crate::config) port: Option<At<u16>>,
}

#[derive(Debug)]
pub(in crate::config) struct VipDraft {
    pub(in crate::config) name: At<String>,
    pub(in crate::config) address: Option<At<IpNet>>,
    pub(in crate::config) link_local: Option<At<Ipv6Addr>>,
    pub(in crate::config) vrid: Option<At<u8>>,
    pub(in crate::config) interface: Option<At<String>>,
    /// In the order of the nodes.
    pub(in crate::config) priorities: Vec<Option<At<u8>>>,
    pub(in crate::config) advert_interval: Option<At<Duration>>,
    pub(in crate::config) preempt: Option<At<bool>>,
    pub(in crate::config) preempt_delay: Option<At<Duration>>,
    pub(in crate::config) transport: Option<Transport>,
    pub(in crate::config) checksum: Option<At<ChecksumForm>>,
    pub(in crate::config) version: Option<At<u64>>,
    pub(in crate::config) auth_pass: Option<At<String>>,
    pub(in crate::config) virtual_mac: Option<At<VirtualMac>>,
    pub(in crate::config) routes: RoutesDraft,
}

impl NodeDraft {
    pub(super) fn of(name: &At<String>, values: &Values) -> Self {
        Self {
            name: name.clone(),
            address: values.get("address"),
            link_local: values.get("link_local"),
            priority: values.get("priority").and_then(byte),
            runs: values.get::<&str>("runs").map(|word| {
                word.with(match word.value {
                    "keepalived" => Runs::Keepalived,
                    _ => Runs::FmcLb,
                })
            }),
        }
    }

    /// Whether fmc-lb runs there.
    pub(in crate::config) fn is_ours(&self) -> bool {
        self.runs
            .as_ref()
            .is_none_or(|runs| runs.value == Runs::FmcLb)
    }
}

impl PairDraft {
    pub(super) fn of(values: &Values) -> Self {
        Self {
            header: values.header,
            interface: values.get("interface"),
            key_file: values.get("key_file"),
            signing: values.get::<&str>("signing").and_then(|word| {
                let (_, signing) = Signing::WORDS
                    .iter()
                    .find(|(name, _)| *name == word.value)?;
                Some(word.with(*signing))
            }),
            heartbeat: values.get("heartbeat"),
            silent_takeover: values.get::<&str>("silent_takeover").and_then(|word| {
                let (_, when) = SilentTakeover::WORDS
                    .iter()
                    .find(|(name, _)| *name == word.value)?;
                Some(word.with(*when))
            }),
            port: values
                .get::<u64>("port")
                .and_then(|port| u16::try_from(port.value).ok().map(|value| port.with(value))),
        }
    }
}

impl PairDraft {
    /// As the file says, or the default between these nodes.
    pub(in crate::config) fn signing(&self, nodes: &[NodeDraft]) -> Signing {
        let ours = nodes.iter().filter(|node| node.is_ours()).count();
        match &self.signing {
            Some(signing) => signing.value,
            None if self.key_file.is_none() => Signing::Off,
            None if ours == MAX_NODES => Signing::Enforce,
            // Keepalived may not know signatures; a node that has left it behind may send some.
            None => Signing::ReceiveOnly,
        }
    }
}

impl VipDraft {
    pub(super) fn of(name: &At<String>, values: &Values, vrrp: &Values) -> Self {
        let word = |key: &str| values.get::<&str>(key).or_else(|| vrrp.get(key));
        let address: Option<At<IpNet>> = values.get("address");
        // IPv6 has no version with passwords that one could have meant, and one form of checksums.
        let is_v4 = address.as_ref().is_none_or(|at| at.value.addr().is_ipv4());
        let of_v4 = |key: &str| {
            values
                .get::<String>(key)
                .or_else(|| vrrp.get(key).filter(|_| is_v4))
        };
        let checksum = values.get::<&str>("checksum");
        let checksum = checksum.or_else(|| vrrp.get("checksum").filter(|_| is_v4));
        Self {
            name: name.clone(),
            address,
            link_local: values.get("link_local"),
            vrid: values.get("vrid").and_then(byte),
            interface: values.get("interface"),
            priorities: Vec::new(),
            advert_interval: values
                .get("advert_interval")
                .or_else(|| vrrp.get("advert_interval")),
            preempt: values.get("preempt").or_else(|| vrrp.get("preempt")),
            preempt_delay: values
                .get("preempt_delay")
                .or_else(|| vrrp.get("preempt_delay")),
            transport: word("transport").map(|word| match word.value {
                "unicast" => Transport::Unicast,
                _ => Transport::Multicast,
            }),
            version: values.get("version").or_else(|| vrrp.get("version")),
            auth_pass: of_v4("auth_pass"),
            virtual_mac: word("virtual_mac").and_then(|word| {
                let (_, when) = VirtualMac::WORDS
                    .iter()
                    .find(|(name, _)| *name == word.value)?;
                Some(word.with(*when))
            }),
            routes: RoutesDraft::of(values),
            checksum: checksum.map(|word| {
                word.with(match word.value {
                    "message" => ChecksumForm::Message,
                    _ => ChecksumForm::Pseudo,
                })
            }),
        }
    }
}

impl VipDraft {
    pub(in crate::config) fn family(&self) -> Option<Family> {
        let address = self.address.as_ref()?;
        Some(Family::of(address.value.addr()))
    }

    /// What stands first in the adverts of an IPv6 VIP: as the file says, or the address that a host
    /// with the virtual router's hardware address, 00:00:5e:00:02:VRID, would give itself (RFC 9568,
    /// section 7.3; RFC 4291, appendix A). So each virtual router has another one, and no machine has
    /// it.
    pub(in crate::config) fn first_in_adverts(&self) -> Option<Ipv6Addr> {
        let vrid = u16::from(self.vrid.as_ref()?.value);
        let derived = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0200, 0x5eff, 0xfe00, 0x0200 | vrid);
        match self.family()? {
            Family::V4 => None,
            Family::V6 => Some(self.link_local.as_ref().map_or(derived, |at| at.value)),
        }
    }

    pub(in crate::config) fn is_v2(&self) -> bool {
        self.version.as_ref().is_some_and(|at| at.value == 2)
    }

    /// What it speaks.
    pub(in crate::config) fn spoken(&self) -> VrrpVersion {
        if !self.is_v2() {
            return VrrpVersion::V3;
        }
        let pass = self.auth_pass.as_ref().map(|at| {
            let mut pass = [0; 8];
            for (byte, place) in at.value.bytes().zip(&mut pass) {
                *place = byte;
            }
            pass
        });
        VrrpVersion::V2 { pass }
    }
}

pub(super) fn priorities(
    values: &Values,
    nodes: &[NodeDraft],
    findings: &mut Findings,
) -> Vec<Option<At<u8>>> {
    let own = values
        .get::<Vec<(At<String>, At<Value>)>>("priority")
        .map_or_else(Vec::new, |by_node| by_node.value);
    for (name, _) in &own {
        if nodes.iter().all(|node| node.name.value != name.value) {
            let names = nodes.iter().map(|node| node.name.value.as_str());
            findings.error(
                name.span,
                format!("there is no node `{}`", name.value),
                remedy_for_name("nodes", &name.value, names),
            );
        }
    }
    nodes
        .iter()
        .map(|node| {
            let found = own.iter().find(|(name, _)| name.value == node.name.value);
            match found {
                Some((_, at)) => {
                    if let Value::Integer(number) = at.value {
                        byte(at.with(number))
                    } else {
                        None
                    }
                }
                None => node.priority.clone(),
            }
        })
        .collect()
}
