//! A VIP over IPv6 beside those over IPv4: who holds it after each event, how soon clients are served
//! again, and who answers for it.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "tests on the lab wait, measure, print what they saw, and hear what is on the wire"
)]

mod site;

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::backend::Service;
use lab::balancer::{Balancer as _, Settings};
use lab::client::{self, Speak};
use lab::fmclb::reference_config;
use lab::prober::{Prober, Question};
use lab::topology::{API_VIP, WEB_VIP, WEB_VIP_V6};
use lab::{Node, fault, lease};
use socket2::{Domain, Protocol, Socket, Type};

use crate::site::Site;

const ADVERT: Duration = Duration::from_millis(100);
/// What a takeover takes beyond its detection.
const USABLE: Duration = Duration::from_millis(20);
/// Room for a busy machine.
const ROOM: u32 = 2;
/// ICMPv6 (RFC 4861, section 4.4).
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// The reference file, and the web VIP over IPv6 too: with the same VRID, and lb2 holds it.
fn config() -> String {
    let file = reference_config(&Settings::ours(ADVERT));
    let file = file.replace("[vrrp]", "[vrrp]\npreempt_delay = \"1s\"");
    format!(
        "{file}\n[vips.web6]\naddress = \"{WEB_VIP_V6}/64\"\nvrid = 52\n\
         priority = {{ lb1 = 240, lb2 = 250 }}\n\n\
         [listeners.http6]\nbind = [\"vips.web6:80\"]\nbackend = \"traefik-http\"\n"
    )
}

fn web6() -> SocketAddr {
    SocketAddr::from((WEB_VIP_V6, 80))
}

/// lb1 alone holds the IPv4 VIPs, `v6` alone the other one.
fn holds(site: &Site, v6: Node) -> bool {
    [
        (IpAddr::from(API_VIP), Node::Lb1),
        (WEB_VIP.into(), Node::Lb1),
        (WEB_VIP_V6.into(), v6),
    ]
    .into_iter()
    .all(|(vip, node)| lease::holders(&site.lab, vip) == [node])
}

/// Waits until it is so, and looks for a second whether it stays so.
fn expect(site: &Site, event: &str, v6: Node) -> Result<()> {
    let what = format!("{event}: {v6} alone holds the IPv6 VIP");
    site.wait(&what, |site| holds(site, v6))?;
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_secs(1) {
        ensure!(holds(site, v6), "{what}, but then no more");
        std::thread::sleep(Duration::from_millis(10));
    }
    let neighbour = site
        .lab
        .ip(Node::Client, &format!("-6 neigh show {WEB_VIP_V6}"))?;
    ensure!(neighbour.contains(&v6.mac()), "{event}: {neighbour}");
    Ok(())
}

/// Waits until clients are served, and serves as the beginning of what is measured next.
fn served(site: &Site, prober: &Prober) -> Result<()> {
    // From now on: the answers of a moment ago were the other node's, perhaps.
    let since = Instant::now();
    site.wait("answers", |_| prober.good_since(since) > 50)
}

/// The outage since `since` is within the bound.
fn within(prober: &Prober, event: &str, since: Instant, bound: Duration) -> Result<()> {
    let outage = prober.report().outage(since);
    println!("{event} over IPv6: {:?}, bound {bound:?}", outage.gap);
    ensure!(
        outage.recovered && outage.gap <= bound * ROOM,
        "{event}: {outage:?}"
    );
    Ok(())
}

/// The hardware addresses of those who answer when the client asks for the VIP.
fn who_answers(site: &Site) -> Result<Vec<String>> {
    let ears = site.lab.run_in(Node::Client, || {
        let protocol = Some(Protocol::ICMPV6);
        let socket = Socket::new(Domain::IPV6, Type::RAW, protocol)?;
        socket.set_read_timeout(Some(Duration::from_millis(300)))?;
        std::io::Result::Ok(socket)
    });
    let ears = ears.context("listen to ICMPv6")?;
    let flush = format!("-6 neigh flush to {WEB_VIP_V6} dev eth0");
    site.lab.ip(Node::Client, &flush)?;
    client::who(&site.lab, Node::Client, web6(), Speak::Echo)?;
    let mut answers = Vec::new();
    let mut message = [0; 1_500];
    for _ in 0..1_000 {
        let length = match (&ears).read(&mut message) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error).context("hear ICMPv6"),
        };
        let of_vip = length >= 32 && message[8..24] == WEB_VIP_V6.octets();
        if of_vip && message[0] == NEIGHBOUR_ADVERTISEMENT {
            let mac = message[26..32].iter().map(|byte| format!("{byte:02x}"));
            answers.push(mac.collect::<Vec<_>>().join(":"));
        }
    }
    Ok(answers)
}

