//! Metrics of the node and its processes.

use common::board::Cell;
use common::status::Status;

use super::{Family, Page, flag, seconds};
use crate::admin::clock::Clocks;
use crate::admin::view::View;

static BUILD_INFO: Family = Family::gauge(
    "fmc_lb_build_info",
    &["version"],
    "Version that runs, as a label; always 1.",
);
static START_TIME: Family = Family::gauge(
    "fmc_lb_node_start_time_seconds",
    &[],
    "When the node's supervisor started, in seconds since 1970 (UTC).",
);
static WARNINGS: Family = Family::gauge(
    "fmc_lb_node_warnings",
    &[],
    "Warnings that fmc-lb status shows now.",
);
static PROCESS_UP: Family = Family::gauge(
    "fmc_lb_process_up",
    &["process"],
    "1 while the process runs, its loop turns and it is in no crash loop, otherwise 0.",
);
static HEARTBEAT_AGE: Family = Family::gauge(
    "fmc_lb_process_heartbeat_age_seconds",
    &["process"],
    "Time since the last turn of the process's slowest loop; absent before the first.",
);
static DEATHS: Family = Family::counter(
    "fmc_lb_process_deaths_total",
    &["process"],
    "Deaths of the process that nobody asked for.",
);
static STOLEN: Family = Family::counter(
    "fmc_lb_machine_stolen_seconds_total",
    &[],
    "CPU time of this machine that a hypervisor took for others since the boot (steal), of all processors.",
);
static STOLEN_RATIO: Family = Family::gauge(
    "fmc_lb_machine_stolen_ratio",
    &[],
    "Share of the CPU time of the last minute that a hypervisor took, 0 to 1.",
);

static HTTP_DENIED: Family = Family::counter(
    "fmc_lb_admin_http_denied_total",
    &[],
    "HTTP connections from addresses that [admin] allow does not list.",
);
static HTTP_DROPPED: Family = Family::counter(
    "fmc_lb_admin_http_dropped_total",
    &[],
    "HTTP connections closed without an answer, because too many were open.",
);

static PROGRAM_RUNS: Family = Family::counter(
    "fmc_lb_admin_probe_programs_total",
    &[],
    "Programs that were run as probes (kind external).",
);
static PROGRAM_KILLS: Family = Family::counter(
    "fmc_lb_admin_probe_programs_killed_total",
    &[],
    "Of these, those that were killed: their time was over, or they wrote too much.",
);
static PROGRAMS_RUNNING: Family = Family::gauge(
    "fmc_lb_admin_probe_programs_running",
    &[],
    "Programs that run as probes now; eight at most.",
);
static PROGRAMS_WAITING: Family = Family::gauge(
    "fmc_lb_admin_probe_programs_waiting",
    &[],
    "Programs that are due as probes and wait until others have ended.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[
    &BUILD_INFO,
    &START_TIME,
    &WARNINGS,
    &PROCESS_UP,
    &HEARTBEAT_AGE,
    &DEATHS,
    &STOLEN,
    &STOLEN_RATIO,
    &HTTP_DENIED,
    &HTTP_DROPPED,
    &PROGRAM_RUNS,
    &PROGRAM_KILLS,
    &PROGRAMS_RUNNING,
    &PROGRAMS_WAITING,
];

pub(super) fn fill(page: &mut Page, view: &View, status: &Status, clocks: Clocks) {
    page.gauge(&BUILD_INFO, &[&status.version], 1.0);
    let started = view.boards.supervisor.header.started.get();
    let since_1970 = started.map(|at| clocks.epoch.as_secs_f64() + at.as_nanos() as f64 / 1e9);
    page.gauge_if_known(&START_TIME, &[], since_1970);
    page.gauge(&WARNINGS, &[], status.warnings.len() as f64);
    let admin = view.boards.admin;
    page.line(&STOLEN, &[], seconds(admin.stolen_ms.get()));
    page.gauge(&STOLEN_RATIO, &[], admin.stolen_permille.get() as f64 / 1e3);
    page.count(&HTTP_DENIED, &[], admin.http_denied.get());
    page.count(&HTTP_DROPPED, &[], admin.http_dropped.get());
    page.count(&PROGRAM_RUNS, &[], admin.external_runs.get());
    page.count(&PROGRAM_KILLS, &[], admin.external_kills.get());
    let gauge = |cell: &Cell| cell.get() as f64;
    page.gauge(&PROGRAMS_RUNNING, &[], gauge(&admin.external_running));
    page.gauge(&PROGRAMS_WAITING, &[], gauge(&admin.external_waiting));
    for process in &status.processes {
        let labels = [process.name.as_str()];
        page.gauge(&PROCESS_UP, &labels, flag(process.state == "running"));
        let age = process.heartbeat_ms_ago.map(seconds);
        page.gauge_if_known(&HEARTBEAT_AGE, &labels, age);
        // Nobody counts the supervisor's deaths.
        if process.name != "supervisor" {
            page.count(&DEATHS, &labels, process.deaths);
        }
    }
}
