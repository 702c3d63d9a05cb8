//! The virtual IPs and their election.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::addr::Family;
use crate::config::diagnostic::Findings;
use crate::config::draft::{Draft, VipDraft};
use crate::config::kind::show_duration;
use crate::config::{ChecksumForm, MAX_NODES, Transport, VipIndex};

/// The shortest advert interval that needs no `allow_fast`: a machine that is paused for three of
/// them loses its VIPs.
pub(in crate::config) const FAST_BELOW: Duration = Duration::from_millis(100);

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for (index, vip) in draft.vips.iter().enumerate() {
        let earlier = &draft.vips[..index];
        repeated(vip, earlier, findings);
        reserved(vip, findings);
        reachable(vip, draft, findings);
        owner(vip, draft, findings);
        unicast(vip, draft, findings);
        ipv6(vip, draft, findings);
        election(vip, draft, findings);
        timing(vip, draft, findings);
        version(vip, findings);
        unserved(index, draft, findings);
    }
}

fn repeated(vip: &VipDraft, earlier: &[VipDraft], findings: &mut Findings) {
    let same_address = earlier.iter().find(|other| {
        let address = |vip: &VipDraft| vip.address.as_ref().map(|net| net.value.addr());
        address(vip).is_some() && address(vip) == address(other)
    });
    if let (Some(other), Some(address)) = (same_address, &vip.address) {
        findings.error(
            address.span,
            format!(
                "`{}` is VIP `{}` too",
                address.value.addr(),
                other.name.value
            ),
            "give each VIP its own address, or remove one of the two",
        );
    }
    let same_router = earlier.iter().find(|other| {
        let router = |vip: &VipDraft| Some((vip.family()?, vip.vrid.as_ref()?.value));
        router(vip).is_some() && router(vip) == router(other)
    });
    // Also on another interface: in heartbeats a VIP is known by its VRID.
    if let (Some(other), Some(vrid)) = (same_router, &vip.vrid) {
        findings.error(
            vrid.span,
            format!(
                "VRID {} is used by VIP `{}` too",
                vrid.value, other.name.value
            ),
            "give each VIP its own VRID, 1 to 255; an IPv4 and an IPv6 VIP may have the same",
        );
    }
}

fn reserved(vip: &VipDraft, findings: &mut Findings) {
    let Some(at) = &vip.address else { return };
    let net = at.value;
    let what = match net {
        // A /31 and a /127 have neither (RFC 3021, RFC 6164).
        IpNet::V4(v4) if v4.prefix_len() >= 31 => None,
        IpNet::V6(v6) if v6.prefix_len() >= 127 => None,
        IpNet::V4(v4) if v4.addr() == v4.network() => Some("the network address"),
        IpNet::V4(v4) if v4.addr() == v4.broadcast() => Some("the broadcast address"),
        // RFC 4291, section 2.6.1
        IpNet::V6(v6) if v6.addr() == v6.network() => Some("the address of all routers"),
        IpNet::V4(_) | IpNet::V6(_) => None,
    };
    if let Some(what) = what {
        findings.error(
            at.span,
            format!("`{}` is {what} of {}", net.addr(), net.trunc()),
            format!(
                "use an address between {} and {}",
                net.network(),
                net.broadcast()
            ),
        );
    }
}

fn reachable(vip: &VipDraft, draft: &Draft, findings: &mut Findings) {
    let Some(at) = &vip.address else { return };
    let net = at.value;
    let on_pair = match (&vip.interface, &draft.pair.interface) {
        (Some(own), Some(pair)) => own.value == pair.value,
        (None, _) | (_, None) => false,
    };
    if !on_pair {
        return;
    }
    for node in &draft.nodes {
        let Some(address) = &node.address else {
            continue;
        };
        let same_family = address.value.is_ipv4() == net.addr().is_ipv4();
        if same_family && !net.contains(&address.value) {
            findings.error(
                at.span,
                format!(
                    "{} does not contain node `{}` ({}), so its neighbours cannot reach this VIP there",
                    net.trunc(),
                    node.name.value,
                    address.value
                ),
                "use an address and prefix length of the subnet that the nodes are in, or name the \
                 VIP's own `interface`",
            );
            return;
        }
    }
}

