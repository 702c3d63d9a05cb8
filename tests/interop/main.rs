//! Beside Debian's Keepalived or FRR's vrrpd on the other node: who holds the VIPs after each event, and how soon after it.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod dialect;
mod mixed;
mod other;
mod story;

use anyhow::{Context as _, Result};
use lab::{capture, limits};

use crate::dialect::{
    Dialect, FRR, V2, V2_PASS, V3, V3_FOLLOWED, V3_IPV6, V3_IPV6_UNICAST, V3_UNICAST,
};
use crate::mixed::{HIGH, LOW, Mixed};

/// What happens in a case.
type Story = fn(&mut Mixed) -> Result<()>;

/// Both ways round, side by side: they mostly wait.
fn cases(dialects: &[Dialect], story: Story) -> Result<()> {
    let both = dialects.iter().flat_map(|one| [(*one, HIGH), (*one, LOW)]);
    side_by_side(both, story)
}

fn side_by_side(cases: impl Iterator<Item = (Dialect, u8)>, story: Story) -> Result<()> {
    let _turn = limits::measure_alone()?;
    std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .map(|(dialect, ours)| {
                scope.spawn(move || {
                    let mut mixed = Mixed::new(dialect, ours)?;
                    let name = format!("interop-{}-{ours}", dialect.name.replace(' ', "-"));
                    let lab = mixed.lab.clone();
                    let body = || story(&mut mixed);
                    capture::around(&lab, &name, body)
                        .with_context(|| format!("{}, fmc-lb has priority {ours}", dialect.name))
                })
            })
            .collect();
        running
            .into_iter()
            .try_for_each(|case| case.join().expect("no panic"))
    })
}

#[test]
fn ka_46_version_2_with_and_without_a_password() -> Result<()> {
    cases(&[V2, V2_PASS], Mixed::come_and_go)
}

#[test]
fn ka_47_version_3_by_multicast_and_unicast() -> Result<()> {
    cases(&[V3, V3_UNICAST], Mixed::come_and_go)
}

#[test]
fn ka_47_version_3_over_ipv6_by_multicast_and_unicast() -> Result<()> {
    cases(&[V3_IPV6, V3_IPV6_UNICAST], Mixed::come_and_go)
}

#[test]
fn a_route_follows_the_vip_from_keepalived_to_fmc_lb_and_back() -> Result<()> {
    cases(&[V3_FOLLOWED], Mixed::come_and_go)
}

#[test]
fn ka_52_without_preemption_nobody_takes_it_from_a_living_node_of_version_2() -> Result<()> {
    let keeping = [V2, V2_PASS].map(Dialect::keeping);
    cases(&keeping, Mixed::without_preemption)
}

#[test]
fn ka_52_without_preemption_nobody_takes_it_from_a_living_node() -> Result<()> {
    let keeping = [V3, V3_UNICAST].map(Dialect::keeping);
    cases(&keeping, Mixed::without_preemption)
}

#[test]
fn ka_52_without_preemption_nobody_takes_it_from_a_living_node_over_ipv6() -> Result<()> {
    let keeping = [V3_IPV6, V3_IPV6_UNICAST].map(Dialect::keeping);
    cases(&keeping, Mixed::without_preemption)
}

#[test]
fn whose_priority_falls_below_the_others_gives_the_vip_up_and_takes_it_back() -> Result<()> {
    cases(&[V3, V3_UNICAST], Mixed::priority_changes)
}

#[test]
fn whose_priority_falls_gives_the_vip_up_over_ipv6_and_in_version_2_too() -> Result<()> {
    cases(&[V2, V3_IPV6], Mixed::priority_changes)
}

#[test]
fn beside_frr_the_vips_of_both_families_are_lost_and_return() -> Result<()> {
    cases(&[FRR], Mixed::come_and_go)
}

#[test]
#[ignore = "ten seconds; scripts/prove interop runs it"]
fn beside_frr_without_preemption_nobody_takes_them_from_a_living_node() -> Result<()> {
    cases(&[FRR.keeping()], Mixed::without_preemption)
}

#[test]
#[ignore = "ten seconds; scripts/prove interop runs it"]
fn beside_frr_whose_priority_falls_gives_them_up_and_takes_them_back() -> Result<()> {
    cases(&[FRR], Mixed::priority_changes)
}
