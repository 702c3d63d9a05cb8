//! Metrics of the session logs.

use common::status::Status;

use super::{Family, Page, flag};

static WRITTEN: Family = Family::counter(
    "fmc_lb_session_log_lines_total",
    &[],
    "Lines that were written to the session logs; absent while no listener has one.",
);
static LOST: Family = Family::counter(
    "fmc_lb_session_log_lost_lines_total",
    &[],
    "Lines of the session logs that were lost, because too many waited or a log could not be written.",
);
static PROBLEM: Family = Family::gauge(
    "fmc_lb_session_log_problem",
    &[],
    "1 while a session log cannot be written or opened anew.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[&WRITTEN, &LOST, &PROBLEM];

pub(super) fn fill(page: &mut Page, status: &Status) {
    if let Some(log) = &status.session_log {
        page.count(&WRITTEN, &[], log.written);
        page.count(&LOST, &[], log.lost);
        page.gauge(&PROBLEM, &[], flag(!log.problem.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use crate::admin::fixture::{self, CLOCKS};
    use crate::admin::metrics::page;
    use crate::admin::rates::Rates;

    #[test]
    fn every_metric_of_the_session_log_shows_its_cell() {
        let view = fixture::healthy();
        let slot = &view.boards.proxy.session_log;
        slot.written.set(21);
        slot.lost.set(22);
        let has = |metric: &str, value: u64| {
            let page = page(&view, &view.status(&Rates::default(), CLOCKS), CLOCKS);
            let line = format!("\nfmc_lb_session_log_{metric} {value}\n");
            assert!(page.contains(&line), "no {line} in\n{page}");
        };
        has("lines_total", 21);
        has("lost_lines_total", 22);
        has("problem", 0);
        slot.problem.set("/var/log/x.log: …");
        has("problem", 1);
    }
}
