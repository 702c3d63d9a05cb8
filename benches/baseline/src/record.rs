//! Everything that a run has brought, as a table of words: what the terminal, the Markdown and the picture show.

use crate::figures::Figures;
use crate::metric::{Column, Metric};
use crate::plan::Subject;

/// A run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) figures: Figures,
    /// The subjects that were asked for.
    pub(crate) subjects: Vec<Subject>,
    /// Those that could not be measured, and why.
    pub(crate) missing: Vec<(Subject, String)>,
    /// What the programs say of their versions.
    pub(crate) versions: Vec<(Subject, String)>,
    /// The machine, the amount of work.
    pub(crate) setting: Vec<String>,
    /// Measurements that failed, and failures within measurements.
    pub(crate) failures: Vec<String>,
}

/// What stands where nothing was measured.
const NOTHING: &str = "-";
/// What stands where the program is not there.
pub(crate) const NOT_AVAILABLE: &str = "not available";

impl Record {
    /// The columns that were asked for, those of missing programs among them.
    pub(crate) fn columns(&self) -> Vec<Column> {
        let metrics = self.figures.metrics();
        let filled = |column: Column| {
            let mut values = metrics.iter();
            values.any(|metric| self.figures.summary(*metric, column).is_some())
        };
        Column::ALL
            .into_iter()
            .filter(|column| {
                filled(*column)
                    || matches!(column, Column::Of(subject) if self.subjects.contains(subject))
            })
            .collect()
    }

    /// The heading, then one line for each metric: median and range of each column, then what fmc-lb's figure is times
    /// those of the others.
    pub(crate) fn table(&self) -> Vec<Vec<String>> {
        let columns = self.columns();
        let mut heading = vec![String::new(), String::new()];
        heading.extend(columns.iter().map(|column| column.name().to_owned()));
        heading.extend(["to HAProxy", "to nginx", "to Envoy"].map(str::to_owned));
        let mut table = vec![heading];
        for metric in self.figures.metrics() {
            let mut line = vec![metric.name(), metric.unit().to_owned()];
            line.extend(columns.iter().map(|column| self.cell(metric, *column)));
            line.extend(self.ratios(metric));
            table.push(line);
        }
        table
    }

    fn cell(&self, metric: Metric, column: Column) -> String {
        let Some(summary) = self.figures.summary(metric, column) else {
            let subject = column.subject();
            let missing = self.missing.iter().any(|(of, _)| *of == subject);
            return if missing { NOT_AVAILABLE } else { NOTHING }.to_owned();
        };
        let text = |value| metric.text(value);
        if summary.min < summary.max {
            let (min, max) = (text(summary.min), text(summary.max));
            format!("{} ({min}..{max})", text(summary.median))
        } else {
            text(summary.median)
        }
    }

    fn ratios(&self, metric: Metric) -> [String; 3] {
        let figures = &self.figures;
        let others = [
            figures.best_haproxy(metric),
            Some(Column::Of(Subject::Nginx)),
            Some(Column::Of(Subject::Envoy)),
        ];
        others.map(|other| {
            let ratio = other.and_then(|other| figures.ratio(metric, other));
            ratio.map_or_else(|| NOTHING.to_owned(), |ratio| format!("{ratio:.2}"))
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::figures::Figure;

    /// Two rounds of round trips with Envoy missing.
    pub(crate) fn example() -> Record {
        let mut record = Record {
            subjects: vec![Subject::FmcLb, Subject::Haproxy, Subject::Envoy],
            missing: vec![(Subject::Envoy, "no pip".to_owned())],
            ..Record::default()
        };
        for (round, subject, value) in [
            (1, Subject::FmcLb, 20.0),
            (2, Subject::FmcLb, 22.0),
            (2, Subject::Haproxy, 25.0),
        ] {
            let figure = Figure {
                metric: Metric::Trip,
                column: Column::Of(subject),
                value,
            };
            record.figures.add(round, figure);
        }
        record
    }

    #[test]
    fn a_line_has_figures_ranges_and_ratios_and_says_what_is_missing() {
        let table = example().table();
        assert_eq!(
            table[0],
            [
                "",
                "",
                "fmc-lb",
                "HAProxy",
                "Envoy",
                "to HAProxy",
                "to nginx",
                "to Envoy"
            ]
        );
        assert_eq!(
            table[1],
            [
                "CPU per 64 B round trip",
                "us",
                "21.0 (20.0..22.0)",
                "25.0",
                "not available",
                "0.88",
                "-",
                "-"
            ]
        );
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_column_that_nobody_asked_for_is_left_out() {
        let columns = example().columns();
        assert!(!columns.contains(&Column::Of(Subject::Nginx)));
        assert!(columns.contains(&Column::Of(Subject::Envoy)));
    }
}
