//! What to say about a text that is no TOML.

use super::diagnostic::Span;
use super::forms::Fault;

/// The fault of a line and where it is, in words of this file rather than of the grammar.
pub(super) fn explain(text: &str, error: &toml::de::Error) -> (Span, Fault) {
    let span = error.span().map_or_else(Span::default, Span::from);
    let message = error.message().trim_end_matches(", expected nothing");
    if message == "duplicate key" {
        let fault = Fault::new("this stands in the file twice", "remove one of the two");
        return (span, fault);
    }
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    if let Some((key, value)) = bare_text(line) {
        let after_key = line.find('=').unwrap_or(0);
        let start = line_start + after_key + line[after_key..].find(value).unwrap_or(0);
        let span = Span {
            start,
            end: start + value.len(),
        };
        let fault = Fault::new(
            format!("`{value}` is not a value"),
            format!("write a text in quotes: {key} = \"{value}\""),
        );
        return (span, fault);
    }
    let help = if message.contains("string") {
        "close the quotes at the end of the text"
    } else {
        "the file is TOML: `[section]` lines, and `key = value` lines with texts in quotes"
    };
    (span, Fault::new(message, help))
}

/// `key = value` with a value that only lacks its quotes.
fn bare_text(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let value = value.split('#').next().unwrap_or_default().trim_end();
    let is_text = !value.is_empty()
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '/' | '-' | '_'));
    let is_number = value.parse::<f64>().is_ok();
    (is_text && !is_number && value != "true" && value != "false").then_some((key, value))
}
