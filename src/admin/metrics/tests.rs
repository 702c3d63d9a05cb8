use std::time::Duration;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use common::board::{
    AdminState, Cell, DropReason, Entrant, PairDrop, Presence, ProbeStatus, ServerState, VipState,
};
use common::tracker::Tally;

use super::*;
use crate::admin::fixture::{self, CLOCKS};
use crate::admin::rates::Rates;

fn families() -> impl Iterator<Item = &'static Family> {
    [
        node::FAMILIES,
        reload::FAMILIES,
        vrrp::FAMILIES,
        forwarding::FAMILIES,
        rescue::FAMILIES,
        trackers::FAMILIES,
        routes::FAMILIES,
        proxy::FAMILIES,
        agents::FAMILIES,
        names::FAMILIES,
        files::FAMILIES,
        tls::FAMILIES,
        session_log::FAMILIES,
        drain::FAMILIES,
        succession::FAMILIES,
    ]
    .into_iter()
    .flatten()
    .copied()
}

fn page_of(view: &View) -> String {
    page(view, &view.status(&Rates::default(), CLOCKS), CLOCKS)
}

/// The value of the line that begins with `series`.
fn value(page: &str, series: &str) -> f64 {
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no {series} in\n{page}"));
    line.parse().expect("a number")
}

#[test]
fn every_described_metric_is_on_the_page_of_a_healthy_node_with_its_type_and_help() {
    let view = fixture::with_routes();
    let tracker = &view.boards.vrrp.trackers[0];
    let mut tally = Tally::new((1, 1), tracker.state());
    tracker.take(&mut tally, Ok("answers"), CLOCKS.now);
    let answered = CLOCKS.now - std::time::Duration::from_secs(1);
    view.boards.proxy.names[0].answered.set(answered);
    view.boards.vrrp.rivals[0].seen.set(answered);
    let page = page_of(&view);
    let mut listed = BTreeSet::new();
    for family in families() {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let head = format!(
            "# HELP {0} {1}\n# TYPE {0} {kind}\n{0}",
            family.name, family.help
        );
        assert!(page.contains(&head), "no {head} in\n{page}");
        assert!(listed.insert(family.name), "{} twice", family.name);
    }
    let shown = page
        .lines()
        .filter(|line| line.starts_with("# TYPE "))
        .count();
    assert_eq!(
        shown,
        listed.len(),
        "a metric is on the page that FAMILIES do not list"
    );
}

/// The rules of `promtool check metrics` that names and help texts can break.
#[test]
fn names_end_in_their_unit_and_counters_in_total() {
    for family in families() {
        let name = family.name;
        assert!(name.starts_with("fmc_lb_"), "{name}");
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{name}"
        );
        assert_eq!(
            name.ends_with("_total"),
            family.kind == Kind::Counter,
            "{name}"
        );
        for ending in [
            "_count",
            "_sum",
            "_bucket",
            "_ms",
            "_milliseconds",
            "_percent",
        ] {
            assert!(!name.ends_with(ending), "{name}");
        }
        assert!(family.help.ends_with('.'), "{name}: {}", family.help);
        assert!(family.labels.len() <= 3, "{name}");
    }
}

/// Each cell alone moves its line, and no other line of its kind.
#[test]
fn every_counter_of_a_vip_shows_its_cell() {
    let view = fixture::healthy();
    let slot = &view.boards.vrrp.vips[1];
    let cells: [(&str, &Cell); 6] = [
        (
            "fmc_lb_vrrp_leases_refused_total",
            &view.boards.vrrp.leases_refused[1],
        ),
        ("fmc_lb_vrrp_became_active_total", &slot.became_active),
        ("fmc_lb_vrrp_adverts_sent_total", &slot.adverts_sent),
        ("fmc_lb_vrrp_adverts_received_total", &slot.adverts_received),
        (
            "fmc_lb_vrrp_priority_zero_sent_total",
            &slot.priority_zero_sent,
        ),
        (
            "fmc_lb_vrrp_priority_zero_received_total",
            &slot.priority_zero_received,
        ),
    ];
    assert_cells_move(&view, "vip=\"web\"", "vip=\"api\"", &cells);
}

