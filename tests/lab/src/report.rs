//! Medians and tables.

use std::time::Duration;

/// The median; of an even number the mean of the two in the middle. `None` of nothing.
pub fn median(values: &[Duration]) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort();
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted.get(middle).copied()
    } else {
        Some((*sorted.get(middle.checked_sub(1)?)? + *sorted.get(middle)?) / 2)
    }
}

/// Milliseconds with one digit, e.g. `28.4 ms`.
pub fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Lines with columns as wide as their widest word.
pub fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|word| word.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in lines {
        let words: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(word, width)| format!("{word:<width$}"))
            .collect();
        text.push_str(words.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let ms = |list: &[u64]| {
            list.iter()
                .map(|ms| Duration::from_millis(*ms))
                .collect::<Vec<_>>()
        };
        assert_eq!(median(&ms(&[9, 1, 5])), Some(Duration::from_millis(5)));
        assert_eq!(median(&ms(&[9, 1, 5, 7])), Some(Duration::from_millis(6)));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn columns_are_aligned() {
        let lines = [
            vec!["a".into(), "b".into()],
            vec!["long".into(), "c".into()],
        ];
        assert_eq!(table(&lines), "a     b\nlong  c\n");
    }
}
