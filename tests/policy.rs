//! What a backend's policies do is seen while they act: in `status`, in its table, in `/metrics`.

#![expect(clippy::disallowed_types, reason = "tests on the lab open connections")]

mod site;

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::backend::{Mode, Service};
use lab::balancer::Balancer as _;
use lab::client::{Speak, shares};
use lab::held::{Held, Plan};
use lab::{Node, lease};
use serde_json::Value;

use crate::site::{Site, config_at, metric, web};

/// One node, whose backend `traefik-http` has these lines too.
fn site(name: &str, lines: &str, body: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    let head = "[backends.traefik-http]\n";
    let change = |config: String| config.replacen(head, &format!("{head}{lines}\n"), 1);
    alone(name, change, body)
}

/// One node with a changed configuration.
fn alone(
    name: &str,
    change: impl FnOnce(String) -> String,
    body: impl FnOnce(&mut Site) -> Result<()>,
) -> Result<()> {
    let config = change(config_at(Duration::from_millis(100)));
    let mut site = Site::build(&config, Service::Echo)?;
    site.pair.start(Node::Lb1)?;
    site.wait("lb1 holds the VIP", |site| {
        lease::is_holder(&site.lab, Node::Lb1, lab::topology::WEB_VIP)
    })?;
    site.watched(name, body)
}

fn named(site: &Site, kind: &str, name: &str) -> Result<Value> {
    let status = site.pair.status(Node::Lb1)?;
    let all = status[kind].as_array().context("no list")?;
    let mut named = all.iter().filter(|one| one["name"] == name);
    named.next().cloned().context("no such one")
}

fn backend(site: &Site) -> Result<Value> {
    named(site, "backends", "traefik-http")
}

fn listener(site: &Site) -> Result<Value> {
    named(site, "listeners", "http")
}

/// The first server.
fn server(site: &Site) -> Result<Value> {
    Ok(backend(site)?["servers"][0].take())
}

fn is(site: &Site, state: &str) -> bool {
    server(site).is_ok_and(|one| one["state"] == state)
}

