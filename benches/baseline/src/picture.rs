//! A run as a picture: a panel for each metric, a bar for each balancer, its range as a line.

use std::fmt::Write as _;

use crate::figures::Summary;
use crate::metric::{Column, Metric};
use crate::plan::Subject;
use crate::record::{NOT_AVAILABLE, Record};

/// Panels beside each other.
const ACROSS: usize = 2;
/// Width of a panel with the gap after it.
const PANEL: usize = 480;
/// Where the bars of a panel begin, and how long the longest is.
const BAR_LEFT: usize = 160;
const BAR_LENGTH: f64 = 210.0;
/// Height of a bar with its gap, and of a panel without bars.
const BAR: usize = 20;
const TITLE: usize = 46;
/// Ours stands out; the darkest tone of the others is text.
const OURS: &str = "#1f6feb";
const OURS_TOGETHER: &str = "#8ab4f8";
const OTHERS: &str = "#b4bac4";
const TEXT: &str = "#24292f";

/// The picture, an SVG document.
pub(crate) fn svg(record: &Record) -> String {
    let columns: Vec<Column> = record.columns();
    let metrics: Vec<Metric> = record
        .figures
        .metrics()
        .into_iter()
        // The lines of what is added say it without the part that is everybody's.
        .filter(|metric| !matches!(metric, Metric::Latency(_)))
        .collect();
    let height = TITLE + BAR * columns.len();
    let rows = metrics.len().div_ceil(ACROSS);
    let (width, total) = (PANEL * ACROSS + 20, height * rows + 20);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{total}\" \
         viewBox=\"0 0 {width} {total}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"{TEXT}\">\n\
         <rect width=\"{width}\" height=\"{total}\" fill=\"#ffffff\"/>\n"
    );
    for (index, metric) in metrics.iter().enumerate() {
        let (left, top) = (20 + index % ACROSS * PANEL, 20 + index / ACROSS * height);
        let panel = panel(record, *metric, &columns);
        let written = write!(
            text,
            "<g transform=\"translate({left} {top})\">\n{panel}</g>\n"
        );
        written.expect("writing into a string cannot fail");
    }
    text.push_str("</svg>\n");
    text
}

fn panel(record: &Record, metric: Metric, columns: &[Column]) -> String {
    let summary = |column: &Column| record.figures.summary(metric, *column);
    let longest = columns
        .iter()
        .filter_map(summary)
        .map(|summary| summary.max)
        .fold(0.0, f64::max);
    let mut text = format!(
        "<text y=\"14\" font-weight=\"bold\">{}, {}</text>\n",
        escape(&metric.name()),
        escape(metric.unit())
    );
    let mut line = 0;
    for column in columns {
        let missing = record.missing.iter().any(|(of, _)| *of == column.subject());
        let top = 24 + line * BAR;
        let bar = match summary(column) {
            Some(summary) => bar(metric, *column, (summary, longest)),
            None if missing => format!(
                "<text x=\"{BAR_LEFT}\" y=\"12\" font-style=\"italic\">{NOT_AVAILABLE}</text>\n"
            ),
            None => continue,
        };
        let written = write!(
            text,
            "<g transform=\"translate(0 {top})\">\n<text x=\"{}\" y=\"12\" text-anchor=\"end\">{}</text>\n{bar}</g>\n",
            BAR_LEFT - 8,
            escape(column.name()),
        );
        written.expect("writing into a string cannot fail");
        line += 1;
    }
    text
}

fn bar(metric: Metric, column: Column, (summary, longest): (Summary, f64)) -> String {
    let scale = |value: f64| {
        if longest > 0.0 {
            (value.max(0.0) / longest * BAR_LENGTH).min(BAR_LENGTH)
        } else {
            0.0
        }
    };
    let colour = match column {
        Column::Of(Subject::FmcLb) => OURS,
        Column::Together => OURS_TOGETHER,
        Column::Of(_) => OTHERS,
    };
    let left = BAR_LEFT as f64;
    let (from, to) = (left + scale(summary.min), left + scale(summary.max));
    format!(
        "<rect x=\"{BAR_LEFT}\" y=\"2\" width=\"{:.1}\" height=\"13\" fill=\"{colour}\"/>\n\
         <path d=\"M{from:.1} 8.5H{to:.1}\" stroke=\"{TEXT}\" stroke-width=\"1.5\"/>\n\
         <text x=\"{:.1}\" y=\"12\">{}</text>\n",
        scale(summary.median),
        to + 6.0,
        escape(&metric.text(summary.median)),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::example;

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        let svg = svg(&example());
        // 21 of at most 25, and 25 of 25.
        assert!(
            svg.contains("width=\"176.4\" height=\"13\" fill=\"#1f6feb\""),
            "{svg}"
        );
        assert!(
            svg.contains("width=\"210.0\" height=\"13\" fill=\"#b4bac4\""),
            "{svg}"
        );
        assert!(svg.contains("M328.0 8.5H344.8"), "{svg}");
        assert!(svg.contains(NOT_AVAILABLE));
        assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count());
        assert_eq!(svg.matches("<svg").count(), 1);
    }

    #[test]
    fn words_cannot_break_the_document() {
        assert_eq!(escape("a<b> & c"), "a&lt;b&gt; &amp; c");
    }

    #[test]
    fn a_picture_of_nothing_is_empty() {
        let svg = svg(&Record::default());
        assert!(!svg.contains("<g") && svg.ends_with("</svg>\n"));
    }
}
