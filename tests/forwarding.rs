//! A VIP moves, and no connection breaks whose node lives: what belongs to the other node goes there.

#![expect(
    clippy::disallowed_methods,
    reason = "tests on the lab wait, measure and print what they saw"
)]

mod site;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::backend::Service;
use lab::balancer::{Balancer as _, Part};
use lab::client::{self, Speak};
use lab::held::{Held, How, Plan};
use lab::prober::{Prober, Question};
use lab::process::Process;
use lab::{Node, fault, lease};
use nix::sys::signal::Signal;

use crate::site::{BINARY, Site, config_at, metric, web};

const TENTH: Duration = Duration::from_millis(100);
/// Ping-pong connections of each half.
const HELD: Plan = Plan {
    count: 50,
    ping: Some(Duration::from_millis(20)),
};

/// CAP_SYS_ADMIN stands for both of the newer ones, too.
const WITHOUT_BPF: [&str; 2] = ["setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin"];

/// Both nodes forward and know it of each other.
fn forwarding(config: &str) -> Result<Site> {
    let site = Site::start(config, Service::Echo)?;
    wait_until_both_forward(&site)?;
    Ok(site)
}

fn wait_until_both_forward(site: &Site) -> Result<()> {
    site.wait("both nodes forward", Site::both_forward)
}

fn sent_there(site: &Site, node: Node, cause: &str) -> Result<f64> {
    let series = format!("fmc_lb_forward_packets_total{{cause=\"{cause}\",to=\"there\"}}");
    metric(site, node, &series)
}

#[test]
fn no_connection_breaks_while_a_vip_leaves_and_returns() -> Result<()> {
    let config = config_at(TENTH).replace("[vrrp]", "[vrrp]\npreempt_delay = \"1s\"");
    forwarding(&config)?.watched("forwarding-leave-and-return", |site| {
        let at_lb1 = Held::open(&site.lab, web(), HELD)?;
        let prober = Prober::start(&site.lab, web(), Question::Echo)?;
        let begun = Instant::now();
        // lb1 loses vrrp: its last will moves the VIPs, and its proxy keeps the connections.
        site.pair.signal(Node::Lb1, Part::Vrrp, Signal::SIGKILL)?;
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        let at_lb2 = Held::open(&site.lab, web(), HELD)?;
        site.wait("lb1 takes its VIPs back", |site| site.holds_both(Node::Lb1))?;
        std::thread::sleep(Duration::from_secs(1));
        let forwarded = (
            sent_there(site, Node::Lb1, "unknown")?,
            sent_there(site, Node::Lb2, "unknown")?,
        );
        // And a stop that was asked for: what lb1 has left drains behind lb2.
        site.pair
            .signal(Node::Lb1, Part::Supervisor, Signal::SIGTERM)?;
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        std::thread::sleep(Duration::from_secs(1));
        let new = prober.finish()?;
        let failed = new.failures(begun);
        println!(
            "held: {} + {} broken; new: {} good, {failed:?}; forwarded {forwarded:?}",
            at_lb1.broken(),
            at_lb2.broken(),
            new.good.len(),
        );
        ensure!(at_lb1.settled().broken() == 0, "{:?}", at_lb1.report());
        ensure!(at_lb2.settled().broken() == 0, "{:?}", at_lb2.report());
        ensure!(failed.is_empty(), "new connections failed: {failed:?}");
        ensure!(forwarded.0 > 0.0 && forwarded.1 > 0.0, "{forwarded:?}");
        Ok(())
    })
}

#[test]
fn who_waits_for_a_lost_machine_is_told() -> Result<()> {
    forwarding(&config_at(TENTH))?.watched("forwarding-machine-lost", |site| {
        let at_lb1 = Held::open(&site.lab, web(), HELD)?;
        let lost = Instant::now();
        let _cut = fault::port_silent(&site.lab, Node::Lb1)?;
        site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
        let taken = lost.elapsed();
        site.wait("every client is told", |_| at_lb1.broken() == HELD.count)?;
        let report = at_lb1.report();
        let last = report.broken.iter().map(|one| one.at).max();
        let told = last.map_or(Duration::ZERO, |last| last.duration_since(lost));
        println!(
            "VIPs taken after {taken:?}, the last of {} told after {told:?}",
            HELD.count
        );
        ensure!(
            report.broken.iter().all(|one| one.how == How::Reset),
            "{report:?}"
        );
        // A segment in flight is sent again after 200 ms and more, which doubles each time.
        ensure!(told < Duration::from_secs(3), "the last one after {told:?}");
        ensure!(metric(site, Node::Lb2, "fmc_lb_forward_peer_deaths_total")? == 1.0);
        Ok(())
    })
}