#[test]
fn an_ipv6_vip_is_elected_served_and_handed_over_on_its_own() -> Result<()> {
    let mut site = Site::build(&config(), Service::Echo)?;
    site.lab.enable_ipv6()?;
    for node in Node::LBS {
        site.pair.start(node)?;
    }
    site.watched("ipv6", |site| {
        site.wait("the VIPs are held", |site| holds(site, Node::Lb2))?;
        for node in Node::LBS {
            site.wait_ready(node)?;
        }
        let prober = Prober::start(&site.lab, web6(), Question::Echo)?;
        served(site, &prober)?;
        expect(site, "start", Node::Lb2)?;
        says(site)?;

        let answers = who_answers(site)?;
        ensure!(!answers.is_empty(), "nobody answered for the VIP");
        let holder = Node::Lb2.mac();
        ensure!(answers.iter().all(|mac| *mac == holder), "{answers:?}");

        let stopped = Instant::now();
        site.pair.stop(Node::Lb2)?;
        served(site, &prober)?;
        within(&prober, "clean stop", stopped, USABLE)?;
        expect(site, "clean stop", Node::Lb1)?;

        let returned = Instant::now();
        site.pair.start(Node::Lb2)?;
        site.wait("lb2 has its VIP back", |site| holds(site, Node::Lb2))?;
        served(site, &prober)?;
        within(&prober, "return", returned, USABLE)?;
        expect(site, "return", Node::Lb2)?;

        let down = Settings::ours(ADVERT).active_down();
        let lost = Instant::now();
        let cut = fault::port_down(&site.lab, Node::Lb2)?;
        site.wait("lb1 has taken over", |site| {
            lease::is_holder(&site.lab, Node::Lb1, WEB_VIP_V6)
        })?;
        served(site, &prober)?;
        within(&prober, "machine lost", lost, down + USABLE)?;
        expect(site, "machine lost", Node::Lb1)?;

        let mended = Instant::now();
        cut.now()?;
        site.wait("lb2 has its VIP back", |site| holds(site, Node::Lb2))?;
        served(site, &prober)?;
        within(&prober, "machine back", mended, USABLE)?;
        expect(site, "machine back", Node::Lb2)?;

        rival_is_named(site)?;
        released(site)
    })
}

/// Status and metrics name the VIP.
fn says(site: &Site) -> Result<()> {
    for (node, state) in [(Node::Lb1, "backup"), (Node::Lb2, "active")] {
        let said = site.pair.vip_state(node, "web6");
        ensure!(said.as_deref() == Some(state), "{node} says {said:?}");
    }
    let metrics = client::http(&site.lab, Node::Lb2, "127.0.0.1:9600".parse()?, "/metrics")?;
    let active = format!(
        "fmc_lb_vrrp_vip_state{{address=\"{WEB_VIP_V6}\",state=\"active\",vip=\"web6\"}} 1"
    );
    let text = metrics.body;
    ensure!(text.contains(&active), "no {active} in {text}");
    Ok(())
}

/// A machine with the VIP that asks each node from it, as it does for any neighbour.
fn rival_is_named(site: &Site) -> Result<()> {
    let foreign = Node::Router;
    let vip = format!("{WEB_VIP_V6}/128 dev eth0");
    site.lab.ip(foreign, &format!("addr add {vip} nodad"))?;
    site.lab.ip(foreign, "-6 neigh flush dev eth0")?;
    site.lab.run_in(foreign, || {
        let socket = std::net::UdpSocket::bind((WEB_VIP_V6, 0))?;
        for node in Node::LBS {
            socket.send_to(b"x", (node.address_v6(), 9))?;
        }
        std::io::Result::Ok(())
    })?;
    for node in Node::LBS {
        site.wait(&format!("{node} names the foreign machine"), |site| {
            let status = site.pair.status(node).unwrap_or_default();
            let mut vips = status["vips"].as_array().into_iter().flatten();
            vips.any(|vip| vip["name"] == "web6" && vip["rival"] == foreign.mac())
        })?;
    }
    ensure!(holds(site, Node::Lb2), "the VIP moved");
    site.lab.ip(foreign, &format!("addr del {vip}")).map(drop)
}

/// After a crash of all its processes `release` leaves neither lease nor shadow, and the other node
/// takes over.
fn released(site: &mut Site) -> Result<()> {
    site.pair.kill_all(Node::Lb2)?;
    let config = site.pair.config_file().display().to_string();
    let line = ["release", "--config", &config, "--node", "lb2"];
    let output = site.pair.command(Node::Lb2, &line)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "release: {output:?}");
    println!("release: {said}");
    let left = site.lab.ip(Node::Lb2, "-6 addr show")?;
    ensure!(!left.contains(&WEB_VIP_V6.to_string()), "{left}");
    site.wait("lb1 has the VIP", |site| holds(site, Node::Lb1))
}
