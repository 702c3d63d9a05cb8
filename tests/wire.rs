//! What a node says of what is on the wire: one-way loss, a firewall, other checksums, a VRID that is used twice.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lab::balancer::Balancer as _;
use lab::fault;
use lab::fmclb::FmcLb;
use lab::keepalived::Keepalived;
use lab::topology::API_VIP;
use lab::{Lab, Node, capture, lease};

const BINARY: &str = env!("CARGO_BIN_EXE_fmc-lb");
/// A program starts on a machine that does other things too, and becomes active.
const START: Duration = Duration::from_secs(5);
/// A warning is there as soon as somebody looks; `status` itself takes its time.
const SAID: Duration = Duration::from_secs(1);

/// Keepalived's lines of the other node.
const V3: &str = "version 3\n    advert_int 0.1";

/// Two load balancers, on which either program may run.
struct Wire {
    lab: Lab,
    fmc_lb: FmcLb,
}

impl Wire {
    /// With these lines in `[nodes.lb2]`, `[pair]` and `[vrrp]`.
    fn new(lb2: &str, pair: &str, vrrp: &str) -> Result<Self> {
        let lab = Lab::start()?;
        let config = format!(
            "[nodes.lb1]\naddress = \"{}\"\npriority = 250\n\n\
             [nodes.lb2]\naddress = \"{}\"\npriority = 240\n{lb2}\n\n\
             [pair]\ninterface = \"eth0\"\n{pair}\n\n[vrrp]\npreempt_delay = \"0s\"\n{vrrp}\n\n\
             [vips.api]\naddress = \"{API_VIP}/24\"\nvrid = 51\n\n\
             [listeners.api]\nbind = [\"vips.api:6443\"]\nbackend = \"api\"\nrequired = false\n\n\
             [backends.api]\nservers = [\"10.17.4.21:6443\"]\nprobe = \"off\"\n",
            Node::Lb1.address(),
            Node::Lb2.address(),
        );
        let fmc_lb = FmcLb::new(&lab, Path::new(BINARY), &config)?;
        Ok(Self { lab, fmc_lb })
    }

    /// Both nodes run fmc-lb, lb1 is active; with the pair channel or without.
    fn pair(channel: bool) -> Result<Self> {
        let key = if channel {
            "key_file = \"pair.key\""
        } else {
            ""
        };
        let mut wire = Self::new("", key, "advert_interval = \"100ms\"")?;
        wire.fmc_lb.start(Node::Lb1)?;
        wire.wait("lb1 is active", |wire| wire.is(Node::Lb1, "active"))?;
        wire.fmc_lb.start(Node::Lb2)?;
        wire.wait("lb2 is a backup", |wire| wire.is(Node::Lb2, "backup"))?;
        Ok(wire)
    }

    fn wait(&self, what: &str, condition: impl Fn(&Self) -> bool) -> Result<()> {
        self.lab.wait_until(START, what, || condition(self))
    }

    fn is(&self, node: Node, state: &str) -> bool {
        self.fmc_lb.vip_state(node, "api").as_deref() == Some(state)
    }

    fn warnings(&self, node: Node) -> Vec<String> {
        let status = self.fmc_lb.status(node).unwrap_or_default();
        let warnings = status["warnings"].as_array().cloned().unwrap_or_default();
        let words = warnings.iter().filter_map(|one| one.as_str());
        words.map(str::to_owned).collect()
    }

    /// Waits until a node says it; returns after how long.
    fn said(&self, node: Node, words: &str) -> Result<Duration> {
        let start = Instant::now();
        let said = || self.warnings(node).iter().any(|one| one.contains(words));
        let what = format!("{node} says: {words}");
        if let Err(error) = self.lab.wait_until(START, &what, said) {
            bail!("{error:#}; it says {:?}", self.warnings(node));
        }
        println!("{what}: after {:?}", start.elapsed());
        Ok(start.elapsed())
    }

    /// Keepalived on lb2, with these lines of its instance.
    fn keepalived(&self, lines: &str) -> Result<Keepalived> {
        let config = format!(
            "global_defs {{\n    router_id lb2\n}}\nvrrp_instance api {{\n    state BACKUP\n    \
             interface eth0\n    virtual_router_id 51\n    priority 240\n    {lines}\n    \
             virtual_ipaddress {{\n        {API_VIP}/32\n    }}\n}}\n"
        );
        Keepalived::start(&self.lab, Node::Lb2, &config)
    }
}