/// As after a change of its card, or of a bond's: its heartbeats come, in frames that nobody knows yet.
#[test]
fn a_machine_with_another_hardware_address_is_found_and_not_taken_for_dead() -> Result<()> {
    forwarding(&config_at(TENTH))?.watched("forwarding-another-address", |site| {
        let at_lb1 = Held::open(&site.lab, web(), HELD)?;
        let moved = site.pair.command(Node::Lb1, &["handover"])?;
        ensure!(moved.status.success(), "{moved:?}");
        site.lab
            .ip(Node::Lb1, "link set dev eth0 address 02:00:00:00:77:11")?;
        // More than three times as long as a machine is silent before it is dead.
        std::thread::sleep(Duration::from_secs(2));
        site.wait("its connections go on", |_| at_lb1.report().waiting < TENTH)?;
        let deaths = metric(site, Node::Lb2, "fmc_lb_forward_peer_deaths_total")?;
        ensure!(deaths == 0.0, "lb1 was taken for dead");
        ensure!(at_lb1.settled().broken() == 0, "{:?}", at_lb1.report());
        Ok(())
    })
}

#[test]
fn it_outlives_its_supervisor_and_leaves_with_the_node() -> Result<()> {
    forwarding(&config_at(TENTH))?.watched("forwarding-supervisor", |site| {
        let filters = |site: &Site| {
            site.lab.exec(
                Node::Lb1,
                &["tc", "filter", "show", "dev", "eth0", "ingress"],
            )
        };
        let before = filters(site)?;
        ensure!(before.contains("fmc-lb"), "{before}");
        site.pair
            .signal(Node::Lb1, Part::Supervisor, Signal::SIGKILL)?;
        site.pair.start(Node::Lb1)?;
        site.wait("the next supervisor goes on with it", |site| {
            site.pair
                .status(Node::Lb1)
                .is_ok_and(|status| status["forwarding"]["state"] == "on")
        })?;
        let after = filters(site)?;
        ensure!(after == before, "{before}\nbecame\n{after}");
        // Somebody takes it off.
        site.lab
            .exec(Node::Lb1, &["tc", "qdisc", "del", "dev", "eth0", "clsact"])?;
        site.wait("it is put there again", |site| {
            filters(site).is_ok_and(|seen| seen.contains("fmc-lb"))
        })?;
        site.pair.stop(Node::Lb1)?;
        let left = filters(site)?;
        ensure!(!left.contains("fmc-lb"), "{left}");
        Ok(())
    })
}

/// What the words say on lb1 without BPF, and that they succeed.
fn said_without_bpf(site: &Site, words: &[&str]) -> Result<String> {
    let line = [&WITHOUT_BPF[..], &[BINARY], words].concat();
    let mut process = Process::start(&site.lab, Node::Lb1, words[0], &line)?;
    let ended = process.wait(Duration::from_secs(10))?;
    let said = process.log_tail(100);
    ensure!(ended.success(), "{words:?}: {ended}: {said}");
    Ok(said)
}

#[test]
fn a_machine_that_refuses_it_moves_its_vips_all_the_same_and_says_so() -> Result<()> {
    let mut site = Site::build(&config_at(TENTH), Service::Echo)?;
    site.pair.confine(&WITHOUT_BPF);
    site.pair.start(Node::Lb1)?;
    site.wait("lb1 holds both VIPs", |site| site.holds_both(Node::Lb1))?;
    site.pair.confine(&[]);
    site.pair.start(Node::Lb2)?;
    Node::LBS
        .into_iter()
        .try_for_each(|node| site.wait_ready(node))?;
    site.watched("forwarding-refused", |site| {
        let config = site.pair.config_file().display().to_string();
        let check = ["check", &config, "--node", "lb1"];
        let doctor = ["doctor", "--config", &config, "--node", "lb1"];
        for words in [&check[..], &doctor] {
            let said = said_without_bpf(site, words)?;
            ensure!(
                said.contains(
                    "no flow forwarding, so a VIP that moves breaks its connections: not permitted"
                ) && said.contains("needs CAP_BPF"),
                "{words:?}: {said}"
            );
        }
        let status = site.pair.status(Node::Lb1)?;
        ensure!(status["forwarding"]["state"] == "refused", "{status}");
        let warnings = status["warnings"].to_string();
        ensure!(
            warnings.contains("no flow forwarding: not permitted"),
            "{warnings}"
        );
        nobody_asks(site, Node::Lb1)?;
        // lb2 forwards, so what lb1 relays goes on; the other way it does not, and that is said.
        let at_lb1 = Held::open(&site.lab, web(), HELD)?;
        let said = hand_over(site, Node::Lb1)?;
        nobody_asks(site, Node::Lb2)?;
        ensure!(!said.contains("are cut"), "{said}");
        let at_lb2 = Held::open(&site.lab, web(), HELD)?;
        ensure!(at_lb1.settled().broken() == 0, "{:?}", at_lb1.report());
        let said = hand_over(site, Node::Lb2)?;
        ensure!(
            said.contains("it forwards nothing, so the connections of this node are cut"),
            "{said}"
        );
        site.wait("they are cut", |_| at_lb2.broken() == HELD.count)?;
        client::who(&site.lab, Node::Client, web(), Speak::Echo)?;
        ensure!(at_lb1.settled().broken() == 0, "{:?}", at_lb1.report());
        Ok(())
    })
}

