use std::net::{Ipv4Addr, SocketAddr};

use proptest::prelude::*;

use super::super::scenario::scenarios;
use super::super::{Tried, candidates, slow_start};
use super::*;

/// 65,536 clients, neighbours of each other.
fn clients() -> impl Iterator<Item = IpAddr> {
    (0..=u16::MAX).map(|low| {
        let [high, low] = low.to_be_bytes();
        Ipv4Addr::new(192, 168, high, low).into()
    })
}

/// The server of every client.
fn homes(table: &Maglev, servers: &[Candidate]) -> Vec<SocketAddr> {
    let none = Tried::default();
    let slate = Slate::new(servers, &none, |_| 0);
    clients()
        .map(|client| servers[table.pick(&slate, client, None).expect("one may serve")].address)
        .collect()
}

fn entries_of(table: &Maglev, index: usize) -> usize {
    let own = |entry: &&u8| usize::from(**entry) == index;
    table.entries.iter().filter(own).count()
}

/// How many of those who were not at `gone` have another server, in 1/1000.
fn moved_permille(before: &[SocketAddr], after: &[SocketAddr], gone: SocketAddr) -> usize {
    let others = before.iter().zip(after).filter(|(home, _)| **home != gone);
    let (mut all, mut moved) = (0, 0);
    for (home, now) in others {
        all += 1;
        moved += usize::from(home != now);
    }
    moved * 1_000 / all
}

/// The table's pick for a client without limits on anything.
fn pick(servers: &[Candidate], tried: &Tried, client: IpAddr) -> Option<usize> {
    Maglev::new(servers).pick(&Slate::new(servers, tried, |_| 0), client, None)
}

#[test]
fn equal_servers_have_equally_many_entries_to_within_one() {
    for count in [1, 3, 10, 100, 256] {
        let table = Maglev::new(&candidates(&vec![1; count]));
        for index in 0..count {
            let entries = entries_of(&table, index);
            assert!(entries.abs_diff(SIZE / count) <= 1, "{entries} of {count}");
        }
    }
}

#[test]
fn clients_are_shared_by_weight() {
    let servers = candidates(&[1, 2, 0, 5]);
    let homes = homes(&Maglev::new(&servers), &servers);
    for (server, wanted) in servers.iter().zip([8_192_usize, 16_384, 0, 40_960]) {
        let share = homes.iter().filter(|home| **home == server.address).count();
        assert!(share.abs_diff(wanted) * 100 <= wanted * 3, "{share}");
    }
}

#[test]
fn a_server_taken_out_of_ten_moves_few_clients_of_the_others() {
    let servers = candidates(&[1; 10]);
    let before = homes(&Maglev::new(&servers), &servers);
    for gone in 0..10 {
        let mut left = servers.clone();
        let gone = left.remove(gone).address;
        let after = homes(&Maglev::new(&left), &left);
        let moved = moved_permille(&before, &after, gone);
        assert!(moved < 50, "{moved} of 1000");
    }
}

#[test]
fn a_server_that_goes_down_moves_its_own_clients_only_and_evenly() {
    let mut servers = candidates(&[1; 10]);
    let table = Maglev::new(&servers);
    let before = homes(&table, &servers);
    servers[3].usable = false;
    let after = homes(&table, &servers);
    assert_eq!(moved_permille(&before, &after, servers[3].address), 0);
    for (index, server) in servers.iter().enumerate() {
        let share = after.iter().filter(|home| **home == server.address).count();
        let wanted = if index == 3 { 0 } else { 65_536 / 9 };
        assert!(share.abs_diff(wanted) * 100 <= wanted * 6, "{share}");
    }
}

#[test]
fn nodes_that_list_the_servers_differently_agree() {
    let servers = candidates(&[3, 1, 7, 1, 2]);
    let mut reversed = servers.clone();
    reversed.reverse();
    assert_eq!(
        homes(&Maglev::new(&servers), &servers),
        homes(&Maglev::new(&reversed), &reversed)
    );
}

#[test]
fn slow_start_gives_a_growing_part_of_its_own_clients_and_moves_nobody_else() {
    let mut servers = candidates(&[1; 4]);
    let table = Maglev::new(&servers);
    let full = homes(&table, &servers);
    let own = full.iter().filter(|h| **h == servers[1].address).count();
    servers[1].ramp = slow_start::FULL / 4;
    let quarter = homes(&table, &servers);
    assert_eq!(moved_permille(&full, &quarter, servers[1].address), 0);
    let now = quarter.iter().filter(|h| **h == servers[1].address).count();
    assert!((now * 4).abs_diff(own) * 100 <= own * 5, "{now} of {own}");
}

