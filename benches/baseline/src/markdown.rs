//! A run as a page.

use crate::bounds;
use crate::record::Record;

/// What was measured, and how; the same for every run.
const METHOD: &str = "\
One thread each; client and servers on core 0, the balancer alone on core 1, each measurement in fresh network namespaces \
(client, balancer, servers, joined by veth). CPU is the balancer's user and system time by its CPU clocks; of \
fmc-lb the process that relays, and beside it all its processes. A short connection is connect, 64 bytes each way and an \
orderly close, 32 at a time, over three servers; a round trip is 64 bytes there and back, 50 connections at a time; bulk \
data goes over four connections; an idle connection has made one round trip, its memory is the growth of PSS; latency is \
timed from the moment at which a question was due, 2,000 a second on 20 connections, and what is added is the difference \
to the same without a balancer in the same round. With more connections open, ten of them play. Every byte is checked at \
its receiver. Medians of the rounds with their smallest and largest value; the last columns are fmc-lb's figure divided by \
the other's of the same round, the median of the rounds (HAProxy: the better one of its two; after the start all processes \
of fmc-lb count). GB and MB are powers of ten.
";

/// The page.
pub(crate) fn page(record: &Record) -> String {
    let mut text = String::from("# fmc-lb beside HAProxy, nginx and Envoy\n\n");
    text.push_str(METHOD);
    text.push('\n');
    list(&mut text, record.setting.iter().cloned());
    let versions = record.versions.iter();
    list(
        &mut text,
        versions.map(|(subject, version)| format!("{}: {version}", subject.name())),
    );
    let missing = record.missing.iter();
    list(
        &mut text,
        missing.map(|(subject, why)| format!("{}: not available, {why}", subject.name())),
    );
    text.push_str("\n## Figures\n\n");
    text.push_str(&table(&record.table()));
    text.push_str("\n## Bounds\n\n");
    let judged = bounds::judge(&record.figures).into_iter();
    list(
        &mut text,
        judged.map(|(outcome, line)| format!("**{}**: {line}", outcome.word())),
    );
    if !record.failures.is_empty() {
        text.push_str("\n## What failed\n\n");
        list(&mut text, record.failures.iter().cloned());
    }
    text
}

fn list(text: &mut String, items: impl Iterator<Item = String>) {
    for item in items {
        text.push_str("- ");
        // An error may bring a log of several lines.
        text.push_str(&item.replace('\n', " "));
        text.push('\n');
    }
}

fn table(lines: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let cells: Vec<String> = line.iter().map(|cell| cell.replace('|', "\\|")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
        if index == 0 {
            // Names to the left, figures to the right.
            let rules = line.iter().enumerate();
            let rules: Vec<&str> = rules
                .map(|(column, _)| if column < 2 { "---" } else { "---:" })
                .collect();
            text.push_str(&format!("|{}|\n", rules.join("|")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::example;

    #[test]
    fn the_page_has_the_table_the_bounds_and_what_failed() {
        let mut record = example();
        let clean = page(&record);
        assert!(clean.contains("| CPU per 64 B round trip | us | 21.0 (20.0..22.0) | 25.0 | not available | 0.88 | - | - |\n"));
        assert!(clean.contains("\n|---|---|---:|---:|---:|---:|---:|---:|\n"));
        assert!(clean.contains("- Envoy: not available, no pip\n"));
        assert!(clean.contains("- **kept**: CPU per 64 B round trip: 0.88 of HAProxy's"));
        assert!(!clean.contains("What failed"));
        record.failures.push("round 1:\nbroken".to_owned());
        assert!(page(&record).contains("## What failed\n\n- round 1: broken\n"));
    }
}
