//! How long it takes to say whether a client is let in: lists of networks of all lengths, rates, the
//! limits of each client.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use common::config::{Config, SourceLimit};
use common::time::Moment;
use divan::Bencher;
use lb_proxy::access::{Access, Verdict};
use lb_proxy::limit::{Clients, Rate};
use lb_proxy::lists::Lists;

/// Networks in a list.
const LENGTHS: &[u32] = &[10, 1_000, 100_000, 1_000_000];
const LIST: &str = "/lists/deny";

fn main() {
    divan::main();
}

/// A number that is another one each time, all over the range.
fn scatter(number: u32) -> u32 {
    number.wrapping_mul(2_654_435_761)
}

/// The same for clients, who do not come in the order of the list.
fn scatter_clients(number: u32) -> u32 {
    scatter(number ^ 0x5bd1_e995).rotate_left(13)
}

/// Networks of 20 to 32 bits, in no order, as a list of the Internet's bad neighbours has them.
fn list_of_v4(length: u32) -> String {
    let network = |number: u32| {
        let bits = 20 + number % 13;
        let address = Ipv4Addr::from_bits(scatter(number) & (u32::MAX << (32 - bits)));
        format!("{address}/{bits}\n")
    };
    (0..length).map(network).collect()
}

/// Networks of 32 to 64 bits.
fn list_of_v6(length: u32) -> String {
    let network = |number: u32| {
        let bits = 32 + number % 33;
        let high = 0x2001_0000_0000_0000_u64 | u64::from(scatter(number)) << 16;
        let address = Ipv6Addr::from_bits(u128::from(high & (u64::MAX << (64 - bits))) << 64);
        format!("{address}/{bits}\n")
    };
    (0..length).map(network).collect()
}

fn config() -> Config {
    let text = format!(
        r#"
        [nodes.lb1]
        address = "192.168.0.11"
        [pair]
        interface = "eth0"
        [listeners.web]
        bind = ["127.0.0.1:80"]
        backend = "web"
        deny_file = "{LIST}"
        [backends.web]
        servers = ["10.0.0.1:80"]
        "#
    );
    Config::from_running(&text).expect("it is valid")
}

fn access(list: String) -> Access {
    let config = config();
    let files = BTreeMap::from([(PathBuf::from(LIST), list.into_bytes())]);
    let lists = Lists::new(&config, &files).expect("it is good");
    Access::new(&config.listeners[0], &lists)
}

fn ask(bencher: Bencher, access: &Access, client: impl Fn(u32) -> IpAddr) {
    let (mut number, mut denied) = (0_u32, 0_u64);
    bencher.bench_local(|| {
        number = number.wrapping_add(1);
        let verdict = access.verdict(black_box(client(scatter_clients(number))));
        denied += u64::from(verdict == Verdict::Denied);
    });
    black_box(denied);
}

#[divan::bench(args = LENGTHS)]
fn access_list_v4(bencher: Bencher, length: u32) {
    let access = access(list_of_v4(length));
    ask(bencher, &access, |number| {
        Ipv4Addr::from_bits(number).into()
    });
}

#[divan::bench(args = LENGTHS)]
fn access_list_v6(bencher: Bencher, length: u32) {
    let access = access(list_of_v6(length));
    ask(bencher, &access, |number| {
        let high = 0x2001_0000_0000_0000_u64 | u64::from(number) << 16;
        Ipv6Addr::from_bits(u128::from(high) << 64 | 1).into()
    });
}

/// A search through all networks, for comparison.
#[divan::bench(args = [10, 1_000, 100_000])]
fn access_list_v4_one_by_one(bencher: Bencher, length: u32) {
    let networks = common::net_list::parse(&list_of_v4(length)).expect("it is good");
    let mut number = 0_u32;
    bencher.bench_local(|| {
        number = number.wrapping_add(1);
        let client = IpAddr::from(Ipv4Addr::from_bits(scatter_clients(number)));
        networks
            .iter()
            .any(|network| network.contains(&black_box(client)))
    });
}

/// What a changed file costs, on a thread that nobody waits for.
#[divan::bench(args = [10, 100_000], sample_count = 20)]
fn read_list(bencher: Bencher, length: u32) {
    let config = config();
    let files = BTreeMap::from([(PathBuf::from(LIST), list_of_v4(length).into_bytes())]);
    bencher.bench_local(|| Lists::new(&config, black_box(&files)).expect("it is good"));
}

#[divan::bench]
fn rate(bencher: Bencher) {
    let rate = Rate::per_second(1_000_000);
    let (mut now, mut next) = (1_000_000_000_u64, 0);
    bencher.bench_local(|| {
        now += 1_000;
        next = rate
            .take(black_box(next), Moment::from_nanos(now))
            .unwrap_or(next);
    });
}

/// A session of so many clients begins and ends.
#[divan::bench(args = [1, 10_000])]
fn client_limit(bencher: Bencher, clients: u32) {
    let limit = SourceLimit {
        sessions: Some(1_000),
        rate: Some(1_000_000),
        ..SourceLimit::default()
    };
    let lists = Lists::default();
    let exempt = ["10.0.0.0/8".parse().expect("a network")];
    let at_limit = Box::leak(Box::default());
    let table = Clients::new(&limit, || lists.list(&exempt, None), at_limit);
    let table = table.expect("there is a limit");
    let (mut number, mut now) = (0_u32, 1_000_000_000);
    bencher.bench_local(|| {
        number = number.wrapping_add(1);
        now += 10_000;
        let client = Ipv4Addr::from_bits(0xc0a8_0000 + number % clients);
        table.admit(black_box(client.into()), Moment::from_nanos(now))
    });
}