#[test]
fn how_late_vrrp_wakes_and_what_a_hypervisor_takes_are_on_the_page() {
    let view = fixture::healthy();
    let slot = &view.boards.vrrp.lateness;
    for micros in [50, 700, 60_000, 150_000] {
        let late = Duration::from_micros(micros);
        slot.take(late, Duration::from_millis(60), fixture::ago(90_000));
    }
    view.boards.vrrp.advert_delays[9].set(29);
    view.boards.admin.stolen_ms.set(2_340);
    view.boards.admin.stolen_permille.set(45);
    let page = page_of(&view);
    for (series, expected) in [
        ("fmc_lb_vrrp_wakes_total{late=\"100us\"}", 1.0),
        ("fmc_lb_vrrp_wakes_total{late=\"500us\"}", 0.0),
        ("fmc_lb_vrrp_wakes_total{late=\"1ms\"}", 1.0),
        ("fmc_lb_vrrp_wakes_total{late=\"100ms\"}", 1.0),
        ("fmc_lb_vrrp_wakes_total{late=\"more\"}", 1.0),
        ("fmc_lb_vrrp_slips_total", 2.0),
        ("fmc_lb_vrrp_advert_delays_total{late=\"100ms\"}", 0.0),
        ("fmc_lb_vrrp_advert_delays_total{late=\"more\"}", 29.0),
        ("fmc_lb_machine_stolen_seconds_total", 2.34),
        ("fmc_lb_machine_stolen_ratio", 0.045),
    ] {
        assert_eq!(value(&page, series), expected, "{series}");
    }
}

#[test]
fn every_counter_of_a_listener_shows_its_cell() {
    let view = fixture::healthy();
    let slot = &view.boards.proxy.listeners[1];
    let cells: [(&str, &Cell); 9] = [
        ("fmc_lb_listener_sessions", &slot.sessions),
        ("fmc_lb_listener_accepted_total", &slot.accepted),
        ("fmc_lb_listener_denied_total", &slot.denied),
        ("fmc_lb_listener_failed_total", &slot.failed),
        ("fmc_lb_listener_accept_errors_total", &slot.accept_errors),
        ("fmc_lb_listener_received_bytes_total", &slot.bytes_in),
        ("fmc_lb_listener_sent_bytes_total", &slot.bytes_out),
        ("fmc_lb_listener_idle_closed_total", &slot.idle_closed),
        ("fmc_lb_listener_aborted_total", &slot.aborted),
    ];
    assert_cells_move(&view, "listener=\"https\"", "listener=\"api\"", &cells);
}

#[test]
fn every_counter_of_a_server_shows_its_cell() {
    let view = fixture::healthy();
    let slot = &view.boards.proxy.servers[4];
    let cells: [(&str, &Cell); 8] = [
        ("fmc_lb_server_sessions", &slot.sessions),
        ("fmc_lb_server_connected_total", &slot.connected),
        ("fmc_lb_server_connect_errors_total", &slot.connect_errors),
        ("fmc_lb_server_probes_total", &slot.probes),
        ("fmc_lb_server_probe_failures_total", &slot.probe_failures),
        ("fmc_lb_server_downs_total", &slot.downs),
        ("fmc_lb_server_errors_in_row", &slot.errors_in_row),
        ("fmc_lb_server_error_limits_total", &slot.error_limits),
    ];
    let other = "backend=\"k3s-api\",server=\"10.17.4.21:6443\"";
    assert_cells_move(
        &view,
        "backend=\"traefik-https\",server=\"10.17.4.25:443\"",
        other,
        &cells,
    );
}

fn assert_cells_move(view: &View, labels: &str, others: &str, cells: &[(&str, &Cell)]) {
    for (index, (_, cell)) in cells.iter().enumerate() {
        cell.set(1_000 + index as u64);
    }
    let page = page_of(view);
    for (index, (name, _)) in cells.iter().enumerate() {
        let moved = value(&page, &format!("{name}{{{labels}}}"));
        assert_eq!(moved, 1_000.0 + index as f64, "{name}");
        assert_eq!(value(&page, &format!("{name}{{{others}}}")), 0.0, "{name}");
    }
}

#[test]
fn every_drop_is_counted_under_its_reason() {
    let view = fixture::healthy();
    for reason in DropReason::ALL {
        let cell = &view.boards.vrrp.drops[*reason as usize];
        cell.add(100 + *reason as u64);
    }
    for reason in PairDrop::ALL {
        let cell = &view.boards.vrrp.pair_drops[*reason as usize];
        cell.add(200 + *reason as u64);
    }
    let page = page_of(&view);
    for reason in DropReason::ALL {
        let series = format!(
            "fmc_lb_vrrp_dropped_packets_total{{reason=\"{}\"}}",
            reason.word()
        );
        assert_eq!(value(&page, &series), 100.0 + *reason as u64 as f64);
    }
    for reason in PairDrop::ALL {
        let series = format!(
            "fmc_lb_pair_dropped_datagrams_total{{reason=\"{}\"}}",
            reason.word()
        );
        assert_eq!(value(&page, &series), 200.0 + *reason as u64 as f64);
    }
}

