use proptest::array;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::{Route, Track};

const RUNNING: &str = r#"
[nodes.lb1]
address = "192.0.2.2"
[pair]
interface = "eth0"
[listeners.one]
bind = ["127.0.0.1:1"]
backend = "a"
[listeners.two]
bind = ["127.0.0.1:2"]
backend = "b"
[backends.a]
servers = ["10.0.0.1:1", "10.0.0.2:1"]
[backends.b]
servers = ["10.0.0.1:2"]
"#;

const NEXT: &str = r#"
[nodes.lb1]
address = "192.0.2.2"
[pair]
interface = "eth0"
[listeners.three]
bind = ["127.0.0.1:3"]
backend = "c"
routes = [{ sni = ["x.example.org"], backend = "b" }]
[listeners.two]
bind = ["127.0.0.1:2"]
backend = "b"
[backends.c]
servers = ["10.0.0.1:2"]
track = "b"
[backends.b]
servers = ["10.0.0.9:2", "10.0.0.1:2"]
"#;

fn config(text: &str) -> Config {
    Config::from_running(text).expect("it is valid")
}

fn after(running: &Config, next: &Config) -> Result<Arrangement, NoPlace> {
    let occupied = Occupied {
        is_idle: &|_| true,
        place_of: &|_, _| None,
        is_free: &|_| true,
    };
    Arrangement::after(running, next, &occupied)
}

fn reloaded(running: &Config, next: &str) -> Config {
    let next = config(next);
    let arrangement = after(running, &next).expect("there are places");
    next.arranged(&arrangement, Some(running)).expect("its own")
}

#[test]
fn at_the_start_the_places_are_those_of_the_file() {
    let running = config(RUNNING);
    let arrangement = Arrangement::of(&running);
    let arranged = running.clone().arranged(&arrangement, None);
    assert_eq!(arranged, Ok(running.clone()));
    assert_eq!(running.backends[1].places, [2]);
    assert_eq!(reloaded(&running, RUNNING), running);
    let text = serde_json::to_string(&arrangement).expect("JSON");
    let read: Arrangement = serde_json::from_str(&text).expect("an arrangement");
    assert_eq!(read, arrangement);
}

#[test]
fn what_stays_keeps_its_place_and_what_goes_leaves_a_stand_in() {
    let running = config(RUNNING);
    let next = reloaded(&running, NEXT);
    let listeners: Vec<_> = next
        .listeners
        .iter()
        .map(|one| (one.name.as_str(), one.retired))
        .collect();
    assert_eq!(listeners, [("one", true), ("two", false), ("three", false)]);
    let backends: Vec<_> = next
        .backends
        .iter()
        .map(|one| (one.name.as_str(), one.retired))
        .collect();
    assert_eq!(backends, [("a", true), ("b", false), ("c", false)]);
    assert!(next.listeners[0].binds.is_empty());
    assert!(next.backends[0].servers.is_empty());
    // Indices lead where the names led.
    assert_eq!(next.listeners[1].backend, BackendIndex(1));
    assert_eq!(next.listeners[2].backend, BackendIndex(2));
    let route = Route {
        backend: BackendIndex(1),
        sni: vec!["x.example.org".to_owned()],
        alpn: Vec::new(),
    };
    assert_eq!(next.listeners[2].routes, [route]);
    assert_eq!(next.backends[2].track, Some(BackendIndex(1)));
    let track = Track {
        backend: BackendIndex(1),
        server: 1,
    };
    assert_eq!(next.backends[2].servers[0].track, Some(track));
    // The old server has its place, the new ones those behind all that ran.
    assert_eq!(next.backends[1].places, [4, 2]);
    assert_eq!(next.backends[2].places, [3]);
    assert!(next.has_server_at(2) && !next.has_server_at(0));
}

#[test]
fn it_comes_back_to_where_it_was() {
    let running = config(RUNNING);
    let next = reloaded(&running, NEXT);
    let back = reloaded(&next, RUNNING);
    let names: Vec<_> = back
        .listeners
        .iter()
        .map(|one| (one.name.as_str(), one.retired))
        .collect();
    assert_eq!(names, [("one", false), ("two", false), ("three", true)]);
    assert_eq!(back.listeners[0], running.listeners[0]);
    assert_eq!(back.listeners[1], running.listeners[1]);
}

#[test]
fn a_process_that_never_knew_what_was_there_has_stand_ins_all_the_same() {
    let running = config(RUNNING);
    let next = config(NEXT);
    let arrangement = after(&running, &next).expect("there are places");
    let anew = next.arranged(&arrangement, None).expect("its own");
    let known = reloaded(&running, NEXT);
    assert_eq!(anew.listeners[1..], known.listeners[1..]);
    assert_eq!(anew.backends[1..], known.backends[1..]);
    assert_eq!(
        (anew.listeners[0].name.as_str(), anew.listeners[0].retired),
        ("one", true)
    );
}

