//! Metrics of the files that are watched for changes.

use common::status::Status;

use super::{Family, Page, flag, seconds};

const FILE: &[&str] = &["file"];

static ENTRIES: Family = Family::gauge(
    "fmc_lb_file_entries",
    FILE,
    "Networks in the list that is in use; absent for files that hold something else.",
);
static AGE: Family = Family::gauge(
    "fmc_lb_file_in_use_seconds",
    FILE,
    "Time since the contents in use came into use.",
);
static CHANGES: Family = Family::counter(
    "fmc_lb_file_changes_total",
    FILE,
    "Times that the file changed and its new contents came into use.",
);
static REFUSALS: Family = Family::counter(
    "fmc_lb_file_refusals_total",
    FILE,
    "Times that the file changed and its new contents could not be used, or it was gone.",
);
static REFUSED: Family = Family::gauge(
    "fmc_lb_file_refused",
    FILE,
    "1 while what is on disk cannot be used and older contents are in use.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[&ENTRIES, &AGE, &CHANGES, &REFUSALS, &REFUSED];

pub(super) fn fill(page: &mut Page, status: &Status) {
    for file in &status.files {
        let labels = [file.path.as_str()];
        let entries = file.entries.map(|entries| entries as f64);
        page.gauge_if_known(&ENTRIES, &labels, entries);
        page.gauge_if_known(&AGE, &labels, file.since_ms_ago.map(seconds));
        page.count(&CHANGES, &labels, file.changes);
        page.count(&REFUSALS, &labels, file.refusals);
        page.gauge(&REFUSED, &labels, flag(!file.refused.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use crate::admin::fixture::{self, CLOCKS};
    use crate::admin::metrics::page;
    use crate::admin::rates::Rates;

    #[test]
    fn every_metric_of_a_file_shows_its_cell() {
        let view = fixture::healthy();
        let slot = &view.boards.supervisor.files[0];
        view.boards.proxy.list_entries[0].set(11);
        slot.since
            .set(CLOCKS.now - std::time::Duration::from_secs(12));
        slot.changes.set(13);
        slot.refusals.set(14);
        let page_now = || page(&view, &view.status(&Rates::default(), CLOCKS), CLOCKS);
        let has = |metric: &str, value: u64| {
            let line = format!("\nfmc_lb_file_{metric}{{file=\"/etc/fmc-lb/deny.txt\"}} {value}\n");
            let page = page_now();
            assert!(page.contains(&line), "no {line} in\n{page}");
        };
        has("entries", 11);
        has("in_use_seconds", 12);
        has("changes_total", 13);
        has("refusals_total", 14);
        has("refused", 0);
        slot.refused.set("line 1: …");
        has("refused", 1);
    }
}