#[test]
fn processes_show_deaths_heartbeats_and_whether_they_run() {
    let view = fixture::healthy();
    let proxy = &view.boards.supervisor.children[1];
    proxy.deaths.set(3);
    proxy.pid.set(0);
    let page = page_of(&view);
    assert_eq!(
        value(&page, "fmc_lb_process_deaths_total{process=\"proxy\"}"),
        3.0
    );
    assert_eq!(value(&page, "fmc_lb_process_up{process=\"proxy\"}"), 0.0);
    assert_eq!(value(&page, "fmc_lb_process_up{process=\"vrrp\"}"), 1.0);
    let age = "fmc_lb_process_heartbeat_age_seconds{process=\"proxy\"}";
    assert_eq!(value(&page, age), 0.012);
    assert!(!page.contains("fmc_lb_process_deaths_total{process=\"supervisor\"}"));
    assert_eq!(
        value(&page, "fmc_lb_node_start_time_seconds"),
        1_777_633_800.0
    );
    assert_eq!(value(&page, "fmc_lb_node_warnings"), 1.0);
}

#[test]
fn exactly_one_state_of_a_vip_and_of_a_server_is_one() {
    let view = fixture::healthy();
    view.boards.vrrp.vips[0]
        .state
        .set(VipState::Backup.on_board());
    view.boards.proxy.servers[0]
        .state
        .set(ServerState::Draining.on_board());
    let page = page_of(&view);
    for state in VipState::ALL {
        let series = format!(
            "fmc_lb_vrrp_vip_state{{address=\"192.168.0.10\",state=\"{}\",vip=\"api\"}}",
            state.word()
        );
        assert_eq!(value(&page, &series), flag(*state == VipState::Backup));
    }
    for state in ServerState::ALL {
        let series = format!(
            "fmc_lb_server_state{{backend=\"k3s-api\",server=\"10.17.4.21:6443\",state=\"{}\"}}",
            state.word()
        );
        assert_eq!(value(&page, &series), flag(*state == ServerState::Draining));
    }
}

#[test]
fn how_a_probe_ended_is_one_of_all_ways_and_has_its_number() {
    let view = fixture::healthy();
    let labels = "backend=\"traefik-https\",server=\"10.17.4.25:443\"";
    let code = format!("fmc_lb_server_probe_code{{{labels}}}");
    assert!(!page_of(&view).contains(&code));
    let slot = &view.boards.proxy.servers[4];
    slot.probe_status.set(ProbeStatus::L7Sts.on_board());
    slot.probe_code.set(503);
    let page = page_of(&view);
    for status in ProbeStatus::ALL {
        let series = format!(
            "fmc_lb_server_probe_status{{{labels},status=\"{}\"}}",
            status.word()
        );
        assert_eq!(value(&page, &series), flag(*status == ProbeStatus::L7Sts));
    }
    assert_eq!(value(&page, &code), 503.0);
}

#[test]
fn gauges_show_what_the_boards_say() {
    let view = fixture::healthy();
    view.boards.vrrp.worst_lateness.set(2_500_000);
    view.boards.vrrp.memory_locked.set(0);
    view.boards.vrrp.vips[1].leased.set(0);
    view.boards.vrrp.vips[1].priority.set(99);
    view.boards.vrrp.vips[1].peer_priority.set(77);
    view.boards.vrrp.peer.config_hash.set(5);
    view.boards.proxy.vip_health[1].set(67);
    let page = page_of(&view);
    for (series, expected) in [
        ("fmc_lb_vrrp_worst_lateness_seconds", 0.0025),
        ("fmc_lb_vrrp_memory_locked", 0.0),
        ("fmc_lb_vrrp_realtime", 1.0),
        ("fmc_lb_vrrp_vip_leased{vip=\"api\"}", 1.0),
        ("fmc_lb_vrrp_vip_leased{vip=\"web\"}", 0.0),
        ("fmc_lb_vrrp_vip_priority{vip=\"web\"}", 99.0),
        ("fmc_lb_vrrp_peer_priority{vip=\"web\"}", 77.0),
        ("fmc_lb_vrrp_peer_heard_age_seconds", 0.008),
        ("fmc_lb_pair_heartbeat_age_seconds", 0.008),
        ("fmc_lb_pair_up", 1.0),
        ("fmc_lb_pair_config_differs", 1.0),
        ("fmc_lb_proxy_vip_health_ratio{vip=\"web\"}", 0.67),
        (
            "fmc_lb_server_weight{backend=\"k3s-api\",server=\"10.17.4.21:6443\"}",
            1.0,
        ),
        (
            "fmc_lb_server_probe_duration_seconds{backend=\"k3s-api\",server=\"10.17.4.21:6443\"}",
            0.00125,
        ),
        (
            "fmc_lb_server_certificate_expiry_timestamp_seconds{backend=\"k3s-api\",server=\"10.17.4.21:6443\"}",
            1_785_412_800.0,
        ),
        (
            "fmc_lb_server_probe_age_seconds{backend=\"k3s-api\",server=\"10.17.4.21:6443\"}",
            0.4,
        ),
        ("fmc_lb_build_info{version=\"0.1.0\"}", 1.0),
    ] {
        assert_eq!(value(&page, series), expected, "{series}");
    }
}