fn watched(name: &str, mut wire: Wire, body: impl FnOnce(&mut Wire) -> Result<()>) -> Result<()> {
    let lab = wire.lab.clone();
    capture::around(&lab, name, || body(&mut wire))
}

#[test]
fn par_64_a_node_that_hears_nothing_is_told_of_by_the_other_one() -> Result<()> {
    for channel in [false, true] {
        watched("par-64", Wire::pair(channel)?, |wire| {
            let deaf = fault::speaks_to_nobody(&wire.lab, Node::Lb1)?;
            wire.wait("lb2 is active too", |wire| wire.is(Node::Lb2, "active"))?;
            let after = wire.said(Node::Lb1, "VIP api: both nodes are active")?;
            ensure!(after < SAID, "pair channel {channel}: said after {after:?}");
            ensure!(wire.is(Node::Lb1, "active"), "lb1 hears a lower one");
            deaf.now()?;
            wire.wait("lb1 alone is active, and says nothing of lb2", |wire| {
                let said = wire.warnings(Node::Lb1);
                lease::holders(&wire.lab, API_VIP) == [Node::Lb1]
                    && wire.is(Node::Lb2, "backup")
                    && !said.iter().any(|one| one.contains("both nodes"))
            })
        })?;
    }
    Ok(())
}

#[test]
fn par_67_a_firewall_that_drops_adverts_is_named_before_it_moves_a_vip() -> Result<()> {
    let words = "VIP api: adverts of lb1 are on the wire, but a firewall here drops them";
    for channel in [false, true] {
        watched("par-67", Wire::pair(channel)?, |wire| {
            let quiet = wire.warnings(Node::Lb2);
            ensure!(
                !quiet.iter().any(|one| one.contains("firewall")),
                "{quiet:?}"
            );
            let firewall = fault::protocol_112_refused(&wire.lab, Node::Lb2)?;
            let after = wire.said(Node::Lb2, words)?;
            ensure!(
                after < SAID * 2,
                "pair channel {channel}: said after {after:?}"
            );
            // Heartbeats are enough: nothing moves.
            let state = if channel { "backup" } else { "active" };
            wire.wait("lb2 has its state", |wire| wire.is(Node::Lb2, state))?;
            firewall.now()?;
            wire.wait("it is over", |wire| {
                wire.is(Node::Lb2, "backup")
                    && !wire
                        .warnings(Node::Lb2)
                        .iter()
                        .any(|one| one.contains("firewall"))
            })
        })?;
    }
    Ok(())
}

/// Keepalived drops what it takes for corrupt, so both are active; ours says why.
#[test]
fn ka_49_another_form_of_the_checksum_is_named() -> Result<()> {
    let keys = "advert_interval = \"100ms\"\nchecksum = \"message\"";
    let wire = Wire::new("runs = \"keepalived\"", "", keys)?;
    watched("ka-49", wire, |wire| {
        wire.fmc_lb.start(Node::Lb1)?;
        wire.wait("lb1 is active", |wire| wire.is(Node::Lb1, "active"))?;
        let _keepalived = wire.keepalived(V3)?;
        let words = "VIP api: lb2 sums its adverts with the pseudo-header, this node without (checksum = \"message\")";
        wire.said(Node::Lb1, words)?;
        wire.wait("both are active", |wire| {
            lease::holders(&wire.lab, API_VIP) == Node::LBS
        })
    })
}

/// Each drops what the other says, so both are active; ours says why.
#[test]
fn cod_08_another_version_password_or_interval_is_named() -> Result<()> {
    let v2 = "version = 2\nadvert_interval = \"1s\"";
    let with_password = format!("{v2}\nauth_pass = \"fmclb-01\"");
    let other_password = "version 2\n    advert_int 1\n    authentication {\n        auth_type PASS\n        \
                          auth_pass fmclb-02\n    }";
    let cases = [
        (
            "advert_interval = \"100ms\"",
            "version 2\n    advert_int 1",
            "it speaks version 2 of VRRP, this node version 3",
        ),
        (v2, V3, "it speaks version 3 of VRRP, this node version 2"),
        (
            &with_password,
            other_password,
            "its authentication is another one",
        ),
        (
            "version = 2\nadvert_interval = \"2s\"",
            "version 2\n    advert_int 1",
            "its interval is another one than 2 s",
        ),
    ];
    for (ours, theirs, words) in cases {
        let wire = Wire::new("runs = \"keepalived\"", "", ours)?;
        watched("cod-08", wire, |wire| {
            let _keepalived = wire.keepalived(theirs)?;
            wire.fmc_lb.start(Node::Lb1)?;
            wire.said(
                Node::Lb1,
                &format!("VIP api: adverts of lb2 are dropped, {words}"),
            )?;
            Ok(())
        })?;
    }
    Ok(())
}