/// The other node does not ask whether the holder's machine is there, even where three heartbeats are missing: where one of
/// them forwards nothing, a wrong guess would cost connections, and adverts decide.
fn nobody_asks(site: &Site, holder: Node) -> Result<()> {
    let asked = || metric(site, holder.other(), "fmc_lb_pair_questions_total");
    let before = asked()?;
    let cut = fault::port_silent(&site.lab, holder)?;
    std::thread::sleep(Duration::from_millis(150));
    cut.now()?;
    // A heartbeat or two, by which it would know the answers.
    std::thread::sleep(TENTH);
    ensure!(asked()? == before, "{} asked {holder}", holder.other());
    ensure!(site.holds_both(holder), "the VIPs moved");
    Ok(())
}

/// A node gives its VIPs to the other one; what is said of it.
fn hand_over(site: &Site, giver: Node) -> Result<String> {
    let moved = site.pair.command(giver, &["handover"])?;
    ensure!(moved.status.success(), "{moved:?}");
    site.wait("they have moved", |site| site.holds_both(giver.other()))?;
    Ok(String::from_utf8_lossy(&moved.stdout).into_owned())
}

#[test]
fn a_vip_on_another_interface_moves_without_a_broken_connection() -> Result<()> {
    let vip = Ipv4Addr::new(192, 168, 1, 14);
    let config = config_at(TENTH);
    let config = format!(
        "{config}\n[vips.inner]\naddress = \"{vip}/24\"\nvrid = 61\ninterface = \"eth1\"\n\n\
         [listeners.inner]\nbind = [\"vips.inner:80\"]\nbackend = \"traefik-http\"\n"
    );
    let mut site = Site::build(&config, Service::Echo)?;
    site.lab.add_network()?;
    for node in Node::LBS {
        // Otherwise the kernel drops what the other node sends, and the program is not used.
        site.lab.sysctl(node, "net.ipv4.conf.all.rp_filter", "0")?;
        site.lab.sysctl(node, "net.ipv4.conf.eth0.rp_filter", "2")?;
    }
    site.pair.start(Node::Lb1)?;
    site.wait("lb1 holds all", |site| {
        site.holds_both(Node::Lb1) && lease::is_holder(&site.lab, Node::Lb1, vip)
    })?;
    site.pair.start(Node::Lb2)?;
    wait_until_both_forward(&site)?;
    site.wait_ready(Node::Lb2)?;
    site.watched("forwarding-other-interface", |site| {
        let to = (vip, 80).into();
        let held = Held::open(&site.lab, to, HELD)?;
        let prober = Prober::start(&site.lab, to, Question::Echo)?;
        let begun = Instant::now();
        for (from, taker) in [(Node::Lb1, Node::Lb2), (Node::Lb2, Node::Lb1)] {
            let handed = site.pair.command(from, &["handover"])?;
            ensure!(handed.status.success(), "{handed:?}");
            site.wait("it has moved", |site| {
                lease::is_holder(&site.lab, taker, vip)
            })?;
            std::thread::sleep(Duration::from_secs(1));
        }
        let forwarded = sent_there(site, Node::Lb2, "unknown")?;
        let failed = prober.finish()?.failures(begun);
        println!(
            "a VIP on eth1 handed over and back: {} broken, failed {failed:?}, {forwarded} segments sent by eth0",
            held.broken()
        );
        ensure!(forwarded > 0.0, "nothing was forwarded");
        ensure!(held.settled().broken() == 0, "{:?}", held.report());
        ensure!(failed.is_empty(), "{failed:?}");
        Ok(())
    })
}

#[test]
fn strict_reverse_path_filtering_is_named_where_a_vip_is_on_another_interface() -> Result<()> {
    let config = config_at(TENTH);
    let config = format!(
        "{config}\n[vips.inner]\naddress = \"192.168.1.14/24\"\nvrid = 61\ninterface = \"eth1\"\n"
    );
    let mut site = Site::build(&config, Service::Echo)?;
    site.lab.add_network()?;
    site.lab
        .sysctl(Node::Lb1, "net.ipv4.conf.eth0.rp_filter", "1")?;
    site.pair.start(Node::Lb1)?;
    site.watched("forwarding-rp-filter", |site| {
        site.wait("the reason is shown", |site| {
            let status = site.pair.status(Node::Lb1).unwrap_or_default();
            let reason = status["forwarding"]["reason"].to_string();
            reason.contains("sysctl net.ipv4.conf.eth0.rp_filter=2")
                && reason.contains("inner is on eth1")
        })
    })
}