#[test]
fn names_of_the_configuration_cannot_break_a_line() {
    let mut view = fixture::healthy();
    let mut config = fixture::config();
    config.vips[0].name = "a\"b\nc\\d".to_owned();
    view.config = config.into();
    let page = page_of(&view);
    assert!(
        page.contains(r#"fmc_lb_vrrp_vip_leased{vip="a\"b\nc\\d"} 1"#),
        "{page}"
    );
}

/// `FMC_LB_BLESS=1 cargo test --release -p fmc-lb metrics` writes the page anew.
#[test]
fn docs_metrics_md_is_what_the_descriptions_say() {
    let mut wanted = String::from(
        "# Metrics\n\n\
         `GET /metrics` on the addresses of `[admin] http`, in Prometheus' text format 0.0.4. This page is made from\n\
         the descriptions in `src/admin/metrics/`; a test fails when it is stale.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for family in families() {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let labels: Vec<_> = family
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        writeln!(
            wanted,
            "| `{}` | {kind} | {} | {} |",
            family.name,
            labels.join(", "),
            family.help
        )
        .expect("a string takes everything");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    if std::env::var_os("FMC_LB_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &wanted).expect("docs/metrics.md can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/metrics.md is stale: FMC_LB_BLESS=1 cargo test --release -p fmc-lb metrics"
    );
}

#[test]
fn refusals_of_the_http_server_are_counted() {
    let view = fixture::healthy();
    view.boards.admin.http_denied.add(2);
    view.boards.admin.http_dropped.add(3);
    let text = page_of(&view);
    assert!(
        text.contains("\nfmc_lb_admin_http_denied_total 2\n"),
        "{text}"
    );
    assert!(
        text.contains("\nfmc_lb_admin_http_dropped_total 3\n"),
        "{text}"
    );
}

#[test]
fn programs_that_probe_are_counted() {
    let view = fixture::healthy();
    let admin = view.boards.admin;
    admin.external_runs.add(7);
    admin.external_kills.add(2);
    admin.external_running.set(8);
    admin.external_waiting.set(3);
    let page = page_of(&view);
    for (name, wanted) in [
        ("fmc_lb_admin_probe_programs_total", 7.0),
        ("fmc_lb_admin_probe_programs_killed_total", 2.0),
        ("fmc_lb_admin_probe_programs_running", 8.0),
        ("fmc_lb_admin_probe_programs_waiting", 3.0),
    ] {
        assert!((value(&page, name) - wanted).abs() < f64::EPSILON, "{name}");
    }
}

#[test]
fn what_an_administrator_says_is_counted_by_kind() {
    let view = fixture::healthy();
    let proxy = view.boards.proxy;
    proxy.servers[0].set_admin_state(AdminState::Maintenance, None);
    proxy.servers[1].set_admin_state(AdminState::Drain, None);
    proxy.servers[4].set_admin_state(AdminState::Drain, None);
    proxy.servers[4].set_admin_weight(Some(1), None);
    proxy.listeners[1].pause.set(1, None);
    let now = (fixture::CLOCKS.now, None);
    proxy.roster[2].say(Presence::Removed, now);
    proxy.roster[3].say(Presence::Leaving, now);
    let who = Entrant {
        backend: 1,
        address: "10.17.4.29:443".to_owned(),
        weight: 1,
        backup: false,
        max_sessions: None,
        follows: None,
        replaces: None,
        name: None,
    };
    proxy.roster[9].enter(&who, now);
    proxy.listeners[1].killed.add(7);
    proxy.servers[0].cut.add(3);
    let page = page_of(&view);
    let kind = |kind: &str| {
        value(
            &page,
            &format!("fmc_lb_administrative_overrides{{kind=\"{kind}\"}}"),
        )
    };
    assert_eq!((kind("drain"), kind("maintenance")), (2.0, 1.0));
    assert_eq!((kind("weight"), kind("pause")), (1.0, 1.0));
    assert_eq!((kind("added"), kind("removed")), (1.0, 2.0));
    let added = "fmc_lb_server_presence{backend=\"traefik-https\",presence=\"added\",server=\"10.17.4.29:443\"}";
    assert_eq!(value(&page, added), 1.0);
    let killed = "fmc_lb_listener_killed_total{listener=\"https\"}";
    assert_eq!(value(&page, killed), 7.0);
    let cut = "fmc_lb_server_cut_total{backend=\"k3s-api\",server=\"10.17.4.21:6443\"}";
    assert_eq!(value(&page, cut), 3.0);
}
