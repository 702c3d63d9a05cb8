//! The table of keys as a page to read, `docs/configuration.md`.

use std::fmt::Write;

use super::keys;
use super::kind::{Default, Form, Key, Kind, Section, Shape};
use super::nearest::{heading, list};

const INTRODUCTION: &str = r#"# Configuration

One TOML file, the same on both nodes: `fmc-lb run --config FILE`. This page is what `fmc-lb schema --markdown` prints,
made from the table of keys that the parser reads; a test fails when it is stale. `configs/flatcarmicrocloud.toml` is a
whole site with comments.

`fmc-lb check FILE` says what is wrong with a file: an unknown section, key or value is an error, with its line and the
nearest right name. `fmc-lb check --show FILE` prints the file with every default written out, and `fmc-lb schema` a JSON
Schema for editors.

A section whose title ends in `NAME` stands once for each name; the others stand at most once. A duration is a whole
number with its unit, `ms`, `s`, `m` or `h`: `"1500ms"`.
"#;

/// Every section and key with type, default, meaning and an example, as Markdown.
pub fn manual() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut shown = Vec::new();
    for section in keys::SECTIONS {
        chapter(&mut page, section);
        let mut parts = Vec::new();
        inline_sections(section, &mut parts);
        for part in parts {
            if !shown.contains(&part.section.name) {
                shown.push(part.section.name);
                inline_chapter(&mut page, part.section);
            }
        }
    }
    page
}

/// An inline section where it is used.
#[derive(Debug, Clone, Copy)]
struct Use {
    /// The section that has the key.
    parent: &'static Section,
    key: &'static Key,
    section: &'static Section,
}

/// The inline sections of a section, in the order of its keys, each followed by its own.
fn inline_sections(parent: &'static Section, found: &mut Vec<Use>) {
    for key in parent.keys {
        if let Some(section) = table_of(&key.kind) {
            found.push(Use {
                parent,
                key,
                section,
            });
            inline_sections(section, found);
        }
    }
}

/// The section that describes a value of this kind, or each of its elements.
fn table_of(kind: &Kind) -> Option<&'static Section> {
    match kind {
        Kind::Table(section) | Kind::TableOr(section, _) | Kind::TableOrOff(section) => {
            Some(section)
        }
        Kind::List(element) => table_of(element),
        Kind::Bool
        | Kind::Integer(_)
        | Kind::Lowering(_)
        | Kind::Duration(_)
        | Kind::Text(_)
        | Kind::Choice(_)
        | Kind::ByNode(_) => None,
    }
}

fn chapter(page: &mut String, section: &Section) {
    put(page, format_args!("\n## `{}`\n\n", heading(section)));
    put(page, format_args!("{}\n\n", section.doc));
    put(page, format_args!("```toml\n{}\n```\n\n", section.example));
    table(page, section);
}

fn inline_chapter(page: &mut String, section: &'static Section) {
    put(page, format_args!("\n### `{}`\n\n", heading(section)));
    let uses = uses_of(section);
    let places: Vec<String> = uses
        .iter()
        .map(|place| format!("`{}` of `{}`", place.key.name, heading(place.parent)))
        .collect();
    let places = list(places.iter().map(String::as_str));
    put(page, format_args!("{} As {places}:\n\n", section.doc));
    if let Some(first) = uses.first() {
        let line = assignment(first);
        put(page, format_args!("```toml\n{line}\n```\n\n"));
    }
    table(page, section);
}

/// Everywhere that an inline section is used.
fn uses_of(section: &Section) -> Vec<Use> {
    let mut all = Vec::new();
    for parent in keys::SECTIONS {
        inline_sections(parent, &mut all);
    }
    all.retain(|place| place.section.name == section.name);
    all
}

/// The example of an inline section as a line of the section that it is used in.
fn assignment(place: &Use) -> String {
    let example = place.section.example;
    match place.key.kind {
        Kind::List(_) => format!("{} = [{example}]", place.key.name),
        Kind::Bool
        | Kind::Integer(_)
        | Kind::Lowering(_)
        | Kind::Duration(_)
        | Kind::Text(_)
        | Kind::Choice(_)
        | Kind::Table(_)
        | Kind::TableOr(..)
        | Kind::TableOrOff(_)
        | Kind::ByNode(_) => format!("{} = {example}", place.key.name),
    }
}