/// The nodes' addresses are those on the pair's interface: there are no others to send to.
fn unicast(vip: &VipDraft, draft: &Draft, findings: &mut Findings) {
    let (Some(own), Some(pair)) = (&vip.interface, &draft.pair.interface) else {
        return;
    };
    if vip.transport == Some(Transport::Unicast) && own.value != pair.value {
        findings.error(
            own.span,
            format!(
                "VIP `{}` is on {}, and unicast adverts go between the nodes' addresses on {}",
                vip.name.value, own.value, pair.value
            ),
            "say transport = \"multicast\" for this VIP, or leave its interface out",
        );
    }
}

/// What only IPv6 has, and what it has not.
fn ipv6(vip: &VipDraft, draft: &Draft, findings: &mut Findings) {
    let name = &vip.name.value;
    match (vip.family(), &vip.link_local) {
        (Some(Family::V4), Some(link_local)) => findings.error(
            link_local.span,
            format!("VIP `{name}` is IPv4, whose adverts carry the VIP alone"),
            "remove `link_local`",
        ),
        (Some(Family::V6), Some(link_local)) => {
            is_nodes(vip, link_local.value.into(), draft, findings)
        }
        (Some(_), None) | (None, _) => {}
    }
    if vip.family() != Some(Family::V6) {
        return;
    }
    if let Some(checksum) = &vip.checksum
        && checksum.value == ChecksumForm::Message
    {
        findings.error(
            checksum.span,
            "adverts over IPv6 have one form of checksum, with the pseudo-header",
            "remove `checksum`",
        );
    }
    let alone = |at: &crate::config::draft::NodeDraft| at.link_local.is_none();
    if vip.transport == Some(Transport::Unicast)
        && let Some(node) = draft.nodes.iter().find(|node| alone(node))
    {
        findings.error(
            node.name.span,
            format!(
                "unicast adverts of VIP `{name}` go between link-local addresses (RFC 9568), and that of \
                 node `{}` is not known",
                node.name.value
            ),
            "say link_local = \"fe80::…\" as `ip -6 address` shows it on the machine, or transport = \
             \"multicast\" for this VIP",
        );
    }
}

/// The first address of adverts is the virtual router's, never a machine's.
fn is_nodes(vip: &VipDraft, link_local: IpAddr, draft: &Draft, findings: &mut Findings) {
    let node = draft.nodes.iter().find(|node| {
        let own = node.link_local.as_ref();
        own.is_some_and(|own| IpAddr::V6(own.value) == link_local)
    });
    if let (Some(node), Some(at)) = (node, &vip.link_local) {
        findings.error(
            at.span,
            format!("`{link_local}` is node `{}`'s own address", node.name.value),
            "leave `link_local` out, or choose an address that no machine has",
        );
    }
}

/// A VIP is installed, leased and removed by us, so it must never be an address that a machine needs,
/// also where a node's priority says that it owns it.
fn owner(vip: &VipDraft, draft: &Draft, findings: &mut Findings) {
    let Some(address) = &vip.address else { return };
    for (node, priority) in draft.nodes.iter().zip(&vip.priorities) {
        let name = &node.name.value;
        if let Some(own) = &node.address
            && own.value == address.value.addr()
        {
            findings.error(
                address.span,
                format!("`{}` is node `{name}`'s own address", own.value),
                "choose an address that no machine has",
            );
        }
        if let Some(priority) = priority
            && priority.value == u8::MAX
        {
            findings.warn(
                priority.span,
                format!(
                    "priority 255 says that VIP `{}` is node `{name}`'s own (RFC 9568): whenever it starts it takes \
                     the VIP at once, whoever serves, without preempt_delay and before it knows its servers",
                    vip.name.value
                ),
                "use 1 to 253, unless that is meant",
            );
        }
    }
}

fn election(vip: &VipDraft, draft: &Draft, findings: &mut Findings) {
    let [Some(first), Some(second)] = vip.priorities.as_slice() else {
        return;
    };
    if first.value != second.value {
        return;
    }
    let [one, other] = draft.nodes.as_slice() else {
        return;
    };
    let span = [second, first]
        .into_iter()
        .find(|priority| priority.given)
        .map_or(other.name.span, |priority| priority.span);
    findings.error(
        span,
        format!(
            "nodes `{}` and `{}` both have priority {} for VIP `{}`",
            one.name.value, other.name.value, first.value, vip.name.value
        ),
        "give the node that should hold it the higher one, for example 250 and 240",
    );
}

