//! Each cause: when it begins, when it ends.

use super::*;

const START: Moment = Moment::from_nanos(1_000_000_000_000);

fn at(milliseconds: u64) -> Moment {
    START + Duration::from_millis(milliseconds)
}

/// All is well, and a proxy accepted right now.
fn fine(milliseconds: u64) -> Facts<'static> {
    Facts {
        now: at(milliseconds),
        woke_on_time: true,
        accepting: Some(at(milliseconds)),
        proxy_deaths: [None; 3],
        own_health: Some(100),
        peer_health: Some(100),
        interface_fault: None,
        supervisor_gone_since: None,
    }
}

/// As [`fine`], but the proxy accepted last at `accepted`.
fn silent(milliseconds: u64, accepted: u64) -> Facts<'static> {
    Facts {
        accepting: Some(at(accepted)),
        ..fine(milliseconds)
    }
}

#[test]
fn a_node_on_which_all_is_well_is_fit() {
    assert_eq!(Judge::default().judge(&fine(0)), Ok(()));
}

#[test]
fn without_a_proxy_that_ever_accepted_it_is_not_ready() {
    let mut judge = Judge::default();
    let none = Facts {
        accepting: None,
        ..fine(0)
    };
    assert_eq!(judge.judge(&none), Err(Cause::ProxyNotReady));
    assert_eq!(judge.judge(&fine(20)), Ok(()));
}

#[test]
fn a_proxy_is_hung_when_its_heartbeat_is_older_than_100_ms() {
    let mut judge = Judge::default();
    assert_eq!(judge.judge(&silent(100, 0)), Ok(()));
    assert_eq!(judge.judge(&silent(101, 0)), Err(Cause::ProxyHung));
    assert_eq!(judge.judge(&silent(500, 0)), Err(Cause::ProxyHung));
    assert_eq!(judge.judge(&fine(520)), Ok(()), "it turns again");
}

#[test]
fn a_replaced_proxy_has_the_rest_of_the_time_to_begin() {
    let mut judge = Judge::default();
    let empty = |milliseconds| Facts {
        accepting: None,
        ..fine(milliseconds)
    };
    assert_eq!(judge.judge(&fine(0)), Ok(()));
    assert_eq!(judge.judge(&empty(20)), Ok(()));
    assert_eq!(judge.judge(&empty(100)), Ok(()));
    assert_eq!(judge.judge(&empty(101)), Err(Cause::ProxyNotReady));
}

#[test]
fn who_woke_late_does_not_call_others_hung() {
    let mut judge = Judge::default();
    assert_eq!(judge.judge(&fine(0)), Ok(()));
    let late = Facts {
        woke_on_time: false,
        ..silent(3000, 0)
    };
    assert_eq!(judge.judge(&late), Ok(()), "paused together with the proxy");
    assert_eq!(judge.judge(&silent(3100, 0)), Ok(()));
    assert_eq!(judge.judge(&silent(3101, 0)), Err(Cause::ProxyHung));
    let late = Facts {
        woke_on_time: false,
        ..silent(4000, 0)
    };
    assert_eq!(
        judge.judge(&late),
        Err(Cause::ProxyHung),
        "a verdict stands"
    );
}

