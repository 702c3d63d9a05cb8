//! How long it takes to choose a server: each algorithm, from three servers to as many as there may
//! be; and to build the table of the consistent hash, which is done when weights or addresses change.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use common::config::MAX_SERVERS;
use divan::Bencher;
use lb_proxy::balance::{
    Candidate, LoadBound, Maglev, RoundRobin, Slate, Tried, first, least_connections,
    random_of_two, slow_start, source_hash,
};

const SERVERS: &[usize] = &[3, 100, MAX_SERVERS];

fn main() {
    divan::main();
}

/// Servers of different weights, all of which may serve.
fn candidates(count: usize) -> Vec<Candidate> {
    (0..count)
        .map(|place| Candidate {
            address: SocketAddr::from((Ipv4Addr::from_bits(0x0a11_0000 + place as u32), 6_443)),
            port_offset: None,
            weight: 1 + (place % 4) as u16,
            ramp: slow_start::FULL,
            usable: true,
            backup: false,
            limit: Some(10_000),
            in_need: false,
            place,
        })
        .collect()
}

/// Sessions of the server at an index, uneven.
type Load = fn(usize) -> u64;
const LOAD: Load = |index| 40 + index as u64 * 7 % 13;

/// A new client each time.
fn clients() -> impl FnMut() -> IpAddr {
    let mut number = 0x0a08_0000_u32;
    move || {
        number = number.wrapping_add(2_654_435_761);
        Ipv4Addr::from_bits(number).into()
    }
}

/// Measures a pick among so many servers; it gets a number that is another one each time.
fn measure(
    bencher: Bencher,
    count: usize,
    mut pick: impl FnMut(&Slate<'_, Load>, u64) -> Option<usize>,
) {
    let (servers, tried) = (candidates(count), Tried::default());
    let mut number = 0_u64;
    bencher.bench_local(|| {
        number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let slate = Slate::new(black_box(&servers), &tried, black_box(LOAD));
        pick(&slate, number).expect("all may serve")
    });
}

#[divan::bench(args = SERVERS)]
fn round_robin(bencher: Bencher, count: usize) {
    let mut turns = RoundRobin::default();
    measure(bencher, count, |slate, _| turns.pick(slate));
}

#[divan::bench(name = "least_connections", args = SERVERS)]
fn least_connections_(bencher: Bencher, count: usize) {
    measure(bencher, count, |slate, number| {
        least_connections(slate, number as usize)
    });
}

#[divan::bench(args = SERVERS)]
fn random(bencher: Bencher, count: usize) {
    measure(bencher, count, random_of_two);
}

#[divan::bench(args = SERVERS)]
fn source(bencher: Bencher, count: usize) {
    let mut client = clients();
    measure(bencher, count, |slate, _| source_hash(slate, client()));
}

#[divan::bench(args = SERVERS)]
fn consistent_hash(bencher: Bencher, count: usize) {
    let (table, mut client) = (Maglev::new(&candidates(count)), clients());
    measure(bencher, count, |slate, _| table.pick(slate, client(), None));
}

#[divan::bench(args = SERVERS)]
fn consistent_hash_bounded(bencher: Bencher, count: usize) {
    let (table, mut client) = (Maglev::new(&candidates(count)), clients());
    let bound = LoadBound::new(125);
    measure(bencher, count, |slate, _| {
        table.pick(slate, client(), bound)
    });
}

#[divan::bench(name = "first", args = SERVERS)]
fn first_(bencher: Bencher, count: usize) {
    measure(bencher, count, |slate, _| first(slate));
}

#[divan::bench(args = SERVERS)]
fn maglev_table(bencher: Bencher, count: usize) {
    let servers = candidates(count);
    bencher.bench_local(|| Maglev::new(black_box(&servers)));
}
