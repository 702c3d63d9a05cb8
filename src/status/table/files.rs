//! The files that are watched for changes.

use common::status::FileStatus;

use super::grid::{Column, Grid};
use super::{known, section, since};

pub(super) fn lines(files: &[FileStatus]) -> Vec<String> {
    if files.is_empty() {
        return Vec::new();
    }
    let mut grid = Grid::new(&[
        Column::address("FILE"),
        Column::number("ENTRIES"),
        Column::number("IN USE"),
        Column::number("CHANGES"),
        Column::number("REFUSED"),
    ]);
    for file in files {
        grid.row([
            file.path.clone(),
            known(file.entries),
            since(file.since_ms_ago),
            file.changes.to_string(),
            file.refusals.to_string(),
        ]);
        if !file.refused.is_empty() {
            grid.note(format!("not as it is on disk: {}", file.refused));
        }
    }
    section(grid.lines())
}
