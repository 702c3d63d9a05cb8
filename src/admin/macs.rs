//! VIPs at the hardware address of their virtual router, in the status. Pure.

use common::addr::Mac;
use common::board::MacPreflight;
use common::config::{VipIndex, VirtualMac};

use super::view::View;

/// The hardware address that a VIP is reached at on this node; `None` = its lease is not here.
pub(super) fn status(view: &View, vip: VipIndex, vrrp_lives: bool) -> Option<String> {
    in_use(view, vip, vrrp_lives).map(|mac| mac.to_string())
}

/// Whether a VIP that may be at the address of its virtual router is; `None` = it may not, or its lease is not here.
pub(super) fn is_virtual(view: &View, vip: VipIndex, vrrp_lives: bool) -> Option<bool> {
    let config = &view.config.vips[vip.0];
    config.macvlan()?;
    let mac = in_use(view, vip, vrrp_lives)?;
    Some(mac == config.router_mac())
}

fn in_use(view: &View, vip: VipIndex, vrrp_lives: bool) -> Option<Mac> {
    let bits = view.boards.vrrp.macs[vip.0].get();
    (vrrp_lives && bits != 0).then(|| Mac::from_bits(bits))
}

/// A failed preflight, and VIPs that are not where they should be for another reason.
pub(super) fn warnings(view: &View, vrrp_lives: bool) -> Vec<String> {
    let failed = MacPreflight::from_board(view.boards.vrrp.mac_preflight.get())
        == MacPreflight::Failed
        && vrrp_lives;
    let pair = &view.config.pair.interface;
    let vips = view.config.live_vips();
    vips.filter_map(|(place, vip)| {
        let name = &vip.name;
        let interface = &vip.interface;
        let refused = failed && vip.interface == *pair;
        match (vip.virtual_mac, is_virtual(view, place, vrrp_lives)) {
            (VirtualMac::Off, _) => None,
            (VirtualMac::Auto, _) if refused => Some(format!(
                "VIP {name} stays at {interface}'s own hardware address: frames to a second one do not reach this \
                 machine. Have the hypervisor or the switch permit {}, or say virtual_mac = \"off\"",
                vip.router_mac()
            )),
            (VirtualMac::Always, _) if refused => Some(format!(
                "VIP {name} is at {} as virtual_mac = \"always\" has it, and frames to a second hardware address did \
                 not reach this machine: see whether clients reach the VIP, and say \"auto\" if not",
                vip.router_mac()
            )),
            (VirtualMac::Auto | VirtualMac::Always, Some(false)) => Some(format!(
                "VIP {name} is at {interface}'s own hardware address: there is no interface {}",
                vip.macvlan().unwrap_or_default()
            )),
            (VirtualMac::Auto | VirtualMac::Always, Some(true) | None) => None,
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admin::fixture::healthy;

    #[test]
    fn a_vip_that_is_not_at_its_own_address_is_said_with_the_reason() {
        let mut view = healthy();
        let api = VipIndex(0);
        let board = view.boards.vrrp;
        board.macs[0].set(Mac([2, 0, 0, 0, 0, 11]).to_bits());
        assert!(warnings(&view, true).is_empty());
        Arc::make_mut(&mut view.config).vips[0].virtual_mac = VirtualMac::Auto;
        assert_eq!(
            warnings(&view, true),
            ["VIP api is at eth0's own hardware address: there is no interface vrrp4-51"]
        );
        board.mac_preflight.set(MacPreflight::Failed.on_board());
        let said = warnings(&view, true);
        assert!(said[0].contains("permit 00:00:5e:00:01:33"), "{said:?}");
        board.macs[0].set(view.config.vips[0].router_mac().to_bits());
        assert_eq!(
            status(&view, api, true).as_deref(),
            Some("00:00:5e:00:01:33")
        );
        assert_eq!(status(&view, api, false), None);
        board.mac_preflight.set(MacPreflight::Passed.on_board());
        assert!(warnings(&view, true).is_empty());
    }
}
