//! Packets that mean nothing, in numbers: neither node is moved or slowed by them, and a machine that dies meanwhile is replaced
//! as fast as in peace.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "tests on the lab forge packets at their own pace, wait, measure and print what they saw"
)]

mod site;

use std::net::{IpAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use common::addr::Vrid;
use common::config::ChecksumForm;
use lab::adverts::AdvertWatch;
use lab::balancer::{Part, Settings};
use lab::fault;
use lab::prober::{Prober, Question};
use lab::topology::{API_VIP, WEB_VIP};
use lab::{Lab, Node, limits};
use socket2::{Domain, Protocol, Socket, Type};
use vrrp::packet::{Addresses, Advert, Envelope, GROUP, MAX_DATAGRAM, Version, encode};

use crate::site::{Site, config_at, web};

const ADVERT: Duration = Duration::from_millis(100);
/// Between two packets of a flood of a thousand a second.
const PACE: Duration = Duration::from_millis(1);
/// Share of one core that vrrp may take meanwhile.
const CPU: f64 = 0.1;
/// What a flood at line rate may add to an outage.
const DELAY: Duration = Duration::from_millis(50);

/// Offsets in a datagram: IP header of 20 bytes, then the advert.
const TTL: usize = 8;
const VRID: usize = 21;
const CHECKSUM: usize = 26;

fn seconds() -> u64 {
    let set = std::env::var("FMC_LB_FLOOD_SECONDS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// Losses of the machine, in peace and in a flood each.
fn losses() -> u32 {
    let set = std::env::var("FMC_LB_FLOOD_LOSSES").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// A third machine of the LAN that forges packets until it is stopped.
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

impl Flood {
    /// `pace` = between two packets; `None` = as fast as it goes.
    fn start(lab: &Lab, packets: Vec<Vec<u8>>, pace: Option<Duration>) -> Result<Self> {
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (ending, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = lab.spawn_in(Node::Client, "flood", move || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))
                .context("open a raw socket (CAP_NET_RAW)")?;
            socket.bind_device(Some(b"eth0")).context("bind to eth0")?;
            socket
                .set_header_included_v4(true)
                .context("set IP_HDRINCL")?;
            let group = SocketAddrV4::new(GROUP, 0).into();
            let mut due = Instant::now();
            for packet in packets.iter().cycle() {
                if ending.load(Ordering::Relaxed) {
                    break;
                }
                socket.send_to(packet, &group).context("send a packet")?;
                count.fetch_add(1, Ordering::Relaxed);
                if let Some(pace) = pace {
                    due += pace;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            }
            Ok(())
        })?;
        Ok(Self { stop, sent, thread })
    }

    fn finish(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the flood does not panic")?;
        Ok(self.sent.load(Ordering::Relaxed))
    }
}

/// An advert that would win every election, said to be of a load balancer, without its signature.
fn forged(from: Node, vrid: u8, vip: std::net::Ipv4Addr) -> Vec<u8> {
    let advert = Advert {
        vrid: Vrid::new(vrid).expect("not 0"),
        priority: 254,
        interval: ADVERT,
        addresses: Addresses::V4(&[vip.octets()]),
    };
    let envelope = Envelope {
        source: IpAddr::V4(from.address()),
        destination: GROUP.into(),
        version: Version::V3(ChecksumForm::Pseudo),
    };
    let mut bytes = [0; MAX_DATAGRAM];
    let length = encode(&advert, &envelope, None, &mut bytes).expect("it can be written");
    bytes[..length].to_vec()
}

/// Unsigned ones in the name of either node, and malformed ones: too far travelled, of another virtual router, too short, too
/// long, with a wrong checksum.
fn packets() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for from in Node::LBS {
        for (vrid, vip) in [(51, API_VIP), (52, WEB_VIP)] {
            let good = forged(from, vrid, vip);
            all.push(good.clone());
            let mut change = |change: &dyn Fn(&mut Vec<u8>)| {
                let mut bad = good.clone();
                change(&mut bad);
                all.push(bad);
            };
            change(&|bytes| bytes[TTL] = 64);
            change(&|bytes| bytes[VRID] = 77);
            change(&|bytes| bytes.truncate(27));
            change(&|bytes| bytes.extend([0; 8]));
            change(&|bytes| bytes[CHECKSUM] ^= 0x55);
        }
    }
    all
}

/// Processor time of vrrp of a node so far, to 10 ms (proc_pid_stat(5)).
fn cpu(site: &Site, node: Node) -> Result<Duration> {
    let pid = site.pair.pid(node, Part::Vrrp)?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("a line of stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

#[test]
fn a_thousand_bad_packets_a_second_move_nobody_and_slow_no_advert() -> Result<()> {
    let site = Site::steady(&Settings::ours(ADVERT), &config_at(ADVERT))?;
    site.watched("a-thousand-bad-packets-a-second", |site| {
        let watch = AdvertWatch::start(&site.lab, Node::Lb1)?;
        let (before, start) = (site.changes()?, Instant::now());
        let used = [cpu(site, Node::Lb1)?, cpu(site, Node::Lb2)?];
        let flood = Flood::start(&site.lab, packets(), Some(PACE))?;
        std::thread::sleep(Duration::from_secs(seconds()));
        let sent = flood.finish()?;
        let elapsed = start.elapsed();
        ensure!(
            site.changes()? == before,
            "{before:?} became {:?}",
            site.changes()?
        );
        // In whole ticks of the kernel's clock, two for the first and the last.
        let limit = elapsed.mul_f64(CPU) + Duration::from_millis(20);
        for (node, used) in Node::LBS.into_iter().zip(used) {
            let used = cpu(site, node)? - used;
            println!("{node}: vrrp took {used:?} of {elapsed:?}");
            ensure!(used <= limit, "vrrp of {node} took {used:?}");
        }
        for vrid in [51, 52] {
            let (mean, worst) = intervals(&watch, vrid, start)?;
            println!(
                "{sent} bad packets: adverts of {vrid} each {mean:?}, longest pause {worst:?}"
            );
            ensure!(
                mean.abs_diff(ADVERT) <= ADVERT / 20,
                "mean interval {mean:?}"
            );
            ensure!(worst <= ADVERT * 2, "longest pause {worst:?}");
        }
        ensure!(sent as f64 >= elapsed.as_secs_f64() * 500.0, "only {sent}");
        Ok(())
    })
}

/// Mean and longest of the pauses between the adverts of a virtual router.
fn intervals(watch: &AdvertWatch, vrid: u8, since: Instant) -> Result<(Duration, Duration)> {
    let all = watch.all();
    let times: Vec<Instant> = all
        .iter()
        .filter(|advert| advert.vrid == vrid && advert.at >= since)
        .map(|advert| advert.at)
        .collect();
    let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let worst = pauses.iter().max().context("no two adverts")?;
    let count = u32::try_from(pauses.len())?;
    Ok((pauses.iter().sum::<Duration>() / count, *worst))
}

/// A node that returns takes its VIPs back.
fn site(config: &str) -> Result<Site> {
    let config = config.replace("[vrrp]", "[vrrp]\npreempt_delay = \"1s\"");
    Site::steady(&Settings::ours(ADVERT), &config)
}

/// The outage when lb1's machine is lost, in peace or in a flood at line rate; then lb1 returns.
fn loss(site: &Site, flooded: bool) -> Result<Duration> {
    site.wait("lb1 alone holds both VIPs, and both forward", |site| {
        site.holds_both(Node::Lb1) && !site.holds_both(Node::Lb2) && site.both_forward()
    })?;
    let prober = Prober::start(&site.lab, web(), Question::Echo)?;
    site.wait("answers", |_| {
        prober.good_since(Instant::now() - Duration::from_millis(200)) > 50
    })?;
    let flood = match flooded {
        true => Some(Flood::start(&site.lab, packets(), None)?),
        false => None,
    };
    std::thread::sleep(Duration::from_secs(1));
    ensure!(site.holds_both(Node::Lb1), "the VIPs are not on lb1");
    let power = fault::Cut::arm(&site.lab, Node::Lb1)?;
    let lost = Instant::now();
    let undo = power.fire()?;
    site.wait("lb2 holds both VIPs", |site| site.holds_both(Node::Lb2))?;
    std::thread::sleep(Duration::from_millis(300));
    if let Some(flood) = flood {
        let sent = flood.finish()?;
        println!("{sent} packets at line rate");
        ensure!(sent > 10_000, "only {sent}");
    }
    let outage = prober.finish()?.outage(lost);
    println!("flooded: {flooded}, outage {:?}", outage.gap);
    undo.now()?;
    Ok(outage.gap)
}

#[test]
fn a_flood_at_line_rate_delays_no_takeover() -> Result<()> {
    site(&config_at(ADVERT))?.watched("a-flood-at-line-rate-delays-no-takeover", |site| {
        let (mut peace, mut flood) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..losses() {
            peace = peace.max(loss(site, false)?);
            flood = flood.max(loss(site, true)?);
        }
        println!("worst in peace {peace:?}, in a flood {flood:?}");
        // Silence decides: without that the rounds in peace would excuse anything.
        let by_adverts = Settings::ours(ADVERT).advert * 2;
        ensure!(peace < by_adverts, "in peace {peace:?}");
        ensure!(
            flood <= (peace + DELAY) * limits::room(),
            "in a flood {flood:?}"
        );
        Ok(())
    })
}

#[test]
#[ignore = "the same where adverts decide: for scripts/prove flood"]
fn a_flood_at_line_rate_delays_no_takeover_by_adverts() -> Result<()> {
    let settings = Settings::ours(ADVERT);
    let config = config_at(ADVERT).replace("[pair]", "[pair]\nsilent_takeover = \"off\"");
    site(&config)?.watched("a-flood-delays-no-takeover-by-adverts", |site| {
        for _ in 0..losses() {
            let flood = loss(site, true)?;
            ensure!(
                flood <= (settings.active_down() + DELAY) * limits::room(),
                "outage {flood:?}"
            );
        }
        Ok(())
    })
}
