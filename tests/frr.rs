//! Beside FRR's vrrpd on the other node, over IPv4 and IPv6 at once and with the same VRID: who holds the VIPs after each
//! event.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests on the lab measure and print what they saw"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lab::balancer::Balancer as _;
use lab::fmclb::FmcLb;
use lab::frr::{Frr, Routers};
use lab::topology::{API_VIP, WEB_VIP_V6};
use lab::{Lab, Node, capture, lease};

const BINARY: &str = env!("CARGO_BIN_EXE_fmc-lb");
/// FRR's, between ours.
const THEIRS: u8 = 200;
const LIMIT: Duration = Duration::from_secs(5);

/// lb1 runs fmc-lb, lb2 FRR.
struct Mixed {
    lab: Lab,
    fmc_lb: FmcLb,
    frr: Option<Frr>,
}

impl Mixed {
    fn new(ours: u8) -> Result<Self> {
        let lab = Lab::start()?;
        lab.enable_ipv6()?;
        let config = format!(
            "[nodes.lb1]\naddress = \"{}\"\npriority = {ours}\n\n\
             [nodes.lb2]\naddress = \"{}\"\npriority = {THEIRS}\nruns = \"keepalived\"\n\n\
             [pair]\ninterface = \"eth0\"\n\n[vrrp]\npreempt_delay = \"0s\"\n\n\
             [vips.api]\naddress = \"{API_VIP}/24\"\nvrid = 51\n\n\
             [vips.web6]\naddress = \"{WEB_VIP_V6}/64\"\nvrid = 51\n\n\
             [listeners.all]\nbind = [\"vips.api:80\", \"vips.web6:80\"]\nbackend = \"web\"\nrequired = false\n\n\
             [backends.web]\nservers = [\"10.17.4.24:80\"]\nprobe = \"off\"\n",
            Node::Lb1.address(),
            Node::Lb2.address(),
        );
        let fmc_lb = FmcLb::new(&lab, Path::new(BINARY), &config)?;
        Ok(Self {
            lab,
            fmc_lb,
            frr: None,
        })
    }

    fn start_frr(&mut self) -> Result<()> {
        let routers = Routers {
            vrid: 51,
            priority: THEIRS,
            advert_interval: 100,
            vip: format!("{API_VIP}/24"),
            vip_v6: format!("{WEB_VIP_V6}/64"),
            link_local: "fe80::200:5eff:fe00:233".to_owned(),
        };
        self.frr = Some(Frr::start(&self.lab, Node::Lb2, &routers)?);
        Ok(())
    }

    fn ours(&self) -> usize {
        let v4 = lease::is_holder(&self.lab, Node::Lb1, API_VIP);
        let v6 = lease::is_holder(&self.lab, Node::Lb1, WEB_VIP_V6);
        usize::from(v4) + usize::from(v6)
    }

    fn theirs(&self) -> usize {
        let states = self.frr.as_ref().and_then(|frr| frr.states().ok());
        let masters = states.into_iter().flatten();
        masters.filter(|state| state == "Master").count()
    }

    /// After the event that just came one node holds both VIPs, the other none, and so it stays.
    fn expect(&self, event: &str, ours: usize) -> Result<()> {
        let what = format!("{event}: fmc-lb holds {ours} of the VIPs, FRR the others");
        let start = Instant::now();
        let theirs = if self.frr.is_some() { 2 - ours } else { 0 };
        let holds = || (self.ours(), self.theirs()) == (ours, theirs);
        self.lab.wait_until(LIMIT, &what, holds)?;
        println!("{event}: {:?}", start.elapsed());
        for _ in 0..20 {
            anyhow::ensure!(holds(), "{what}, but then no more");
        }
        Ok(())
    }
}

fn case(name: &str, ours: u8, story: fn(&mut Mixed) -> Result<()>) -> Result<()> {
    let mut mixed = Mixed::new(ours)?;
    let lab = mixed.lab.clone();
    capture::around(&lab, name, || story(&mut mixed)).with_context(|| name.to_owned())
}

#[test]
fn with_the_higher_priority_fmc_lb_takes_both_vips_from_frr_and_gives_them_back() -> Result<()> {
    case("frr-below", 250, |mixed| {
        mixed.start_frr()?;
        mixed.expect("FRR alone", 0)?;
        mixed.fmc_lb.start(Node::Lb1)?;
        mixed.expect("fmc-lb comes", 2)?;
        mixed.fmc_lb.stop(Node::Lb1)?;
        mixed.expect("clean stop", 0)?;
        mixed.fmc_lb.start(Node::Lb1)?;
        mixed.expect("return", 2)?;
        mixed.fmc_lb.kill_all(Node::Lb1)?;
        mixed
            .lab
            .wait_until(LIMIT, "FRR notices the silence", || mixed.theirs() == 2)
    })
}

#[test]
fn with_the_lower_priority_fmc_lb_waits_for_frr_to_leave() -> Result<()> {
    case("frr-above", 100, |mixed| {
        mixed.fmc_lb.start(Node::Lb1)?;
        mixed.expect("fmc-lb alone", 2)?;
        mixed.start_frr()?;
        mixed.expect("FRR comes", 0)?;
        mixed.frr.take().context("it runs")?.stop()?;
        mixed.expect("clean stop of FRR", 2)?;
        mixed.start_frr()?;
        mixed.expect("return of FRR", 0)
    })
}