#[test]
fn three_deaths_in_ten_seconds_are_a_crash_loop_until_it_is_calm() {
    let mut judge = Judge::default();
    let dead = |now, deaths: [u64; 3]| Facts {
        proxy_deaths: deaths.map(|death| Some(at(death))),
        ..fine(now)
    };
    assert_eq!(
        judge.judge(&Facts {
            proxy_deaths: [None, Some(at(0)), Some(at(10))],
            ..fine(20)
        }),
        Ok(())
    );
    assert_eq!(judge.judge(&dead(10_020, [0, 5000, 10_001])), Ok(()));
    let deaths = [5000, 10_001, 15_000];
    assert_eq!(
        judge.judge(&dead(15_020, deaths)),
        Err(Cause::ProxyCrashLoop)
    );
    let mut after = |now, accepted| {
        judge.judge(&Facts {
            accepting: Some(at(accepted)),
            ..dead(now, deaths)
        })
    };
    // Hung at the end of the ten seconds, then a proxy that turns.
    assert_eq!(after(24_900, 15_020), Err(Cause::ProxyCrashLoop));
    assert_eq!(after(25_001, 15_020), Err(Cause::ProxyCrashLoop));
    assert_eq!(after(25_500, 25_500), Err(Cause::ProxyCrashLoop));
    assert_eq!(after(26_499, 26_499), Err(Cause::ProxyCrashLoop));
    assert_eq!(after(26_500, 26_500), Ok(()));
}

#[test]
fn old_deaths_say_nothing() {
    let mut judge = Judge::default();
    let facts = Facts {
        proxy_deaths: [0, 1, 2].map(|death| Some(at(death))),
        ..fine(10_003)
    };
    assert_eq!(judge.judge(&facts), Ok(()));
}

#[test]
fn servers_that_only_this_node_misses_move_the_vip() {
    let with = |own_health, peer_health| {
        Judge::default().judge(&Facts {
            own_health,
            peer_health,
            ..fine(0)
        })
    };
    assert_eq!(with(Some(0), Some(1)), Err(Cause::NoUsableServer));
    assert_eq!(with(Some(0), Some(0)), Ok(()), "both miss them");
    assert_eq!(with(Some(0), None), Ok(()), "the other node is not heard");
    assert_eq!(with(Some(1), Some(100)), Ok(()));
}

#[test]
fn a_difference_that_lasts_no_longer_than_a_probe_moves_nothing() {
    let mut judge = Judge::new(Duration::from_millis(300));
    let mut at = |milliseconds, own, peer| {
        judge.judge(&Facts {
            own_health: Some(own),
            peer_health: Some(peer),
            ..fine(milliseconds)
        })
    };
    assert_eq!(at(0, 0, 100), Ok(()));
    assert_eq!(at(280, 0, 100), Ok(()));
    assert_eq!(at(290, 0, 0), Ok(()), "the other node misses them, too");
    assert_eq!(at(300, 0, 33), Ok(()), "and counts anew");
    assert_eq!(at(599, 0, 33), Ok(()));
    assert_eq!(at(600, 0, 33), Err(Cause::NoUsableServer));
    assert_eq!(at(620, 33, 33), Ok(()));
}

#[test]
fn patience_follows_the_probes_of_the_required_listeners() {
    let text = |probe: &str, required: bool| {
        format!(
            r#"
[nodes.lb1]
address = "192.0.2.2"
[pair]
interface = "eth0"
[vips.api]
address = "192.0.2.10/24"
vrid = 51
[listeners.api]
bind = ["vips.api:6443"]
backend = "api"
required = {required}
[backends.api]
servers = ["198.51.100.1:6443"]
probe = {probe}
"#
        )
    };
    let patience = |probe: &str, required| {
        let config = Config::from_running(&text(probe, required)).expect("it is valid");
        super::patience(&config, VipIndex(0)).as_millis()
    };
    assert_eq!(patience("\"off\"", true), 50);
    let thrice = r#"{ interval = "1s", rise = 3, fall = 3 }"#;
    assert_eq!(patience(thrice, true), 50);
    let twice = r#"{ interval = "1s", rise = 2, fall = 3 }"#;
    assert_eq!(patience(twice, true), 150);
    let once = r#"{ interval = "1s", rise = 2, fall = 1 }"#;
    assert_eq!(patience(once, true), 1_100);
    assert_eq!(patience(once, false), 50);
    let readyz = r#"{ kind = "kube-apiserver", interval = "1s", rise = 3 }"#;
    assert_eq!(patience(readyz, true), 1_100);
    // The second and the third follow sooner, so the verdict is there before the other node's first
    // probe: 1,050 − 2 × 190 ms.
    let fast = r#"{ interval = "1s", fast_interval = "200ms", rise = 3, fall = 3 }"#;
    assert_eq!(patience(fast, true), 720);
    // The end of a failure: 5,250 − 950 ms.
    let slow = r#"{ interval = "1s", down_interval = "5s", rise = 2, fall = 3 }"#;
    assert_eq!(patience(slow, true), 4_350);
    let often = r#"{ interval = "1s", down_interval = "100ms", rise = 2, fall = 3 }"#;
    assert_eq!(patience(often, true), 50);
    let draining = r#"{ kind = "kube-apiserver", interval = "1s", down_interval = "100ms" }"#;
    assert_eq!(patience(draining, true), 1_100);
    // An agent's word counts at once.
    let agent = "\"off\"\nagent = { port = 9777, interval = \"3s\" }";
    assert_eq!(patience(agent, true), 3_200);
    assert_eq!(patience(agent, false), 50);
}

