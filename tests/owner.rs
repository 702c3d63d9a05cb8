//! Priority 255 beside Debian's Keepalived: the owner of RFC 9568, on either node and on both.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure and print what they saw"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::balancer::Balancer as _;
use lab::fmclb::FmcLb;
use lab::keepalived::Keepalived;
use lab::topology::API_VIP;
use lab::{Lab, Node, capture, lease};

const BINARY: &str = env!("CARGO_BIN_EXE_fmc-lb");
const OWNER: u8 = 255;
const OTHER: u8 = 240;
/// Three adverts of 100 ms and a skew time of less than one.
const DOWN: Duration = Duration::from_millis(400);
/// Two programs start on a machine that does other things too.
const START: Duration = Duration::from_secs(3);

/// lb1 runs fmc-lb, lb2 Keepalived.
struct Mixed {
    lab: Lab,
    fmc_lb: FmcLb,
}

impl Mixed {
    /// Our file has these priorities; a node that returns would wait for an hour, if it had to.
    fn new(ours: u8, theirs: u8) -> Result<Self> {
        let lab = Lab::start()?;
        let config = format!(
            "[nodes.lb1]\naddress = \"{}\"\npriority = {ours}\n\n\
             [nodes.lb2]\naddress = \"{}\"\npriority = {theirs}\nruns = \"keepalived\"\n\n\
             [pair]\ninterface = \"eth0\"\n\n[vrrp]\npreempt_delay = \"1h\"\n\n\
             [vips.api]\naddress = \"{API_VIP}/24\"\nvrid = 51\n\n\
             [listeners.api]\nbind = [\"vips.api:6443\"]\nbackend = \"api\"\nrequired = false\n\n\
             [backends.api]\nservers = [\"10.17.4.21:6443\"]\nprobe = \"off\"\n",
            Node::Lb1.address(),
            Node::Lb2.address(),
        );
        let fmc_lb = FmcLb::new(&lab, Path::new(BINARY), &config)?;
        Ok(Self { lab, fmc_lb })
    }

    fn keepalived(&self, priority: u8) -> Result<Keepalived> {
        let state = if priority == OWNER {
            "MASTER"
        } else {
            "BACKUP"
        };
        let config = format!(
            "global_defs {{\n    router_id lb2\n}}\nvrrp_instance api {{\n    state {state}\n    \
             interface eth0\n    virtual_router_id 51\n    priority {priority}\n    version 3\n    \
             advert_int 0.1\n    virtual_ipaddress {{\n        {API_VIP}/32\n    }}\n}}\n"
        );
        Keepalived::start(&self.lab, Node::Lb2, &config)
    }

    /// `node` alone holds the VIP within the bound, and half a second later still.
    fn expect(&self, event: &str, node: Node, bound: Duration) -> Result<()> {
        let start = Instant::now();
        let what = format!("{event}: {node} alone holds the VIP");
        let holds = || lease::holder(&self.lab, API_VIP) == Some(node);
        self.lab.wait_until(bound, &what, holds)?;
        println!("{event}: {node} holds it after {:?}", start.elapsed());
        let quiet = Instant::now();
        while quiet.elapsed() < Duration::from_millis(500) {
            let holders = lease::holders(&self.lab, API_VIP);
            ensure!(holders == [node], "{what}, but then: {holders:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

fn watched(
    name: &str,
    mut mixed: Mixed,
    body: impl FnOnce(&mut Mixed) -> Result<()>,
) -> Result<()> {
    let lab = mixed.lab.clone();
    capture::around(&lab, name, || body(&mut mixed))
}

#[test]
fn ka_53_beside_a_keepalived_that_owns_the_vip_it_is_a_backup() -> Result<()> {
    watched("ka-53", Mixed::new(250, OWNER)?, |mixed| {
        mixed.fmc_lb.start(Node::Lb1)?;
        mixed.expect("alone", Node::Lb1, START)?;
        let keepalived = mixed.keepalived(OWNER)?;
        mixed.expect("the owner starts", Node::Lb2, START)?;
        let state = mixed.fmc_lb.vip_state(Node::Lb1, "api");
        ensure!(state.as_deref() == Some("backup"), "{state:?}");
        keepalived.stop()?;
        mixed.expect("the owner stops", Node::Lb1, DOWN * 2)
    })
}

#[test]
fn an_owner_takes_its_vip_from_a_keepalived_without_a_delay() -> Result<()> {
    watched("owner", Mixed::new(OWNER, OTHER)?, |mixed| {
        let _keepalived = mixed.keepalived(OTHER)?;
        mixed.expect("Keepalived alone", Node::Lb2, START)?;
        mixed.fmc_lb.start(Node::Lb1)?;
        mixed.expect("the owner starts", Node::Lb1, START)?;
        mixed.fmc_lb.stop(Node::Lb1)?;
        mixed.expect("the owner stops", Node::Lb2, DOWN * 2)
    })
}

/// E10. The file does not know that Keepalived says 255, too.
#[test]
fn two_owners_are_a_warning_and_one_of_them_holds_the_vip() -> Result<()> {
    watched("two-owners", Mixed::new(OWNER, OTHER)?, |mixed| {
        mixed.fmc_lb.start(Node::Lb1)?;
        mixed.expect("alone", Node::Lb1, START)?;
        let _keepalived = mixed.keepalived(OWNER)?;
        let warned = || {
            let status = mixed.fmc_lb.status(Node::Lb1).unwrap_or_default();
            let warnings = status["warnings"].as_array().cloned().unwrap_or_default();
            let text = "VIP api: another machine says that it owns it, too (priority 255)";
            let mut warnings = warnings.iter().filter_map(|one| one.as_str());
            warnings.any(|one| one.starts_with(text))
        };
        mixed.lab.wait_until(START * 2, "the warning", warned)?;
        // Between equals the higher address stays, unless the other gives in.
        let one = || lease::holder(&mixed.lab, API_VIP).is_some();
        mixed.lab.wait_until(START, "one of them holds it", one)
    })
}
