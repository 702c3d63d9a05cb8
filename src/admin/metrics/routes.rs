//! Metrics of routes and rules that follow VIPs.

use common::board::RouteState;
use common::status::Status;

use super::{Family, Page, flag};

static INSTALLED: Family = Family::gauge(
    "fmc_lb_vrrp_route_installed",
    &["vip", "route"],
    "1 while the route or rule that follows the VIP is installed on this node.",
);
static REFUSED: Family = Family::gauge(
    "fmc_lb_vrrp_route_refused",
    &["vip", "route"],
    "1 while this node holds the VIP and the kernel refuses the route or rule that follows it.",
);
static RESTORED: Family = Family::counter(
    "fmc_lb_vrrp_route_restored_total",
    &["vip", "route"],
    "Times that the route or rule was put back after something else had removed it.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[&INSTALLED, &REFUSED, &RESTORED];

pub(super) fn fill(page: &mut Page, status: &Status) {
    for vip in &status.vips {
        for route in &vip.routes {
            let labels = [vip.name.as_str(), &route.text];
            let is = |state: RouteState| flag(route.state == state.word());
            page.gauge(&INSTALLED, &labels, is(RouteState::Installed));
            page.gauge(&REFUSED, &labels, is(RouteState::Refused));
            page.count(&RESTORED, &labels, route.restored);
        }
    }
}

#[cfg(test)]
mod tests {
    use common::board::RouteState::{Installed, Refused};

    use crate::admin::fixture::{self, CLOCKS};
    use crate::admin::metrics::page;
    use crate::admin::rates::Rates;

    #[test]
    fn every_metric_of_a_route_shows_its_cell() {
        let view = fixture::with_routes();
        let [route, rule, ..] = &view.boards.vrrp.routes;
        route.state.set(Installed.on_board());
        route.restored.add(2);
        rule.state.set(Refused.on_board());
        rule.reason.set("something else has the same rule");
        let status = view.status(&Rates::default(), CLOCKS);
        let text = page(&view, &status, CLOCKS);
        let (route, rule) = (
            "route=\"10.99.0.0/16 via 192.168.0.1 dev eth0\",vip=\"api\"",
            "route=\"priority 1000 from all to 10.99.0.0/16 table 100\",vip=\"api\"",
        );
        for line in [
            format!("installed{{{route}}} 1"),
            format!("installed{{{rule}}} 0"),
            format!("refused{{{route}}} 0"),
            format!("refused{{{rule}}} 1"),
            format!("restored_total{{{route}}} 2"),
        ] {
            let line = format!("\nfmc_lb_vrrp_route_{line}\n");
            assert!(text.contains(&line), "no {line} in\n{text}");
        }
        let warning = "VIP api: the kernel refuses its rule priority 1000 from all to 10.99.0.0/16 \
                       table 100: something else has the same rule";
        assert!(
            status.warnings.iter().any(|one| one == warning),
            "{status:?}"
        );
    }
}
