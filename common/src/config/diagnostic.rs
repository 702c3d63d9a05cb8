//! What is wrong with a file, where, and what to do about it.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

/// Characters of a source line that are shown; of a longer one the part around the offending text.
const SHOWN_CHARS: usize = 120;

/// Findings that a report keeps; of more only the number is told.
const MOST_FINDINGS: usize = 100;

/// Bytes of the file, from `start` up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and somebody should look.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    pub severity: Severity,
    pub message: String,
    /// The offending text.
    pub span: Span,
    /// Something else in the file that the message speaks of; a report names its line.
    pub beside: Option<Span>,
    /// The remedy.
    pub help: String,
}

/// The findings of one severity about a file, in the order of the file, at most a hundred. Displayed without colour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.render(Paint::Plain))]
pub struct Report {
    file_name: String,
    text: String,
    diagnostics: Vec<Diagnostic>,
    /// Findings beyond those.
    more: usize,
}

/// Whether a report is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Plain,
    /// With the colours of a terminal (ECMA-48).
    Terminal,
}

impl Report {
    pub(super) fn new(file_name: &str, text: &str, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        let more = diagnostics.len().saturating_sub(MOST_FINDINGS);
        diagnostics.truncate(MOST_FINDINGS);
        let lines = Lines::of(text);
        for diagnostic in &mut diagnostics {
            if let Some(beside) = diagnostic.beside {
                let line = lines.line_of(floor_char(text, beside.start));
                diagnostic.message.push_str(&format!(" (line {line})"));
            }
        }
        Self {
            file_name: file_name.to_owned(),
            text: text.to_owned(),
            diagnostics,
            more,
        }
    }

    /// The findings that are kept, in the order of the file.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Nothing was found.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Every finding with file, line, column, the source line with the offending text underlined,
    /// and the remedy.
    pub fn render(&self, paint: Paint) -> String {
        let lines = Lines::of(&self.text);
        let mut blocks: Vec<String> = self
            .diagnostics
            .iter()
            .map(|diagnostic| self.block(diagnostic, &lines, paint))
            .collect();
        if self.more > 0 {
            blocks.push(format!("and {} more\n", self.more));
        }
        blocks.join("\n")
    }

    fn block(&self, diagnostic: &Diagnostic, lines: &Lines, paint: Paint) -> String {
        let place = Place::of(&self.text, diagnostic.span, lines);
        let (word, colour) = match diagnostic.severity {
            Severity::Error => ("error", "\x1b[1;31m"),
            Severity::Warning => ("warning", "\x1b[1;33m"),
        };
        let (colour, bold, blue, reset) = match paint {
            Paint::Plain => ("", "", "", ""),
            Paint::Terminal => (colour, "\x1b[1m", "\x1b[1;34m", "\x1b[0m"),
        };
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        let (message, help) = (&diagnostic.message, &diagnostic.help);
        let (file, line, column) = (&self.file_name, place.line, place.column);
        let source = &place.source;
        let indent = " ".repeat(place.before);
        let carets = "^".repeat(place.marked);
        format!(
            "{colour}{word}{reset}{bold}: {message}{reset}\n\
             {margin}{blue}-->{reset} {file}:{line}:{column}\n\
             {margin} {blue}|{reset}\n\
             {blue}{number} |{reset} {source}\n\
             {margin} {blue}|{reset} {indent}{colour}{carets}{reset}\n\
             {margin} {blue}={reset} {bold}help{reset}: {help}\n"
        )
    }
}

/// Where a span is, and the line as it is shown.
struct Place {
    /// From 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
    source: String,
    /// Characters of `source` before the mark.
    before: usize,
    /// Characters that are marked, at least one.
    marked: usize,
}

impl Place {
    fn of(text: &str, span: Span, lines: &Lines) -> Self {
        let start = floor_char(text, span.start);
        let line = lines.line_of(start);
        let line_start = lines.starts[line - 1];
        let line_end = text[start..]
            .find('\n')
            .map_or(text.len(), |newline| start + newline);
        let end = floor_char(text, span.end).clamp(start, line_end);
        let column = text[line_start..start].chars().count() + 1;
        let shown = |part: &str| -> Vec<char> {
            part.trim_end_matches('\r')
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect()
        };
        let before = shown(&text[line_start..start]);
        let marked = shown(text[start..end].trim_end());
        let after = shown(&text[start + text[start..end].trim_end().len()..line_end]);
        let skipped = before.len().saturating_sub(SHOWN_CHARS / 2);
        let skipped = if before.len() + marked.len() + after.len() > SHOWN_CHARS {
            skipped
        } else {
            0
        };
        let source: String = before[skipped..]
            .iter()
            .chain(&marked)
            .chain(&after)
            .take(SHOWN_CHARS)
            .collect();
        let before = before.len() - skipped;
        Self {
            line,
            column,
            source: source.trim_end().to_owned(),
            before,
            marked: marked.len().min(SHOWN_CHARS - before).max(1),
        }
    }
}

/// The last character boundary that is not beyond `index`.
fn floor_char(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// Where the lines of a text start, in bytes.
#[derive(Debug)]
pub(super) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let after = text.match_indices('\n').map(|(newline, _)| newline + 1);
        Self {
            starts: std::iter::once(0).chain(after).collect(),
        }
    }

    /// Line of a byte of the text, from 1.
    pub(super) fn line_of(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte)
    }
}

