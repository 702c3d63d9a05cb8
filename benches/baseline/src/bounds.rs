//! What fmc-lb promises beside the others, and whether it was kept.

use crate::figures::Figures;
use crate::metric::{Column, Metric};
use crate::plan::Subject;

/// What a figure is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// The better one of HAProxy's two set-ups.
    Haproxy,
    Of(Subject),
    /// A number of the line's unit.
    Number,
}

/// A promise.
#[derive(Debug, Clone, Copy)]
struct Bound {
    metric: Metric,
    to: To,
    most: f64,
    /// Better than the bound; missing it breaks nothing.
    target: Option<f64>,
}

const fn of(metric: Metric, to: To, most: f64) -> Bound {
    Bound {
        metric,
        to,
        most,
        target: None,
    }
}

const fn with_target(bound: Bound, target: f64) -> Bound {
    Bound {
        target: Some(target),
        ..bound
    }
}

const BOUNDS: [Bound; 10] = [
    with_target(of(Metric::Connection, To::Haproxy, 1.0), 0.85),
    of(Metric::Connection, To::Of(Subject::Nginx), 1.0),
    with_target(of(Metric::Trip, To::Haproxy, 1.0), 0.95),
    of(Metric::Trip, To::Of(Subject::Nginx), 1.0),
    of(Metric::Down, To::Of(Subject::HaproxySplice), 0.5),
    of(Metric::Up, To::Of(Subject::HaproxySplice), 0.5),
    of(Metric::Down, To::Of(Subject::Envoy), 0.6),
    of(Metric::Up, To::Of(Subject::Envoy), 0.6),
    of(Metric::IdleConnection, To::Number, 2_000.0),
    of(Metric::StartPss, To::Number, 20.0),
];

/// How a promise fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Kept,
    Missed,
    /// One of the figures is not there.
    NotMeasured,
}

impl Outcome {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Missed => "missed",
            Self::NotMeasured => "not measured",
        }
    }
}

/// Every promise, how it fared, and with which figures.
pub(crate) fn judge(figures: &Figures) -> Vec<(Outcome, String)> {
    BOUNDS.iter().map(|bound| bound.judge(figures)).collect()
}

/// Whether no promise was missed; one that was not measured is none that was.
pub(crate) fn are_kept(figures: &Figures) -> bool {
    let mut judged = judge(figures).into_iter();
    judged.all(|(outcome, _)| outcome != Outcome::Missed)
}

impl Bound {
    fn judge(&self, figures: &Figures) -> (Outcome, String) {
        let of_whom = match self.to {
            To::Haproxy => " of HAProxy's".to_owned(),
            To::Of(subject) => format!(" of {}'s", subject.name()),
            To::Number => format!(" {}", self.metric.unit()),
        };
        let what = match self.metric.own_column() {
            Column::Of(_) => self.metric.name(),
            Column::Together => format!("{}, all processes", self.metric.name()),
        };
        let text = |value: f64| match self.to {
            To::Number => self.metric.text(value),
            To::Haproxy | To::Of(_) => format!("{value:.2}"),
        };
        let Some(seen) = self.seen(figures) else {
            let line = format!("{what}: at most {}{of_whom}", text(self.most));
            return (Outcome::NotMeasured, line);
        };
        let outcome = if seen <= self.most {
            Outcome::Kept
        } else {
            Outcome::Missed
        };
        let target = self.target.map_or(String::new(), |target| {
            let reached = if seen <= target {
                "reached"
            } else {
                "not reached"
            };
            format!("; target {} {reached}", text(target))
        });
        let line = format!(
            "{what}: {}{of_whom}, at most {}{target}",
            text(seen),
            text(self.most)
        );
        (outcome, line)
    }

    fn seen(&self, figures: &Figures) -> Option<f64> {
        let to = match self.to {
            To::Number => return figures.median(self.metric, self.metric.own_column()),
            To::Haproxy => figures.best_haproxy(self.metric)?,
            To::Of(subject) => Column::Of(subject),
        };
        figures.ratio(self.metric, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figure;

    fn figures(values: &[(Metric, Column, f64)]) -> Figures {
        let mut figures = Figures::default();
        for (metric, column, value) in values {
            let figure = Figure {
                metric: *metric,
                column: *column,
                value: *value,
            };
            figures.add(1, figure);
        }
        figures
    }

    fn judged(values: &[(Metric, Column, f64)]) -> Vec<(Outcome, String)> {
        let mut lines = judge(&figures(values));
        lines.retain(|(outcome, _)| *outcome != Outcome::NotMeasured);
        lines
    }

    #[test]
    fn a_bound_is_a_share_of_the_other_and_its_target_is_told() {
        let (own, haproxy) = (Column::Of(Subject::FmcLb), Column::Of(Subject::Haproxy));
        let lines = judged(&[(Metric::Trip, own, 24.0), (Metric::Trip, haproxy, 25.0)]);
        let expected =
            "CPU per 64 B round trip: 0.96 of HAProxy's, at most 1.00; target 0.95 not reached";
        assert_eq!(lines, [(Outcome::Kept, expected.to_owned())]);
        let lines = judged(&[(Metric::Trip, own, 26.0), (Metric::Trip, haproxy, 25.0)]);
        assert_eq!(lines[0].0, Outcome::Missed);
    }

    #[test]
    fn memory_has_a_number_and_the_start_is_that_of_all_processes() {
        let own = Column::Of(Subject::FmcLb);
        let lines = judged(&[
            (Metric::IdleConnection, own, 2_001.0),
            (Metric::StartPss, own, 30.0),
            (Metric::StartPss, Column::Together, 19.0),
        ]);
        let idle = "memory per idle connection: 2001 B, at most 2000";
        let start = "PSS after the start, all processes: 19.0 MB, at most 20.0";
        let expected = [
            (Outcome::Missed, idle.to_owned()),
            (Outcome::Kept, start.to_owned()),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn one_bound_that_is_missed_is_enough() {
        let own = Column::Of(Subject::FmcLb);
        let idle = |bytes: f64| (Metric::IdleConnection, own, bytes);
        let start = (Metric::StartPss, Column::Together, 19.0);
        assert!(are_kept(&Figures::default()));
        assert!(are_kept(&figures(&[idle(2_000.0), start])));
        assert!(!are_kept(&figures(&[idle(2_001.0), start])));
    }

    #[test]
    fn what_was_not_measured_is_neither_kept_nor_missed() {
        let all = judge(&Figures::default());
        assert_eq!(all.len(), BOUNDS.len());
        assert!(
            all.iter()
                .all(|(outcome, _)| *outcome == Outcome::NotMeasured)
        );
    }
}