/// Beside a Keepalived that takes unicast of its peer alone; then one that sums as old ones did.
#[test]
fn ka_50_unicast_with_checked_sources_and_the_checksum_of_old_keepalived() -> Result<()> {
    let unicast = format!(
        "unicast_src_ip {}\n    check_unicast_src\n    unicast_peer {{\n        {}\n    }}",
        Node::Lb2.address(),
        Node::Lb1.address()
    );
    let second = "version = 2\nadvert_interval = \"1s\"";
    let fast = "advert_interval = \"100ms\"";
    std::thread::scope(|scope| {
        let cases = [
            (second, "version 2\n    advert_int 1", "", false),
            (fast, V3, "", false),
            (fast, V3, "\n    old_unicast_checksum", true),
        ];
        let running = cases.map(|(ours, theirs, more, old)| {
            let lines = format!("{theirs}\n    {unicast}{more}");
            let keys = format!("transport = \"unicast\"\n{ours}");
            scope.spawn(move || {
                let wire = Wire::new("runs = \"keepalived\"", "", &keys)?;
                watched("ka-50", wire, |wire| beside_unicast(wire, &lines, old)).context(lines)
            })
        });
        running
            .into_iter()
            .try_for_each(|case| case.join().expect("no panic"))
    })
}

fn beside_unicast(wire: &mut Wire, lines: &str, old: bool) -> Result<()> {
    let alone = |node: Node| move |wire: &Wire| lease::holder(&wire.lab, API_VIP) == Some(node);
    let _keepalived = wire.keepalived(lines)?;
    wire.wait("Keepalived holds the VIP", alone(Node::Lb2))?;
    wire.fmc_lb.start(Node::Lb1)?;
    if old {
        wire.said(
            Node::Lb1,
            "remove old_unicast_checksum from its keepalived.conf",
        )?;
        return Ok(());
    }
    wire.wait("lb1 takes the VIP", alone(Node::Lb1))?;
    wire.fmc_lb.stop(Node::Lb1)?;
    wire.wait("Keepalived takes it back", alone(Node::Lb2))
}

/// A pair with VRID 51, and somebody else's router with the same.
#[test]
fn ka_55_a_vrid_that_is_used_twice_is_named_and_moves_nothing() -> Result<()> {
    let cases = [
        (
            "version = 2\nadvert_interval = \"1s\"",
            "version 2\n    advert_int 1",
        ),
        ("advert_interval = \"100ms\"", V3),
    ];
    for (ours, theirs) in cases {
        watched(
            "ka-55",
            Wire::new("runs = \"keepalived\"", "", ours)?,
            |wire| {
                wire.fmc_lb.start(Node::Lb1)?;
                wire.wait("lb1 is active", |wire| wire.is(Node::Lb1, "active"))?;
                let config = format!(
                    "vrrp_instance foreign {{\n    state MASTER\n    interface eth0\n    \
                 virtual_router_id 51\n    priority 254\n    {theirs}\n    \
                 virtual_ipaddress {{\n        192.168.0.77/32\n    }}\n}}\n"
                );
                // The client's machine is the foreign router.
                let foreign = Keepalived::start(&wire.lab, Node::Client, &config)?;
                let words = "sends adverts for VRID 51 too, and is no node of this file: is the VRID used twice?";
                wire.said(Node::Lb1, words)?;
                ensure!(wire.is(Node::Lb1, "active"), "a foreign router moved a VIP");
                foreign.stop()?;
                // The other node with another file.
                let other = config.replace("priority 254", "priority 240");
                let _other = Keepalived::start(&wire.lab, Node::Lb2, &other)?;
                let words = "for VRID 51 name other addresses than 192.168.0.10: is the VRID used twice, or its file another?";
                wire.said(Node::Lb1, words)?;
                ensure!(wire.is(Node::Lb1, "active"), "a lower priority moved a VIP");
                Ok(())
            },
        )?;
    }
    Ok(())
}
