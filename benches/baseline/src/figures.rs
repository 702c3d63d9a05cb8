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

/// Values by line and column, each with its round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    values: BTreeMap<(Metric, Column), BTreeMap<usize, f64>>,
}

/// The values of a line and column, summed up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Figures {
    /// Takes a round's value.
    pub(crate) fn add(&mut self, round: usize, figure: Figure) {
        let values = self.values.entry((figure.metric, figure.column));
        values.or_default().insert(round, figure.value);
    }

    /// Median and range; `None` = was not measured.
    pub(crate) fn summary(&self, metric: Metric, column: Column) -> Option<Summary> {
        let values: Vec<f64> = self.rounds(metric, column)?.values().copied().collect();
        Some(Summary {
            median: median(&values)?,
            min: values.iter().copied().reduce(f64::min)?,
            max: values.iter().copied().reduce(f64::max)?,
        })
    }

    /// The median; `None` = was not measured.
    pub(crate) fn median(&self, metric: Metric, column: Column) -> Option<f64> {
        self.summary(metric, column).map(|summary| summary.median)
    }

    /// The better one of HAProxy's two set-ups, by its median.
    pub(crate) fn best_haproxy(&self, metric: Metric) -> Option<Column> {
        [Subject::HaproxySplice, Subject::Haproxy]
            .map(Column::Of)
            .into_iter()
            .filter_map(|column| Some((self.median(metric, column)?, column)))
            .min_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, column)| column)
    }

    /// What fmc-lb's figure is times this column's: the median of the rounds' own ratios, since a machine that is slower
    /// for a while is so for all who are measured then. `None` = one of them was not measured, or one is nothing or
    /// less (a difference of latencies may be). After the start all processes count.
    pub(crate) fn ratio(&self, metric: Metric, to: Column) -> Option<f64> {
        let own = self.rounds(metric, metric.own_column())?;
        let others = self.rounds(metric, to)?;
        let pairs = own
            .iter()
            .filter_map(|(round, own)| Some((*own, *others.get(round)?)));
        let ratios: Vec<f64> = pairs
            .filter(|(own, other)| *own > 0.0 && *other > 0.0)
            .map(|(own, other)| own / other)
            .collect();
        median(&ratios)
    }

    fn rounds(&self, metric: Metric, column: Column) -> Option<&BTreeMap<usize, f64>> {
        self.values.get(&(metric, column))
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
        for (round, (column, value)) in values.iter().enumerate() {
            figures.add(
                round,
                Figure {
                    metric: Metric::Trip,
                    column: *column,
                    value: *value,
                },
            );
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
    fn the_ratio_is_to_the_better_haproxy_and_of_the_same_round() {
        let mut figures = Figures::default();
        let columns = [
            (Subject::FmcLb, [20.0, 44.0, 21.0]),
            (Subject::HaproxySplice, [50.0, 90.0, 51.0]),
            (Subject::Haproxy, [40.0, 80.0, 30.0]),
            (Subject::Nginx, [0.0, -1.0, 0.0]),
        ];
        for (subject, values) in columns {
            for (round, value) in values.into_iter().enumerate() {
                let figure = Figure {
                    metric: Metric::Trip,
                    column: Column::Of(subject),
                    value,
                };
                figures.add(round, figure);
            }
        }
        let best = figures.best_haproxy(Metric::Trip);
        assert_eq!(best, Some(Column::Of(Subject::Haproxy)));
        // 0.5, 0.55 and 0.7; of the medians it would be 0.525.
        let to = Column::Of(Subject::Haproxy);
        assert_eq!(figures.ratio(Metric::Trip, to), Some(0.55));
        assert_eq!(figures.ratio(Metric::Up, to), None);
        let nothing = Column::Of(Subject::Nginx);
        assert_eq!(figures.ratio(Metric::Trip, nothing), None);
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
