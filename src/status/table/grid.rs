//! Columns that fit the width: texts are cut with "…", most where there is most to spare. Pure.

/// Widest line, in characters.
pub(super) const WIDTH: usize = 80;
const GAP: &str = "  ";

/// A column: its heading, how its cells stand and how narrow it may become.
#[derive(Debug, Clone)]
pub(super) struct Column {
    heading: String,
    align: Align,
    cut: Cut,
    narrowest: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Names and addresses: their end (a number, a port) tells them apart.
    Middle,
    End,
}

impl Column {
    /// A name from the configuration.
    pub(super) fn name(heading: &str) -> Self {
        Self::new(heading, Align::Left, Cut::Middle, 8)
    }

    /// An address, with a port perhaps; an IPv4 one is never cut.
    pub(super) fn address(heading: &str) -> Self {
        Self::new(heading, Align::Left, Cut::Middle, 21)
    }

    /// One of a few words; the longest is "maintenance".
    pub(super) fn word(heading: &str) -> Self {
        Self::new(heading, Align::Left, Cut::End, 11)
    }

    pub(super) fn number(heading: &str) -> Self {
        Self::new(heading, Align::Right, Cut::End, 7)
    }

    /// Words, in the last column.
    pub(super) fn text(heading: &str) -> Self {
        Self::new(heading, Align::Left, Cut::End, 8)
    }

    fn new(heading: &str, align: Align, cut: Cut, narrowest: usize) -> Self {
        Self {
            heading: heading.to_owned(),
            align,
            cut,
            narrowest,
        }
    }
}

/// Rows under headings.
#[derive(Debug)]
pub(super) struct Grid {
    columns: Vec<Column>,
    rows: Vec<Row>,
    /// Lines under the headings, of a grid without rows.
    notes: Vec<String>,
    indent: usize,
}

#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    notes: Vec<String>,
}

impl Grid {
    pub(super) fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
            notes: Vec::new(),
            indent: 0,
        }
    }

    /// Two columns further right.
    pub(super) fn indented(self) -> Self {
        Self { indent: 2, ..self }
    }

    /// Adds a row with a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(Row {
            cells: cells.into_iter().map(|cell| clean(&cell)).collect(),
            notes: Vec::new(),
        });
    }

    /// Adds lines under the last row, or under the headings if there is none; none for an empty text.
    pub(super) fn note(&mut self, text: String) {
        if text.is_empty() {
            return;
        }
        match self.rows.last_mut() {
            Some(row) => row.notes.push(text),
            None => self.notes.push(text),
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let widths = self.widths();
        let indent = " ".repeat(self.indent);
        let note_indent = " ".repeat(self.indent + 2);
        let headings: Vec<_> = self.columns.iter().map(|one| one.heading.clone()).collect();
        let mut lines = vec![indent.clone() + &self.line(&headings, &widths)];
        for note in &self.notes {
            lines.extend(wrap(note, &note_indent, &note_indent));
        }
        for row in &self.rows {
            lines.push(indent.clone() + &self.line(&row.cells, &widths));
            for note in &row.notes {
                lines.extend(wrap(note, &note_indent, &note_indent));
            }
        }
        lines
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let cells: Vec<_> = self
            .columns
            .iter()
            .zip(cells)
            .zip(widths)
            .map(|((column, cell), width)| {
                let cell = shorten(cell, *width, column.cut);
                match column.align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                }
            })
            .collect();
        cells.join(GAP)
    }

    /// As wide as the cells want, then narrowed where there is most to spare until the line fits.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let cells = self.rows.iter().map(|row| length(&row.cells[index]));
                cells.chain([length(&column.heading)]).max().unwrap_or(0)
            })
            .collect();
        let gaps = GAP.len() * self.columns.len().saturating_sub(1);
        let room = WIDTH - self.indent - gaps;
        while widths.iter().sum::<usize>() > room {
            let spare = |index: usize| widths[index].saturating_sub(self.columns[index].narrowest);
            let Some(widest) = (0..widths.len()).max_by_key(|index| spare(*index)) else {
                break;
            };
            if spare(widest) == 0 {
                break;
            }
            widths[widest] -= 1;
        }
        widths
    }
}

/// Words of a text in lines of at most [`WIDTH`]: the first begins with `first`, the others with `next`.
pub(super) fn wrap(text: &str, first: &str, next: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut empty = true;
    // Two spaces between the parts of a headline stay two.
    for word in clean(text).split(' ') {
        let word = shorten(word, WIDTH - length(next).max(length(first)), Cut::End);
        if !empty && length(&line) + 1 + length(&word) > WIDTH {
            lines.push(std::mem::replace(&mut line, next.to_owned()));
            empty = true;
        }
        if empty && word.is_empty() {
            continue;
        }
        if !empty {
            line.push(' ');
        }
        line += &word;
        empty = false;
    }
    lines.push(line);
    lines
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// Reasons may quote what a server sent: nothing in them may move the cursor or set colours.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn shorten(text: &str, width: usize, cut: Cut) -> String {
    let long = length(text);
    if long <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let tail = match cut {
        Cut::Middle => kept / 2,
        Cut::End => 0,
    };
    let head = text.chars().take(kept - tail);
    head.chain(['…'])
        .chain(text.chars().skip(long - tail))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_its_kind_can_spare_it() {
        assert_eq!(
            shorten("traefik-https-01", 16, Cut::Middle),
            "traefik-https-01"
        );
        assert_eq!(shorten("traefik-https-01", 9, Cut::Middle), "trae…s-01");
        assert_eq!(shorten("connection refused", 9, Cut::End), "connecti…");
        assert_eq!(shorten("äöüäöü", 4, Cut::End), "äöü…");
    }

    #[test]
    fn a_grid_narrows_the_column_with_most_to_spare() {
        let mut grid = Grid::new(&[Column::address("SERVER"), Column::text("WHY")]);
        grid.row(["10.17.4.21:6443".to_owned(), "x".repeat(200)]);
        grid.note("all of it".to_owned());
        grid.row(["10.17.4.22:6443".to_owned(), "short".to_owned()]);
        let lines = grid.lines();
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(lines[1].starts_with("10.17.4.21:6443  xxx"));
        assert_eq!(length(&lines[1]), WIDTH);
        assert!(lines[1].ends_with('…'));
        assert_eq!(lines[2], "  all of it");
    }

    #[test]
    fn a_grid_without_rows_keeps_its_notes() {
        let mut grid = Grid::new(&[Column::text("BACKEND named")]);
        grid.note("api.example.org is unresolved".to_owned());
        let lines = grid.lines();
        assert_eq!(lines[1..], ["  api.example.org is unresolved"]);
    }

    #[test]
    fn wrapped_words_keep_to_the_width() {
        let lines = wrap(&"word ".repeat(40), "! ", "  ");
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("! word word"));
        assert!(lines[1].starts_with("  word"));
        assert!(lines.iter().all(|line| length(line) <= WIDTH), "{lines:#?}");
        let long = wrap(&"x".repeat(300), "! ", "  ");
        assert!(long.iter().all(|line| length(line) <= WIDTH), "{long:#?}");
    }

    #[test]
    fn nothing_in_a_cell_or_a_note_controls_the_terminal() {
        let mut grid = Grid::new(&[Column::text("WHY")]);
        grid.row(["\x1b[31mred\r\n".to_owned()]);
        grid.note("\x07bell".to_owned());
        assert_eq!(grid.lines()[1].trim_end(), "?[31mred??");
        assert_eq!(grid.lines()[2], "  ?bell");
    }
}