fn table(page: &mut String, section: &Section) {
    page.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    for key in section.keys {
        let cells = [
            format!("`{}`", key.name),
            type_words(&key.kind),
            default_words(key.default),
            key.doc.to_owned(),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        put(page, format_args!("| {} |\n", cells.join(" | ")));
    }
}

fn type_words(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Integer(range) => format!("whole number, {}", range.words()),
        Kind::Lowering(range) => format!("whole number, {}", range.lowering_words()),
        Kind::Duration(range) => format!("duration, {}", range.words()),
        // Its example is of one key's file.
        Kind::Text(Form::Path) => Form::Path.words().to_owned(),
        Kind::Text(form) => format!("{}: `\"{}\"`", form.words(), form.example()),
        Kind::Choice(choice) => {
            let words: Vec<String> = choice.values.iter().map(|v| format!("`\"{v}\"`")).collect();
            words.join(", ")
        }
        Kind::List(element) => format!("list of: {}", type_words(element)),
        Kind::Table(section) => link(section),
        Kind::TableOr(section, short) => {
            format!("{}, or its `{short}` alone", link(section))
        }
        Kind::TableOrOff(section) => format!("{}, or `\"off\"`", link(section)),
        Kind::ByNode(range) => format!("table: for each node, {}", range.words()),
    }
}

fn link(section: &Section) -> String {
    debug_assert!(section.shape == Shape::Inline, "{}", section.name);
    format!("[{0}](#{0})", section.name)
}

fn default_words(default: Default) -> String {
    match default {
        Default::Required => "**required**".to_owned(),
        Default::Unset(meaning) => meaning.to_owned(),
        Default::Toml("{}") => "on, with its defaults".to_owned(),
        Default::Toml(text) => format!("`{text}`"),
        Default::Inherited { section, key } => format!("`{key}` of `[{section}]`"),
    }
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// The examples of all sections that stand on their own: together they are a whole file.
    fn whole() -> toml::Table {
        let text: Vec<&str> = keys::SECTIONS.iter().map(|s| s.example).collect();
        text.join("\n").parse().expect("the examples are TOML")
    }

    #[track_caller]
    fn assert_valid(table: &toml::Table, what: &str) {
        let text = table.to_string();
        if let Err(report) = Config::from_running(&text) {
            panic!("{what}:\n{report}");
        }
    }

    #[test]
    fn the_examples_are_a_valid_file() {
        assert_valid(&whole(), "all examples together");
    }

    /// A table of this section in the file; that of an inline section is put there.
    fn site<'t>(file: &'t mut toml::Table, section: &Section) -> &'t mut toml::Table {
        let value = match section.shape {
            Shape::Once => file.get_mut(section.name).expect("an example has it"),
            Shape::Named => {
                let named = file[section.name].as_table_mut().expect("a table");
                let (_, first) = named.iter_mut().next().expect("an example has one");
                first
            }
            Shape::Inline => {
                let place = uses_of(section)[0];
                let parent = site(file, place.parent);
                parent.extend(line(&place));
                let value = &mut parent[place.key.name];
                if value.is_array() {
                    &mut value[0]
                } else {
                    value
                }
            }
        };
        value.as_table_mut().expect("a section is a table")
    }

    fn line(place: &Use) -> toml::Table {
        assignment(place).parse().expect("an example is TOML")
    }

    #[test]
    fn the_example_of_each_inline_section_is_valid_wherever_it_may_stand() {
        let mut uses = Vec::new();
        for section in keys::SECTIONS {
            inline_sections(section, &mut uses);
        }
        assert!(uses.len() >= 8, "{}", uses.len());
        for place in uses {
            let mut file = whole();
            site(&mut file, place.parent).extend(line(&place));
            assert_valid(&file, &assignment(&place));
        }
    }

    #[test]
    fn every_key_has_a_line() {
        let page = manual();
        let mut uses = Vec::new();
        for section in keys::SECTIONS {
            inline_sections(section, &mut uses);
        }
        let inline = uses.iter().map(|place| place.section);
        for section in keys::SECTIONS.iter().copied().chain(inline) {
            let title = format!(" `{}`\n", heading(section));
            let (_, rest) = page.split_once(&title).expect("a chapter");
            let rest = rest.split("\n#").next().expect("a text");
            for key in section.keys {
                assert!(
                    rest.contains(&format!("\n| `{}` | ", key.name)),
                    "{title} {}",
                    key.name
                );
            }
        }
    }
}
