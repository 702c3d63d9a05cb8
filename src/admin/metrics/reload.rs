//! Metrics of the configuration that runs, and of reloads.

use common::status::Status;

use super::{Family, Page, flag, seconds};

static INFO: Family = Family::gauge(
    "fmc_lb_config_info",
    &["hash"],
    "Hash of the configuration that runs, as a label: the same on both nodes that run the same; always 1.",
);
static AGE: Family = Family::gauge(
    "fmc_lb_config_in_use_seconds",
    &[],
    "Time since the node runs by this configuration.",
);
static RELOADS: Family = Family::counter(
    "fmc_lb_config_reloads_total",
    &["result"],
    "Reloads, by what became of them: applied, or failed, which changed nothing.",
);
static SUCCESSFUL: Family = Family::gauge(
    "fmc_lb_config_last_reload_successful",
    &[],
    "0 if the last reload changed nothing; 1 if it was done, or there was none.",
);
static DIFFERS: Family = Family::gauge(
    "fmc_lb_config_file_differs",
    &[],
    "1 while the configuration file on disk says something else than what runs, or cannot be read.",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[&INFO, &AGE, &RELOADS, &SUCCESSFUL, &DIFFERS];

pub(super) fn fill(page: &mut Page, status: &Status) {
    let reload = &status.reload;
    page.gauge(&INFO, &[&status.config_hash], 1.0);
    page.gauge_if_known(&AGE, &[], reload.since_ms_ago.map(seconds));
    page.count(&RELOADS, &["applied"], reload.applied);
    page.count(&RELOADS, &["failed"], reload.failed);
    page.gauge(&SUCCESSFUL, &[], flag(reload.reason.is_empty()));
    page.gauge(&DIFFERS, &[], flag(reload.file_differs));
}

#[cfg(test)]
mod tests {
    use crate::admin::fixture::{self, CLOCKS, ago};
    use crate::admin::metrics::page;
    use crate::admin::rates::Rates;

    #[test]
    fn every_metric_of_the_configuration_shows_its_cell() {
        let view = fixture::healthy();
        let slot = &view.boards.supervisor.reload;
        let page_now = || page(&view, &view.status(&Rates::default(), CLOCKS), CLOCKS);
        let has = |metric: &str, value: u64| {
            let line = format!("\nfmc_lb_config_{metric} {value}\n");
            let page = page_now();
            assert!(page.contains(&line), "no {line} in\n{page}");
        };
        has("last_reload_successful", 1);
        slot.since.set(ago(12_000));
        slot.applied.set(13);
        slot.failed.set(14);
        has("info{hash=\"9f2c41d07be85a10\"}", 1);
        has("in_use_seconds", 12);
        has("reloads_total{result=\"applied\"}", 13);
        has("reloads_total{result=\"failed\"}", 14);
        has("file_differs", 0);
        slot.reason.set("line 3: unknown key");
        slot.differs.set(1);
        has("last_reload_successful", 0);
        has("file_differs", 1);
    }
}