#[test]
fn a_server_that_came_at_run_time_keeps_the_place_that_it_has() {
    let running = config(RUNNING);
    let next = config(&RUNNING.replace("\"10.0.0.1:2\"", "\"10.0.0.1:2\", \"10.0.0.7:2\""));
    let occupied = Occupied {
        is_idle: &|_| true,
        place_of: &|backend, address| {
            let is_it = backend == BackendIndex(1) && address.to_string() == "10.0.0.7:2";
            is_it.then_some(9)
        },
        is_free: &|place| place != 9,
    };
    let arrangement = Arrangement::after(&running, &next, &occupied).expect("there are places");
    let arranged = next
        .arranged(&arrangement, Some(&running))
        .expect("its own");
    assert_eq!(arranged.backends[1].places, [2, 9]);
}

#[test]
fn where_no_place_is_free_nothing_is_arranged() {
    let running = config(RUNNING);
    let next = config(NEXT);
    let occupied = Occupied {
        is_idle: &|_| true,
        place_of: &|_, _| None,
        is_free: &|_| false,
    };
    let error = Arrangement::after(&running, &next, &occupied).expect_err("no place");
    assert!(
        error.to_string().contains("server 10.0.0.1:2 of backend c"),
        "{error}"
    );
    // All places of listeners are taken by names that are gone; those without a session can be had.
    let mut full = running;
    while full.listeners.len() < MAX_LISTENERS {
        let name = format!("gone-{}", full.listeners.len());
        full.listeners.push(full.listeners[0].clone().retire(&name));
    }
    let occupied = Occupied {
        is_idle: &|place| place == 7,
        place_of: &|_, _| None,
        is_free: &|_| true,
    };
    let arrangement = Arrangement::after(&full, &next, &occupied).expect("one is free");
    assert_eq!(arrangement.listeners[7], "three");
    let occupied = Occupied {
        is_idle: &|_| false,
        ..occupied
    };
    let error = Arrangement::after(&full, &next, &occupied).expect_err("no place");
    assert!(error.to_string().contains("listener three"), "{error}");
}

#[test]
fn the_arrangement_of_another_configuration_is_refused() {
    let arrangement = Arrangement::of(&config(RUNNING));
    let error = config(NEXT)
        .arranged(&arrangement, None)
        .expect_err("another");
    assert!(error.contains("has no place"), "{error}");
}

/// An edition of a file: for each of four backends, which of three servers it has; none = it is not there.
fn edition(backends: [u8; 4], order: bool) -> String {
    let mut sections: Vec<String> = backends
        .iter()
        .enumerate()
        .filter(|(_, servers)| **servers > 0)
        .map(|(index, servers)| {
            let servers = (0..3).filter(|bit| servers & 1 << bit != 0);
            let servers: Vec<String> = servers.map(|last| format!("\"10.0.{index}.{last}:1\"")).collect();
            format!(
                "[listeners.l{index}]\nbind = [\"127.0.0.1:{}\"]\nbackend = \"b{index}\"\n[backends.b{index}]\nservers = [{}]\n",
                index + 1,
                servers.join(", ")
            )
        })
        .collect();
    if order {
        sections.reverse();
    }
    let head = "[nodes.lb1]\naddress = \"192.0.2.2\"\n[pair]\ninterface = \"eth0\"\n";
    format!("{head}{}", sections.concat())
}

/// Every server of the file with its place.
fn servers(config: &Config) -> Vec<(String, usize)> {
    let backends = config.backends.iter();
    let servers = backends.flat_map(|backend| {
        let servers = backend.servers.iter().zip(&backend.places);
        servers.map(|(server, place)| (format!("{}/{}", backend.name, server.address), *place))
    });
    servers.collect()
}

