//! The TOML document → the values of each section.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Findings, Lines, Span};
use super::forms;
use super::keys;
use super::kind::{Section, Shape};
use super::nearest::{list, nearest};
use super::reader::{Table, in_order, read_table, section_heading};
use super::syntax;
use super::value::{At, Values};

/// The sections of a document.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Sections that stand once, those that the file leaves out too.
    once: Vec<Values>,
    /// Sections that stand once for each name, in the order of the file.
    named: Vec<(&'static str, At<String>, Values)>,
    is_broken: bool,
}

impl Document {
    /// Reads the text; what is wrong is reported.
    pub(super) fn read(text: &str, findings: &mut Findings) -> Self {
        let (root, syntax) = DeTable::parse_recoverable(text);
        let mut document = Self::default();
        if syntax.is_empty() {
            document.read_root(root.get_ref(), findings);
            return document;
        }
        // What could still be read is worth checking, but not what seems to be missing, and not
        // where the syntax is broken anyway.
        document.is_broken = true;
        let mut beside = Findings::default();
        document.read_root(root.get_ref(), &mut beside);
        let lines = Lines::of(text);
        let broken: BTreeSet<usize> = syntax
            .iter()
            .map(|error| error.span().map_or(0, |span| span.start))
            .map(|start| lines.line_of(start))
            .collect();
        for error in &syntax {
            let (span, fault) = syntax::explain(text, error);
            findings.error(span, fault.message, fault.help);
        }
        for found in beside.into_found() {
            if !broken.contains(&lines.line_of(found.span.start)) {
                findings.error(found.span, found.message, found.help);
            }
        }
        document
    }

    /// The text is no TOML: what could be read may be incomplete.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// A section that stands once.
    pub(super) fn once(&self, section: &'static Section) -> &Values {
        self.find_once(section)
            .expect("read_root fills in every section that stands once")
    }

    fn find_once(&self, section: &Section) -> Option<&Values> {
        self.once
            .iter()
            .find(|values| values.section.name == section.name)
    }

    /// The sections of that kind with their names, in the order of the file.
    pub(super) fn named(&self, section: &Section) -> impl Iterator<Item = (&At<String>, &Values)> {
        self.named
            .iter()
            .filter(|(kind, _, _)| *kind == section.name)
            .map(|(_, name, values)| (name, values))
    }

    fn read_root(&mut self, root: &DeTable<'_>, findings: &mut Findings) {
        for (name, span, item) in in_order(root) {
            let Some(section) = keys::SECTIONS.iter().find(|s| s.name == name) else {
                findings.error(
                    span,
                    format!("unknown section `{name}`"),
                    remedy_for_section(name),
                );
                continue;
            };
            match (item.get_ref().as_table(), section.shape) {
                (Some(table), Shape::Once) => {
                    let table = Table {
                        section,
                        title: format!("[{name}]"),
                        header: span,
                        table,
                    };
                    self.once.push(read_table(&table, findings));
                }
                (Some(table), Shape::Named | Shape::Inline) => {
                    self.read_named(section, table, findings);
                }
                (None, _) => findings.error(
                    span,
                    format!("`{name}` is a section"),
                    section_heading(section),
                ),
            }
        }
        self.fill_absent(findings);
    }

    fn read_named(
        &mut self,
        section: &'static Section,
        table: &DeTable<'_>,
        findings: &mut Findings,
    ) {
        for (name, span, item) in in_order(table) {
            let DeValue::Table(table) = item.get_ref() else {
                findings.error(
                    span,
                    format!(
                        "`{name}` stands in [{}], which holds names only",
                        section.name
                    ),
                    section_heading(section),
                );
                continue;
            };
            if let Err(fault) = forms::name(name) {
                findings.error(span, fault.message, fault.help);
            }
            let table = Table {
                section,
                title: format!("[{}.{name}]", section.name),
                header: span,
                table,
            };
            let values = read_table(&table, findings);
            let name = At {
                value: name.to_owned(),
                span,
                given: true,
            };
            self.named.push((section.name, name, values));
        }
    }

    /// Sections that the file leaves out hold their defaults.
    fn fill_absent(&mut self, findings: &mut Findings) {
        for section in keys::SECTIONS.iter().filter(|s| s.shape == Shape::Once) {
            if self.find_once(section).is_none() {
                let table = Table {
                    section,
                    title: format!("[{}]", section.name),
                    header: Span::default(),
                    table: &DeTable::new(),
                };
                self.once.push(read_table(&table, findings));
            }
        }
    }
}

fn remedy_for_section(wrong: &str) -> String {
    let names = || keys::SECTIONS.iter().map(|section| section.name);
    if let Some(name) = nearest(wrong, names()) {
        return format!("the nearest section is `{name}`");
    }
    let owner = keys::SECTIONS
        .iter()
        .find(|section| section.keys.iter().any(|key| key.name == wrong));
    match owner {
        Some(section) => format!("`{wrong}` belongs in {}", super::nearest::heading(section)),
        None => format!("the sections are {}", list(names())),
    }
}
