//! Whether this node can serve, as `/readyz` says it. Pure.

use common::status::Status;

/// What is missing, a line for each; empty = ready.
pub(crate) fn missing(status: &Status) -> Vec<String> {
    let processes = status
        .processes
        .iter()
        .filter(|one| matches!(one.name.as_str(), "vrrp" | "proxy") && one.state != "running")
        .map(|one| format!("{} is {}", one.name, one.state));
    let vips = status
        .vips
        .iter()
        .filter(|vip| !matches!(vip.state.as_str(), "active" | "backup"))
        .map(|vip| format!("VIP {} is {}: {}", vip.name, vip.state, vip.reason));
    processes.chain(vips).collect()
}

#[cfg(test)]
mod tests {
    use common::board::VipState;

    use super::*;
    use crate::admin::fixture;
    use crate::admin::rates::Rates;

    #[test]
    fn a_node_is_ready_while_vrrp_and_proxy_run_and_no_vip_is_out() {
        let view = fixture::healthy();
        let missing = || missing(&view.status(&Rates::default(), fixture::CLOCKS));
        assert_eq!(missing(), Vec::<String>::new());
        let web = &view.boards.vrrp.vips[1];
        web.state.set(VipState::Backup.on_board());
        assert_eq!(missing(), Vec::<String>::new());
        web.state.set(VipState::Fault.on_board());
        web.reason.set("eth0 is down");
        view.boards.supervisor.children[1].pid.set(0);
        assert_eq!(
            missing(),
            ["proxy is dead", "VIP web is fault: eth0 is down"]
        );
    }

    #[test]
    fn a_node_without_vrrp_is_not_ready() {
        let view = fixture::healthy();
        view.boards.vrrp.header.heartbeat.clear();
        let missing = missing(&view.status(&Rates::default(), fixture::CLOCKS));
        assert_eq!(missing[0], "vrrp is hung");
        assert_eq!(missing[1], "VIP api is init: vrrp has not started yet");
    }
}
