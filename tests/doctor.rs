//! `fmc-lb doctor` on a machine that is well, and on one that is not.

mod site;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::backend::Service;
use lab::balancer::Balancer as _;
use lab::{Node, fault};

use crate::site::{Site, shipped};

/// It loads a program into the kernel and starts nft(8): on a busy machine that takes a while.
const LIMIT: Duration = Duration::from_secs(20);

/// What it says, and its exit code.
fn doctor(site: &Site) -> Result<(String, i32)> {
    let file = site.pair.config_file().display().to_string();
    let line = ["doctor", "--config", &file, "--node", "lb1"];
    let output = site.pair.command_within(Node::Lb1, &line, LIMIT)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(complained.is_empty(), "{complained}");
    Ok((said, output.status.code().context("it was killed")?))
}

#[test]
fn a_doctor_finds_what_is_wrong_with_a_machine_and_nothing_else() -> Result<()> {
    let mut site = Site::build(shipped(), Service::Echo)?;
    let (said, code) = doctor(&site)?;
    ensure!(code == 0, "{said}");
    for part in [
        "eth0 is up",
        "leave from 192.168.0.11",
        "drops nothing",
        "takes the TC program",
        "no node runs here",
    ] {
        ensure!(said.contains(part), "no {part:?} in {said}");
    }

    site.lab.nft(Node::Lb1, "add table inet filter")?;
    site.lab.nft(
        Node::Lb1,
        "add chain inet filter input { type filter hook input priority 0 ; policy drop ; }",
    )?;
    site.lab.nft(
        Node::Lb1,
        "add rule inet filter input ip protocol vrrp accept",
    )?;
    let (said, code) = doctor(&site)?;
    ensure!(code == 1, "{said}");
    for part in [
        "the firewall lets adverts (IP protocol 112, vrrp) pass",
        "drops the pair channel's heartbeats (UDP port 9601) that come in from 192.168.0.12 on eth0: \
         the policy of chain inet filter input",
        "-> nft insert rule inet filter input udp dport 9601 accept",
    ] {
        ensure!(said.contains(part), "no {part:?} in {said}");
    }
    for rule in ["udp dport 9601", "tcp dport { 80, 443, 6443, 9601 }"] {
        let command = format!("add rule inet filter input {rule} accept");
        site.lab.nft(Node::Lb1, &command)?;
    }
    let (said, code) = doctor(&site)?;
    ensure!(code == 0, "{said}");
    // In front of those that accept; and on the way out.
    for (chain, hook, way) in [
        ("input", "input", "that come in from 192.168.0.12"),
        ("mine", "output", "that leave for 224.0.0.18"),
    ] {
        let base =
            format!("add chain inet filter {chain} {{ type filter hook {hook} priority 0 ; }}");
        site.lab.nft(Node::Lb1, &base)?;
        let rule = format!("insert rule inet filter {chain} meta l4proto 112 drop");
        site.lab.nft(Node::Lb1, &rule)?;
        let (said, code) = doctor(&site)?;
        ensure!(
            code == 1
                && said.contains(&format!("drops adverts (IP protocol 112, vrrp) {way}"))
                && said.contains(&format!("of chain inet filter {chain}")),
            "{said}"
        );
        site.lab
            .nft(Node::Lb1, &format!("flush chain inet filter {chain}"))?;
        if hook == "input" {
            site.lab
                .nft(Node::Lb1, "add rule inet filter input accept")?;
        }
    }
    site.lab.nft(Node::Lb1, "delete table inet filter")?;

    // A second network card in the same network, as it comes.
    site.lab
        .ip(Node::Lb1, "link add eth9 type veth peer name cable9")?;
    site.lab
        .ip(Node::Lb1, "addr add 192.168.0.111/24 dev eth9")?;
    site.lab.ip(Node::Lb1, "link set cable9 up")?;
    site.lab.ip(Node::Lb1, "link set eth9 up")?;
    let (said, code) = doctor(&site)?;
    let what = "eth9 is on 192.168.0.0/24, too, the network of VIP api on eth0: it answers";
    ensure!(code == 1 && said.contains(what), "{said}");
    site.lab.ip(Node::Lb1, "link del eth9")?;

    site.pair.start(Node::Lb1)?;
    site.wait_ready(Node::Lb1)?;
    let (said, _) = doctor(&site)?;
    ensure!(
        said.contains("arp_ignore is 1 and arp_announce 2 on eth0"),
        "{said}"
    );
    // lb2's machine is there, its fmc-lb is not.
    let says = |part: &'static str| {
        move |site: &Site| doctor(site).is_ok_and(|(said, _)| said.contains(part))
    };
    let wait = |what: &str, condition: &dyn Fn(&Site) -> bool| {
        site.lab.wait_until(LIMIT * 2, what, || condition(&site))
    };
    wait(
        "the running node says that lb2's machine answers",
        &says("lb2 was never heard; its machine answers"),
    )?;
    let lost = fault::port_down(&site.lab, Node::Lb2)?;
    wait(
        "it says that it does not",
        &says("lb2 was never heard; nor does its machine answer"),
    )?;
    lost.now()?;

    site.lab.ip(Node::Lb1, "link set eth0 down")?;
    let (said, code) = doctor(&site)?;
    ensure!(code == 1 && said.contains("eth0 is switched off"), "{said}");
    Ok(())
}