/// RFC 3768 counts in whole seconds, and knows IPv4.
fn version(vip: &VipDraft, findings: &mut Findings) {
    if let (Some(Family::V6), true, Some(version)) = (vip.family(), vip.is_v2(), &vip.version) {
        findings.error(
            version.span,
            format!("VRRPv2 is for IPv4, and VIP `{}` is IPv6", vip.name.value),
            "say version = 3 for this VIP",
        );
        return;
    }
    if !vip.is_v2() {
        if let Some(pass) = &vip.auth_pass {
            findings.error(
                pass.span,
                "VRRPv3 has no passwords",
                "say version = 2, or remove it; adverts of version 3 are signed with the pair's key",
            );
        }
        return;
    }
    let Some(interval) = &vip.advert_interval else {
        return;
    };
    let whole = interval.value.subsec_nanos() == 0;
    if !whole || !(1..=255).contains(&interval.value.as_secs()) {
        findings.error(
            interval.span,
            format!(
                "VRRPv2 counts in seconds, which adverts each {} are not",
                show_duration(interval.value)
            ),
            "say advert_interval = \"1s\", or as many seconds as the other node",
        );
    }
}

fn timing(vip: &VipDraft, draft: &Draft, findings: &mut Findings) {
    let Some(interval) = &vip.advert_interval else {
        return;
    };
    if interval.value < FAST_BELOW && !draft.allow_fast {
        findings.error(
            interval.span,
            format!(
                "adverts each {} are noticed missing after {}, less than a virtual machine may be paused",
                show_duration(interval.value),
                show_duration(interval.value * 3)
            ),
            "use \"100ms\" or more, or say allow_fast = true in [vrrp] if the machines are never paused",
        );
    }
    if let (Some(delay), Some(preempt)) = (&vip.preempt_delay, &vip.preempt)
        && delay.given
        && !preempt.value
    {
        findings.warn(
            delay.span,
            "preempt_delay does nothing while preempt is false",
            "remove preempt_delay, or set preempt = true",
        );
    }
    heartbeat(vip, interval.value, (draft, findings));
}

fn heartbeat(vip: &VipDraft, interval: Duration, (draft, findings): (&Draft, &mut Findings)) {
    let channel_is_on = draft.pair.key_file.is_some()
        && draft.nodes.len() == MAX_NODES
        && draft.nodes.iter().all(|node| node.is_ours());
    let lowest = vip.priorities.iter().flatten().map(|p| p.value).min();
    let (true, Some(at), Some(lowest)) = (channel_is_on, &draft.pair.heartbeat, lowest) else {
        return;
    };
    let Some(heartbeat) = at.value else { return };
    // RFC 9568, section 6.1: Skew_Time = (256 - priority) x interval / 256.
    let skew = interval * (256 - u32::from(lowest)) / 256;
    if heartbeat * 3 > interval * 3 + skew {
        findings.warn(
            at.span,
            format!(
                "three heartbeats of {} take longer than three adverts of {}, so VIP `{}` moves later \
                 than its adverts would let it",
                show_duration(heartbeat),
                show_duration(interval),
                vip.name.value
            ),
            "use a heartbeat that is not longer than the advert interval",
        );
    }
}

fn unserved(index: usize, draft: &Draft, findings: &mut Findings) {
    let Some(address) = &draft.vips[index].address else {
        return;
    };
    let served = draft.listeners.iter().any(|listener| {
        let unknown = listener
            .bind_count
            .as_ref()
            .is_none_or(|count| count.value != listener.binds.len());
        let binds = |bind: &crate::config::draft::BindDraft| {
            let bind = bind.bind;
            let same_family = bind.address.is_ipv4() == address.value.addr().is_ipv4();
            bind.vip == Some(VipIndex(index)) || (same_family && bind.address.ip().is_unspecified())
        };
        unknown || listener.binds.iter().any(binds)
    });
    if !served {
        let name = &draft.vips[index].name;
        findings.warn(
            name.span,
            format!(
                "no listener binds to VIP `{}` ({})",
                name.value,
                address.value.addr()
            ),
            format!(
                "add bind = [\"vips.{}:PORT\"] to a listener, or remove the VIP",
                name.value
            ),
        );
    }
}