/// Where findings are collected.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Diagnostic>,
    /// Findings that say what is not there: worth nothing while the file's syntax is broken.
    missing: Vec<Diagnostic>,
}

impl Findings {
    /// Something that makes the file unusable.
    pub(super) fn error(
        &mut self,
        span: Span,
        message: impl fmt::Display,
        help: impl fmt::Display,
    ) {
        self.found
            .push(diagnostic(Severity::Error, span, &message, &help));
    }

    /// The same of two places in the file; the message ends with the line of the second.
    pub(super) fn error_beside(
        &mut self,
        (span, beside): (Span, Span),
        message: impl fmt::Display,
        help: impl fmt::Display,
    ) {
        let error = diagnostic(Severity::Error, span, &message, &help);
        self.found.push(Diagnostic {
            beside: Some(beside),
            ..error
        });
    }

    /// Something that somebody should look at.
    pub(super) fn warn(&mut self, span: Span, message: impl fmt::Display, help: impl fmt::Display) {
        self.found
            .push(diagnostic(Severity::Warning, span, &message, &help));
    }

    /// Something that must be there and is not.
    pub(super) fn missing(
        &mut self,
        span: Span,
        message: impl fmt::Display,
        help: impl fmt::Display,
    ) {
        self.missing
            .push(diagnostic(Severity::Error, span, &message, &help));
    }

    /// Whether something in this part of the file is wrong.
    pub(super) fn has_errors_in(&self, part: Span) -> bool {
        let within = |span: Span| part.start <= span.start && span.end <= part.end;
        let mut found = self.found.iter();
        found.any(|one| one.severity == Severity::Error && within(one.span))
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.missing.is_empty() || self.found.iter().any(|d| d.severity == Severity::Error)
    }

    /// What was found, without what is missing.
    pub(super) fn into_found(self) -> Vec<Diagnostic> {
        self.found
    }

    /// All errors, and all warnings.
    ///
    /// What several sections inherit from one place is told once.
    pub(super) fn into_parts(mut self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        self.found.append(&mut self.missing);
        let mut told = HashSet::with_capacity(self.found.len());
        self.found
            .into_iter()
            .filter(|diagnostic| told.insert(diagnostic.clone()))
            .partition(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

fn diagnostic(
    severity: Severity,
    span: Span,
    message: &dyn fmt::Display,
    help: &dyn fmt::Display,
) -> Diagnostic {
    Diagnostic {
        severity,
        message: message.to_string(),
        span,
        beside: None,
        help: help.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, span: Range<usize>) -> String {
        let mut findings = Findings::default();
        findings.error(Span::from(span), "wrong", "right");
        let (errors, _) = findings.into_parts();
        Report::new("x.toml", text, errors).to_string()
    }

    #[test]
    fn columns_count_characters() {
        let text = "a = 1\nä = \"öü\"\n";
        let start = text.find("\"ö").unwrap();
        let expected =
            "error: wrong\n --> x.toml:2:5\n  |\n2 | ä = \"öü\"\n  |     ^^^^\n  = help: right\n";
        assert_eq!(rendered(text, start..start + 6), expected);
    }

    #[test]
    fn a_mark_ends_with_its_line_and_is_never_empty() {
        assert!(rendered("a = [\n1]", 4..8).contains("1 | a = [\n  |     ^\n"));
        assert!(rendered("", 0..0).contains("1 | \n  | ^\n"));
        assert!(rendered("a\n", 9..99).contains("x.toml:2:1"));
    }

    #[test]
    fn a_long_line_is_shown_around_the_mark() {
        let text = format!("a = \"{}\" b", "x".repeat(5_000));
        let shown = rendered(&text, text.len() - 1..text.len());
        assert!(shown.contains(":5008\n"), "{shown}");
        assert!(
            shown
                .lines()
                .all(|line| line.chars().count() <= SHOWN_CHARS + 4),
            "{shown}"
        );
        let mark = shown.lines().nth(4).unwrap().find('^').unwrap();
        assert_eq!(shown.lines().nth(3).unwrap().as_bytes()[mark], b'b');
    }

    #[test]
    fn a_hundred_findings_are_shown_and_the_rest_is_counted() {
        let text = "x\n".repeat(70_000);
        let mut findings = Findings::default();
        for start in (0..text.len()).step_by(2).rev() {
            findings.error(Span::from(start..start + 1), "wrong", "right");
        }
        let (errors, _) = findings.into_parts();
        assert_eq!(errors.len(), 70_000);
        let report = Report::new("x.toml", &text, errors);
        let shown = report.to_string();
        assert_eq!(shown.matches("error: wrong\n").count(), 100);
        assert!(shown.contains("x.toml:100:1\n"), "{shown}");
        assert!(shown.ends_with("\n\nand 69900 more\n"), "{shown}");
    }

    #[test]
    fn what_is_found_twice_is_told_once() {
        let mut findings = Findings::default();
        for start in [4, 0, 4] {
            findings.error(Span::from(start..9), "wrong", "right");
        }
        assert_eq!(findings.into_parts().0.len(), 2);
    }
}
