//! Durations and quantities as people read them.

use std::time::Duration;

/// Short: "312 ms", "4.2 s", "3m 12s", "5h 03m", "12d 04h".
pub(crate) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0 => format!("{} ms", age.as_millis()),
        1..60 => format!("{:.1} s", (age.as_millis() / 100) as f64 / 10.0),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Three significant digits and a decimal unit: "0", "0.4", "12.5", "320", "1.2k", "45M".
pub(crate) fn quantity(value: f64) -> String {
    const UNITS: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let mut scaled = value.max(0.0);
    let mut unit = 0;
    // What would be printed as 1000 belongs to the next unit.
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1_000.0;
        unit += 1;
    }
    let number = if scaled < 9.95 && scaled > 0.0 {
        let short = format!("{scaled:.1}");
        short.strip_suffix(".0").unwrap_or(&short).to_owned()
    } else {
        format!("{scaled:.0}")
    };
    format!("{number}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_short_at_any_length() {
        for (millis, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (59_999, "59.9 s"),
            (192_000, "3m 12s"),
            (3_599_999, "59m 59s"),
            (18_180_000, "5h 03m"),
            (86_399_999, "23h 59m"),
            (1_051_200_000, "12d 04h"),
        ] {
            assert_eq!(age(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_quantity_has_at_most_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.04, "0"),
            (0.44, "0.4"),
            (3.0, "3"),
            (9.94, "9.9"),
            (9.96, "10"),
            (320.2, "320"),
            (999.6, "1k"),
            (1_234.0, "1.2k"),
            (45_200_000.0, "45M"),
            (2_500_000_000.0, "2.5G"),
            (-1.0, "0"),
        ] {
            assert_eq!(quantity(value), text, "{value}");
        }
    }
}