#[test]
fn a_retry_gets_every_other_server_once() {
    let servers = candidates(&[1, 3, 1, 9]);
    let client = IpAddr::from([192, 168, 0, 40]);
    let mut tried = Tried::default();
    for _ in 0..4 {
        let index = pick(&servers, &tried, client).expect("one is left");
        assert!(!tried.contains(index));
        tried.insert(index);
    }
    assert_eq!(pick(&servers, &tried, client), None);
    assert_eq!(pick(&[], &Tried::default(), client), None);
}

#[test]
fn the_last_server_of_256_is_found_for_every_client() {
    let mut servers = candidates(&[256; MAX_SERVERS]);
    servers[255].weight = 1;
    for server in &mut servers[..255] {
        server.usable = false;
    }
    let table = Maglev::new(&servers);
    let last = servers[255].address;
    assert!(homes(&table, &servers).iter().all(|home| *home == last));
}

/// `sessions` sessions of one client, none of which ends.
fn load_of_one_client(bound: Option<LoadBound>, sessions: usize) -> [u64; 4] {
    let (servers, none) = (candidates(&[1; 4]), Tried::default());
    let table = Maglev::new(&servers);
    let mut load = [0; 4];
    for _ in 0..sessions {
        let slate = Slate::new(&servers, &none, |index| load[index]);
        let picked = table.pick(&slate, [192, 168, 0, 40].into(), bound);
        load[picked.expect("all may serve")] += 1;
    }
    load.sort_unstable();
    load
}

#[test]
fn a_cluster_behind_one_address_fills_servers_to_the_bound() {
    // 1.25 * 800 / 4 = 250.
    assert_eq!(
        load_of_one_client(Some(LoadBound::default()), 800),
        [50, 250, 250, 250]
    );
    assert_eq!(load_of_one_client(None, 1_000), [0, 0, 0, 1_000]);
}

#[test]
fn a_bound_is_above_the_average() {
    assert_eq!(LoadBound::new(100), None);
    assert_eq!(LoadBound::new(125), Some(LoadBound::default()));
    let tight = load_of_one_client(LoadBound::new(101), 1_000);
    assert_eq!(tight[3], 253);
}

proptest! {
    #[test]
    fn the_pick_may_serve_and_is_none_exactly_if_none_may(
        scenario in scenarios(),
        client in any::<IpAddr>(),
        percent in 90_u32..200,
    ) {
        let table = Maglev::new(&scenario.servers);
        scenario.check(|slate| table.pick(slate, client, LoadBound::new(percent)))?;
    }

    #[test]
    fn entries_follow_the_weights(weights in prop::collection::vec(1_u16..=256, 1..=256)) {
        let table = Maglev::new(&candidates(&weights));
        prop_assert_eq!(table.entries.len(), SIZE);
        let all: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
        for (index, weight) in weights.iter().enumerate() {
            let entries = entries_of(&table, index);
            let (weight, count) = (usize::from(*weight), weights.len());
            // At most one entry off, and its part of all that the others are off together.
            let slack = all + count * weight;
            prop_assert!((entries * all).abs_diff(SIZE * weight) <= slack, "{entries}");
            prop_assert!(entries > 0);
        }
    }

    #[test]
    fn no_server_gets_above_its_bound(
        weights in prop::collection::vec(1_u16..=8, 1..8),
        few_clients in prop::collection::vec(any::<Ipv4Addr>(), 1..5),
        percent in 101_u32..200,
    ) {
        let (servers, none) = (candidates(&weights), Tried::default());
        let table = Maglev::new(&servers);
        let all: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut load = vec![0_u64; weights.len()];
        for (round, client) in (1..200_u64).zip(few_clients.iter().cycle()) {
            let slate = Slate::new(&servers, &none, |index| load[index]);
            let picked = table.pick(&slate, (*client).into(), LoadBound::new(percent));
            let picked = picked.expect("all may serve");
            load[picked] += 1;
            let most = u64::from(percent) * round * u64::from(weights[picked]);
            prop_assert!(load[picked] <= most.div_ceil(100 * all));
        }
    }
}