/// A client of the web VIP that says nothing.
fn client(site: &Site) -> Result<TcpStream> {
    site.lab.run_in(Node::Client, || {
        let stream = TcpStream::connect_timeout(&web(), Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    })
}

/// Waits for its RST. The one of a client that is refused at once may come before its connect has
/// returned.
fn reset(client: Result<TcpStream>) -> Result<()> {
    let end = match client {
        Ok(mut stream) => stream.read(&mut [0; 256]).err(),
        Err(error) => Some(error.downcast::<std::io::Error>()?),
    };
    let end = end.context("neither waits nor is refused")?;
    ensure!(end.kind() == ErrorKind::ConnectionReset, "{end}");
    Ok(())
}

const fn idle(count: usize) -> Plan {
    Plan { count, ping: None }
}

fn table(site: &Site) -> Result<String> {
    let output = site.pair.command(Node::Lb1, &["status"])?;
    // Lines are broken where they are too wide.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[track_caller]
fn has(text: &str, part: &str) {
    assert!(text.contains(part), "no {part:?} in {text}");
}

#[test]
fn a_backend_that_fails_open_says_so() -> Result<()> {
    // The workers speak no TLS, so the probe finds every one down; they serve all the same.
    let lines =
        "all_down = \"try_all\"\nprobe = { kind = \"kube-apiserver\", interval = \"200ms\" }";
    site("policy-try-all", lines, |site| {
        site.wait("it fails open", |site| {
            backend(site).is_ok_and(|one| one["fail_open"] == true)
        })?;
        let served = shares(&site.lab, web(), Speak::Echo, 12)?;
        ensure!(served.len() == 3, "{served:?}");
        let one = backend(site)?;
        ensure!(one["all_down"] == "try_all", "{one}");
        ensure!(one["fail_open_sessions"] == 12, "{one}");
        ensure!(one["servers"][0]["state"] == "down", "{one}");
        let text = table(site)?;
        has(&text, "! backend traefik-http: every server is down, for ");
        has(&text, "for http FAIL OPEN");
        has(&text, "so far 12 found one");
        let labels = "{backend=\"traefik-http\"}";
        let gauge = metric(
            site,
            Node::Lb1,
            &format!("fmc_lb_backend_fail_open{labels}"),
        )?;
        ensure!(gauge == 1.0, "{gauge}");
        let placed = format!("fmc_lb_backend_fail_open_sessions_total{labels}");
        ensure!(metric(site, Node::Lb1, &placed)? == 12.0);
        // To VRRP it is a backend without servers.
        let health = metric(
            site,
            Node::Lb1,
            "fmc_lb_proxy_vip_health_ratio{vip=\"web\"}",
        )?;
        ensure!(health == 0.0, "{health}");
        Ok(())
    })
}

#[test]
fn a_queue_says_who_waits_and_for_how_long() -> Result<()> {
    let servers = "servers = [\"10.17.4.24:80\", \"10.17.4.25:80\", \"10.17.4.26:80\"]";
    let limited = "servers = [{ address = \"10.17.4.24:80\", max_sessions = 2 }]";
    let change = |config: String| {
        config.replacen(
            servers,
            &format!("{limited}\nqueue = 3\nqueue_timeout = \"4s\""),
            1,
        )
    };
    alone("policy-queue", change, |site| {
        let held = Held::open(&site.lab, web(), idle(2))?;
        site.wait("both have the server", |site| {
            site.cluster.web[0].sessions() == 2
        })?;
        let waiting: Vec<_> = (0..3).map(|_| client(site)).collect();
        site.wait("three wait", |site| {
            backend(site).is_ok_and(|one| one["queued"] == 3)
        })?;
        site.wait("they have waited a second", |site| {
            backend(site).is_ok_and(|one| one["queue_oldest_ms"].as_u64() >= Some(1_000))
        })?;
        let text = table(site)?;
        has(
            &text,
            "3 clients wait for a server with a free slot, the first for 1.",
        );
        let labels = "{backend=\"traefik-http\"}";
        ensure!(metric(site, Node::Lb1, &format!("fmc_lb_backend_queued{labels}"))? == 3.0);
        let oldest = metric(
            site,
            Node::Lb1,
            &format!("fmc_lb_backend_queue_oldest_seconds{labels}"),
        )?;
        ensure!((1.0..4.5).contains(&oldest), "{oldest}");
        // A fourth finds no place; the three wait in vain.
        reset(client(site))?;
        site.wait("all three have waited too long", |site| {
            backend(site).is_ok_and(|one| one["queue_timeouts"] == 3 && one["queued"] == 0)
        })?;
        let one = backend(site)?;
        ensure!(one["queue_full"] == 1, "{one}");
        ensure!(one["queue_oldest_ms"] == Value::Null, "{one}");
        let longest = one["queue_longest_ms"].as_u64().unwrap_or_default();
        ensure!((4_000..8_000).contains(&longest), "{one}");
        has(
            &table(site)?,
            "refused: 1 queue full, 3 waited too long; longest wait 4.",
        );
        let timeouts =
            "fmc_lb_backend_queue_refused_total{backend=\"traefik-http\",cause=\"timeout\"}";
        ensure!(metric(site, Node::Lb1, timeouts)? == 3.0);
        waiting.into_iter().try_for_each(reset)?;
        ensure!(held.broken() == 0);
        Ok(())
    })
}

#[test]
fn a_server_in_slow_start_says_which_share_it_has() -> Result<()> {
    let lines = "slow_start = \"1m\"\nprobe = { interval = \"100ms\", rise = 1, fall = 1 }";
    site("policy-slow-start", lines, |site| {
        site.wait_ready(Node::Lb1)?;
        let share = |site: &Site| server(site)?["slow_start_percent"].as_u64().context("none");
        ensure!(share(site)? == 100);
        site.cluster.web[0].set(Mode::Refuse);
        site.wait("it is down", |site| is(site, "down"))?;
        site.cluster.web[0].set(Mode::Up);
        site.wait("it is up", |site| is(site, "up"))?;
        let first = share(site)?;
        ensure!((1..50).contains(&first), "{first}");
        has(&table(site)?, "slow start: ");
        let ratio =
            "fmc_lb_server_slow_start_ratio{backend=\"traefik-http\",server=\"10.17.4.24:80\"}";
        let ratio = metric(site, Node::Lb1, ratio)?;
        ensure!((0.01..0.5).contains(&ratio), "{ratio}");
        site.wait("it grows", |site| share(site).is_ok_and(|now| now > first))?;
        Ok(())
    })
}

#[test]
fn the_limits_of_a_client_say_whom_they_hold_off() -> Result<()> {
    let head = "[listeners.http]\n";
    let limit = "source_limit = { sessions = 2, rate = 20 }\n";
    let change = |config: String| config.replacen(head, &format!("{head}{limit}"), 1);
    alone("policy-clients", change, |site| {
        let held = Held::open(&site.lab, web(), idle(2))?;
        site.wait("the client is at its limit", |site| {
            listener(site).is_ok_and(|one| one["clients_at_limit"] == 1)
        })?;
        // The kernel makes the connection before the proxy refuses it.
        reset(client(site))?;
        site.wait("one is refused", |site| {
            listener(site).is_ok_and(|one| one["limited_sessions"] == 1)
        })?;
        let text = table(site)?;
        has(&text, "client has too many sessions: 1");
        has(&text, "clients that have as many sessions as they may: 1");
        let gauge = "fmc_lb_listener_clients_at_limit{listener=\"http\"}";
        ensure!(metric(site, Node::Lb1, gauge)? == 1.0);
        drop(held);
        site.wait("it has none any more", |site| {
            listener(site).is_ok_and(|one| one["clients_at_limit"] == 0)
        })?;
        ensure!(metric(site, Node::Lb1, gauge)? == 0.0);
        // Faster than 20 a second, one after the other.
        site.wait("it came too fast", |site| {
            let burst = shares(&site.lab, web(), Speak::Echo, 50);
            burst.is_err() && listener(site).is_ok_and(|one| one["limited_rate"] != 0)
        })?;
        has(&table(site)?, "client came too fast: ");
        let rate = "fmc_lb_listener_limited_total{limit=\"rate\",listener=\"http\"}";
        ensure!(metric(site, Node::Lb1, rate)? >= 1.0);
        Ok(())
    })
}

#[test]
fn sessions_that_are_cut_with_their_server_are_counted() -> Result<()> {
    let lines = "on_marked_down = \"cut\"\nprobe = { interval = \"100ms\", rise = 1, fall = 1 }";
    site("policy-cut", lines, |site| {
        site.wait_ready(Node::Lb1)?;
        let held = Held::open(&site.lab, web(), idle(6))?;
        site.wait("all have their servers", |site| {
            site.cluster.web.iter().all(|one| one.sessions() == 2)
        })?;
        site.cluster.web[0].set(Mode::Refuse);
        site.wait("its two are ended", |_| held.broken() == 2)?;
        site.wait("it is down", |site| is(site, "down"))?;
        let one = server(site)?;
        ensure!(one["cut"] == 2, "{one}");
        has(&table(site)?, "sessions ended because it went down: 2");
        let cut = "fmc_lb_server_cut_total{backend=\"traefik-http\",server=\"10.17.4.24:80\"}";
        ensure!(metric(site, Node::Lb1, cut)? == 2.0);
        Ok(())
    })
}

/// Packets that a rule of [`count`] has counted.
fn counted(site: &Site, node: Node, chain: &str) -> Result<Vec<u64>> {
    let listed = site
        .lab
        .exec(node, &["nft", "list", "chain", "inet", "seen", chain])?;
    let counters = listed.split("counter packets ").skip(1);
    let numbers = counters.filter_map(|rest| rest.split(' ').next()?.parse().ok());
    Ok(numbers.collect())
}

/// Lets the kernel count the packets that each of these expressions is true of, at a hook.
fn count(site: &Site, node: Node, hook: &str, expressions: &[&str]) -> Result<()> {
    let mut rules = format!(
        "add table inet seen\nadd chain inet seen {hook} {{ type filter hook {hook} priority 0; }}\n"
    );
    for expression in expressions {
        rules.push_str(&format!("add rule inet seen {hook} {expression} counter\n"));
    }
    site.lab.exec(node, &["nft", &rules]).map(drop)
}

/// A client elsewhere; what it is told after its connect.
fn told(site: &Site, node: Node, to: SocketAddr) -> std::io::Result<usize> {
    site.lab.run_in(node, || {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_millis(1_500)))?;
        stream.read(&mut [0; 256])
    })
}