proptest! {
    #[test]
    fn whatever_comes_and_goes_an_index_means_the_same(
        editions in vec((array::uniform4(0..8_u8), any::<bool>()), 2..12)
    ) {
        let mut editions = editions.into_iter().map(|(mut backends, order)| {
            // One there must be.
            backends[0] |= u8::from(backends == [0; 4]);
            edition(backends, order)
        });
        let mut running = config(&editions.next().expect("two at least"));
        for next in editions {
            let arranged = reloaded(&running, &next);
            for (place, old) in running.backends.iter().enumerate() {
                prop_assert_eq!(&arranged.backends[place].name, &old.name);
            }
            for (place, old) in running.listeners.iter().enumerate() {
                prop_assert_eq!(&arranged.listeners[place].name, &old.name);
            }
            let (before, after) = (servers(&running), servers(&arranged));
            for (name, place) in &before {
                let now = after.iter().find(|(one, _)| one == name);
                prop_assert!(now.is_none_or(|(_, now)| now == place), "{} has moved", name);
            }
            let mut places: Vec<usize> = after.iter().map(|(_, place)| *place).collect();
            places.sort_unstable();
            places.dedup();
            prop_assert_eq!(places.len(), after.len(), "two at one place");
            // What the file says is what is there, under its own name.
            let plain = config(&next);
            prop_assert_eq!(after.len(), plain.server_count());
            for listener in arranged.listeners.iter().filter(|one| !one.retired) {
                let backend = &arranged.backends[listener.backend.0];
                prop_assert_eq!(backend.name.replace('b', "l"), listener.name.clone());
                prop_assert!(!backend.retired);
            }
            prop_assert_eq!(arranged.listeners.iter().filter(|one| !one.retired).count(), plain.listeners.len());
            running = arranged;
        }
    }
}

const VIPS: &str = r#"
[nodes.lb1]
address = "192.0.2.2"
[pair]
interface = "eth0"
[vips.api]
address = "192.0.2.10/24"
vrid = 51
[vips.web]
address = "192.0.2.11/24"
vrid = 52
[trackers.disk]
kind = "file"
path = "/run/disk"
[trackers.web]
kind = "servers"
min_share = 10
vips = ["web"]
[listeners.web]
bind = ["vips.web:80"]
backend = "a"
[backends.a]
servers = ["10.0.0.1:1"]
"#;

#[test]
fn vips_keep_their_places_by_what_they_are_to_the_network_and_trackers_by_what_they_look_at() {
    let running = config(VIPS);
    let other_name = VIPS
        .replace(
            "[vips.web]",
            "[vips.new]\naddress = \"192.0.2.12/24\"\nvrid = 53\n[vips.other]",
        )
        .replace("vips.web:", "vips.other:")
        .replace("vips = [\"web\"]", "vips = [\"other\"]");
    let named = reloaded(&running, &other_name);
    let names = |config: &Config| -> Vec<String> {
        let live = config.live_vips();
        live.map(|(place, vip)| format!("{} {}", place.0, vip.name))
            .collect()
    };
    assert_eq!(names(&named), ["0 api", "1 other", "2 new"]);
    assert_eq!(named.listeners[0].binds[0].vip, Some(VipIndex(1)));
    assert_eq!(named.trackers[1].vips, [VipIndex(1)]);
    // Another VRID is another VIP; what was there is nobody's.
    let moved = reloaded(&named, &VIPS.replace("vrid = 51", "vrid = 61"));
    assert_eq!(names(&moved), ["1 web", "3 api"]);
    assert!(moved.vips[0].retired && moved.vips[2].retired);
    assert_eq!(moved.vips[0].address, running.vips[0].address);
    assert_eq!(moved.vip_at(running.vips[0].address), Some(VipIndex(3)));
    // A process that begins now knows only what it is given.
    let again = config(&VIPS.replace("vrid = 51", "vrid = 61"));
    let arrangement = Arrangement::of(&moved);
    assert_eq!(again.arranged(&arrangement, None), Ok(moved.clone()));
    // And one that comes back has its place again.
    assert_eq!(names(&reloaded(&moved, VIPS)), ["0 api", "1 web"]);

    let other_file = reloaded(&running, &VIPS.replace("/run/disk", "/run/other"));
    let trackers = |config: &Config| -> Vec<String> {
        let live = config.live_trackers();
        live.map(|(place, one)| format!("{place} {}", one.name))
            .collect()
    };
    assert_eq!(trackers(&other_file), ["1 web", "2 disk"]);
    assert_eq!(trackers(&reloaded(&other_file, VIPS)), ["1 web", "3 disk"]);
    let longer = VIPS.replace("path = \"/run/disk\"", "path = \"/run/disk\"\nfall = 9");
    assert_eq!(trackers(&reloaded(&running, &longer)), ["0 disk", "1 web"]);
}

#[test]
fn vips_that_come_and_go_find_a_place_as_long_as_16_are_enough() {
    let mut running = config(VIPS);
    for number in 60..90 {
        let text = VIPS.replace("vrid = 51", &format!("vrid = {number}"));
        running = reloaded(&running, &text);
        let live: Vec<_> = running
            .live_vips()
            .map(|(_, vip)| vip.vrid.value())
            .collect();
        let mut wanted = [number, 52];
        let mut found = live.clone();
        wanted.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, wanted);
        assert_eq!(running.listeners[0].binds[0].vip, Some(VipIndex(1)));
    }
    assert_eq!(running.vips.len(), MAX_VIPS);
}