#[test]
fn patience_is_that_of_the_probes_that_are_followed() {
    let text = r#"
[nodes.lb1]
address = "192.0.2.2"
[pair]
interface = "eth0"
[vips.web]
address = "192.0.2.10/24"
vrid = 51
[listeners.https]
bind = ["vips.web:443"]
backend = "https"
[backends.http]
servers = ["198.51.100.1:80"]
probe = { interval = "1s", rise = 2, fall = 1 }
[backends.https]
servers = ["198.51.100.1:443"]
track = "http"
"#;
    let config = Config::from_running(text).expect("it is valid");
    let patience = super::patience(&config, VipIndex(0));
    assert_eq!(patience.as_millis(), 1_100);
}

#[test]
fn two_seconds_without_a_supervisor_are_too_long() {
    let with = |now, woke_on_time| {
        Judge::default().judge(&Facts {
            supervisor_gone_since: Some(at(0)),
            woke_on_time,
            ..fine(now)
        })
    };
    assert_eq!(with(2000, true), Ok(()));
    assert_eq!(with(2001, true), Err(Cause::SupervisorGone));
    assert_eq!(with(9000, false), Ok(()), "it was paused with us");
}

#[test]
fn the_interface_is_the_first_cause() {
    let facts = Facts {
        interface_fault: Some("eth0 is down"),
        accepting: None,
        supervisor_gone_since: Some(at(0)),
        ..fine(9000)
    };
    assert_eq!(
        Judge::default().judge(&facts),
        Err(Cause::Interface("eth0 is down".to_owned()))
    );
}

#[test]
fn what_is_not_known_yet_moves_nothing() {
    let judge = |own_health, peer_health| {
        Judge::default().judge(&Facts {
            own_health,
            peer_health,
            ..fine(0)
        })
    };
    assert_eq!(judge(Some(0), Some(1)), Err(Cause::NoUsableServer));
    assert_eq!(judge(None, Some(100)), Ok(()));
    assert_eq!(judge(Some(0), None), Ok(()));
}

#[test]
fn a_heartbeat_that_came_after_the_clock_was_read_is_one() {
    let mut judge = Judge::default();
    assert_eq!(judge.judge(&silent(1_000, 1_003)), Ok(()));
    assert_eq!(judge.judge(&silent(1_100, 1_003)), Ok(()));
    assert_eq!(judge.judge(&silent(1_104, 1_003)), Err(Cause::ProxyHung));
}

#[test]
fn a_heartbeat_of_the_future_is_not_believed() {
    let mut judge = Judge::default();
    assert_eq!(judge.judge(&fine(0)), Ok(()));
    let garbage = |milliseconds| silent(milliseconds, 1_000_000);
    assert_eq!(judge.judge(&garbage(50)), Ok(()));
    assert_eq!(judge.judge(&garbage(101)), Err(Cause::ProxyHung));
}