#[test]
fn what_the_sockets_of_a_listener_are_told_is_seen_on_the_wire() -> Result<()> {
    const SYN_ACK: &str = "tcp sport 80 tcp flags & (syn | ack) == (syn | ack)";
    let head = "[listeners.http]\n";
    let lines = "mss = 1200\nmark = 7\ninterface = \"eth0\"\n\
                 drop = [\"10.17.4.25/32\"]\ndeny = [\"10.17.4.26/32\"]\n";
    let change = |config: String| config.replacen(head, &format!("{head}{lines}"), 1);
    alone("policy-sockets", change, |site| {
        site.wait_ready(Node::Lb1)?;
        let (small, any) = (format!("{SYN_ACK} tcp option maxseg size 1200"), SYN_ACK);
        count(site, Node::Client, "input", &[&small, any])?;
        let (marked, other) = (
            format!("{SYN_ACK} meta mark 7"),
            format!("{SYN_ACK} meta mark != 7"),
        );
        count(site, Node::Lb1, "output", &[&marked, &other])?;
        shares(&site.lab, web(), Speak::Echo, 6)?;
        let mss = counted(site, Node::Client, "input")?;
        ensure!(mss.len() == 2 && mss[0] >= 6 && mss[0] == mss[1], "{mss:?}");
        let marks = counted(site, Node::Lb1, "output")?;
        ensure!(
            marks.len() == 2 && marks[0] >= 6 && marks[1] == 0,
            "{marks:?}"
        );

        // Behind the router: one hears that it is refused, the other one nothing.
        let denied = told(site, Node::Worker3, web());
        ensure!(
            denied
                .as_ref()
                .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset),
            "{denied:?}"
        );
        let dropped = told(site, Node::Worker2, web());
        ensure!(
            dropped
                .as_ref()
                .is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
            "{dropped:?}"
        );
        let one = listener(site)?;
        ensure!(one["denied"] == 1 && one["dropped"] == 1, "{one}");

        // By another interface of the node nobody gets to it, and to the others one does.
        let lb = site.lab.node(Node::Lb1).name().to_owned();
        for line in [
            &*format!("link add wire type veth peer name eth1 netns {lb}"),
            "addr add 192.168.7.2/24 dev wire",
            "link set wire up",
        ] {
            site.lab.ip(Node::Client, line)?;
        }
        site.lab.ip(Node::Lb1, "addr add 192.168.7.1/24 dev eth1")?;
        site.lab.ip(Node::Lb1, "link set eth1 up")?;
        for vip in [web().ip(), crate::site::api().ip()] {
            let line = format!("route add {vip}/32 via 192.168.7.1 dev wire src 192.168.7.2");
            site.lab.ip(Node::Client, &line)?;
        }
        let other_port = SocketAddr::new(web().ip(), 443);
        site.wait("another listener is reached that way", |site| {
            site.lab.run_in(Node::Client, || {
                TcpStream::connect_timeout(&other_port, Duration::from_secs(1)).is_ok()
            })
        })?;
        let refused = told(site, Node::Client, web());
        ensure!(
            refused
                .as_ref()
                .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused),
            "{refused:?}"
        );
        Ok(())
    })
}
