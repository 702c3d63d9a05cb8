//! The table of `fmc-lb sessions`. Pure.

use std::time::Duration;

use common::command::{SessionList, SessionStatus};

use crate::status::human;

const HEAD: [&str; 8] = [
    "ID", "LISTENER", "CLIENT", "BACKEND", "SERVER", "AGE", "IN", "OUT",
];
/// Columns that are numbers: to the right.
const NUMBERS: [bool; 8] = [false, false, false, false, false, true, true, true];

/// The whole table, with a newline at its end.
pub(crate) fn render(list: &SessionList) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(list.sessions.iter().map(cells));
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text: String = rows.iter().map(|row| line(row, &widths)).collect();
    if list.more > 0 {
        text += &format!("and {} younger ones\n", list.more);
    }
    for who in &list.silent {
        text += &format!("without those of {who}\n");
    }
    text
}

fn line(row: &[String; 8], widths: &[usize; 8]) -> String {
    let cells = row.iter().zip(widths).zip(NUMBERS).map(|cell| match cell {
        ((text, width), true) => format!("{text:>width$}"),
        ((text, width), false) => format!("{text:width$}"),
    });
    let line = cells.collect::<Vec<_>>().join("  ");
    format!("{}\n", line.trim_end())
}

fn cells(session: &SessionStatus) -> [String; 8] {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let client = match &session.via {
        Some(via) => format!("{} via {via}", session.client),
        None => session.client.clone(),
    };
    [
        session.id.clone(),
        session.listener.clone(),
        client,
        or_none(&session.backend),
        or_none(&session.server),
        human::age(Duration::from_millis(session.age_ms)),
        human::quantity(session.bytes_in as f64),
        human::quantity(session.bytes_out as f64),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_session_and_counts_the_rest() {
        let list = SessionList {
            sessions: vec![
                SessionStatus {
                    id: "5a3f01c2e".to_owned(),
                    listener: "api".to_owned(),
                    client: "192.168.0.40:51234".to_owned(),
                    backend: Some("k3s-api".to_owned()),
                    server: Some("10.17.4.21:6443".to_owned()),
                    age_ms: 192_000,
                    bytes_in: 1_234,
                    bytes_out: 45_200_000,
                    ..SessionStatus::default()
                },
                SessionStatus {
                    id: "5a3f01c6e".to_owned(),
                    listener: "https".to_owned(),
                    client: "192.0.2.7:4711".to_owned(),
                    via: Some("10.0.0.1:99".to_owned()),
                    age_ms: 12,
                    ..SessionStatus::default()
                },
            ],
            more: 3,
            silent: vec!["process 7, which has retired: it hangs".to_owned()],
        };
        assert_eq!(
            render(&list),
            "\
ID         LISTENER  CLIENT                          BACKEND  SERVER              AGE    IN  OUT
5a3f01c2e  api       192.168.0.40:51234              k3s-api  10.17.4.21:6443  3m 12s  1.2k  45M
5a3f01c6e  https     192.0.2.7:4711 via 10.0.0.1:99  -        -                 12 ms     0    0
and 3 younger ones
without those of process 7, which has retired: it hangs
"
        );
    }
}
