//! What was measured, all rounds of it, and the few numbers that are made of it.

use std::collections::BTreeMap;

use crate::metric::{Column, Metric};
use crate::plan::Subject;

/// One measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    pub(crate) metric: Metric,
    pub(crate) column: Column,
    pub(crate) value: f64,
}

/// Values by line and column.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    values: BTreeMap<(Metric, Column), Vec<f64>>,
}

/// The values of a line and column, summed up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Figures {
    /// Takes another round's value.
    pub(crate) fn add(&mut self, figure: Figure) {
        let values = self.values.entry((figure.metric, figure.column));
        values.or_default().push(figure.value);
    }

    /// Median and range; `None` = was not measured.
    pub(crate) fn summary(&self, metric: Metric, column: Column) -> Option<Summary> {
        let values = self.values.get(&(metric, column))?;
        Some(Summary {
            median: median(values)?,
            min: values.iter().copied().reduce(f64::min)?,
            max: values.iter().copied().reduce(f64::max)?,
        })
    }

    /// The median; `None` = was not measured.
    pub(crate) fn median(&self, metric: Metric, column: Column) -> Option<f64> {
        self.summary(metric, column).map(|summary| summary.median)
    }

    /// The better one of HAProxy's two set-ups.
    pub(crate) fn best_haproxy(&self, metric: Metric) -> Option<f64> {
        [Subject::HaproxySplice, Subject::Haproxy]
            .into_iter()
            .filter_map(|subject| self.median(metric, Column::Of(subject)))
            .reduce(f64::min)
    }

    /// What fmc-lb's figure is times this one; `None` = one of them was not measured, or one is nothing or less (a
    /// difference of latencies may be). After the start all processes count.
    pub(crate) fn ratio(&self, metric: Metric, to: Option<f64>) -> Option<f64> {
        let own = self.median(metric, metric.own_column())?;
        to.filter(|to| *to > 0.0 && own > 0.0).map(|to| own / to)
    }

    /// The lines that have a value, in the table's order.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let measured = |metric: &Metric| self.values.keys().any(|(of, _)| of == metric);
        Metric::all().into_iter().filter(measured).collect()
    }
}

/// The value in the middle; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        return sorted.get(middle).copied();
    }
    let below = sorted.get(middle.checked_sub(1)?)?;
    Some(f64::midpoint(*below, *sorted.get(middle)?))
}

/// The smallest value that this share of all is not above (nearest rank).
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is between 0 and the number of values"
    )]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(values: &[(Column, f64)]) -> Figures {
        let mut figures = Figures::default();
        for (column, value) in values {
            figures.add(Figure {
                metric: Metric::Trip,
                column: *column,
                value: *value,
            });
        }
        figures
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[9.0, 1.0, 5.0, 7.0]), Some(6.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_summary_has_the_range() {
        let own = Column::Of(Subject::FmcLb);
        let summary = figures(&[(own, 3.0), (own, 1.0), (own, 2.0)]).summary(Metric::Trip, own);
        let expected = Summary {
            median: 2.0,
            min: 1.0,
            max: 3.0,
        };
        assert_eq!(summary, Some(expected));
    }

    #[test]
    fn the_ratio_is_to_the_better_haproxy() {
        let figures = figures(&[
            (Column::Of(Subject::FmcLb), 20.0),
            (Column::Of(Subject::HaproxySplice), 50.0),
            (Column::Of(Subject::Haproxy), 40.0),
        ]);
        let best = figures.best_haproxy(Metric::Trip);
        assert_eq!(best, Some(40.0));
        assert_eq!(figures.ratio(Metric::Trip, best), Some(0.5));
        assert_eq!(figures.ratio(Metric::Trip, None), None);
        assert_eq!(figures.ratio(Metric::Up, best), None);
        assert_eq!(figures.ratio(Metric::Trip, Some(-1.0)), None);
    }

    #[test]
    fn a_quantile_is_a_value_that_was_seen() {
        let values: Vec<f64> = (1..=1_000).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), Some(500.0));
        assert_eq!(quantile(&values, 0.99), Some(990.0));
        assert_eq!(quantile(&values, 0.999), Some(999.0));
        assert_eq!(quantile(&[7.0], 0.5), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
