//! The way from the text of a file to a [`Config`].

use super::build::build;
use super::diagnostic::{Findings, Report};
use super::document::Document;
use super::draft::Draft;
use super::files::{self, FileFacts, IfMissing};
use super::identity::{self, Candidate, Machine, NodeError};
use super::{Capacity, Config, NodeIndex, Runs, rules};

/// For whom a file is checked.
#[derive(Clone, Copy)]
pub struct Viewpoint<'a> {
    pub who: Who<'a>,
    /// Facts about the files that the configuration names; `None` = they are not looked at.
    pub files: Option<FileFacts<'a>>,
    /// The machine; what it cannot do is a warning. `None` = it is not looked at.
    pub capacity: Option<Capacity>,
}

/// Who checks.
#[derive(Debug, Clone, Copy)]
pub enum Who<'a> {
    /// Nobody in particular: a file that is not on this machine is a warning.
    Anybody,
    /// This machine as a node of the pair, found by `wanted` or by itself: a file that is not here
    /// is an error.
    Node {
        wanted: Option<&'a str>,
        machine: &'a Machine,
    },
}

/// A valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    pub config: Config,
    /// Which node this machine is, if it was asked for.
    pub node: Option<NodeIndex>,
    pub warnings: Report,
}

impl Config {
    /// Reads and checks the text of a file.
    ///
    /// # Errors
    /// Everything that makes it unusable, in the order of the file.
    pub fn parse(file_name: &str, text: &str, whose: Viewpoint<'_>) -> Result<Parsed, Report> {
        let mut findings = Findings::default();
        let document = Document::read(text, &mut findings);
        if document.is_broken() {
            // Names that lead nowhere may be in what could not be read.
            return Err(report(file_name, text, findings));
        }
        let draft = Draft::of(&document, &mut findings);
        rules::check(&draft, &mut findings);
        if let Some(facts) = whose.files {
            let if_missing = match whose.who {
                Who::Anybody => IfMissing::Warn,
                Who::Node { .. } => IfMissing::Error,
            };
            files::check(&draft, facts, if_missing, &mut findings);
        }
        if let Some(capacity) = &whose.capacity {
            rules::capacity::warn(&draft, capacity, &mut findings);
        }
        let node = match whose.who {
            Who::Anybody => None,
            Who::Node { wanted, machine } => who_is(&draft, (wanted, machine), &mut findings),
        };
        if findings.has_errors() {
            return Err(report(file_name, text, findings));
        }
        let config = build(&draft).expect("every hole in a draft was reported as an error");
        rules::watched(&config, &mut findings);
        if findings.has_errors() {
            return Err(report(file_name, text, findings));
        }
        let (_, warnings) = findings.into_parts();
        Ok(Parsed {
            config,
            node,
            warnings: Report::new(file_name, text, warnings),
        })
    }

    /// The configuration of a text that another process of this node has found valid: files are not
    /// looked at.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn from_running(text: &str) -> Result<Self, Report> {
        let whose = Viewpoint {
            who: Who::Anybody,
            files: None,
            capacity: None,
        };
        Self::parse("configuration", text, whose).map(|parsed| parsed.config)
    }
}

/// Which node of the draft this machine is; `None` = it was reported why that is not known.
fn who_is(
    draft: &Draft,
    (wanted, machine): (Option<&str>, &Machine),
    findings: &mut Findings,
) -> Option<NodeIndex> {
    // That there is none is an error of its own.
    let first = draft.nodes.first()?;
    let candidates: Vec<Candidate<'_>> = draft
        .nodes
        .iter()
        .map(|node| Candidate {
            name: &node.name.value,
            address: node.address.as_ref().map(|address| address.value),
            runs: node.runs.as_ref().map_or(Runs::FmcLb, |runs| runs.value),
        })
        .collect();
    let error = match identity::find(&candidates, wanted, machine) {
        Ok(node) => return Some(node),
        Err(error) => error,
    };
    let may_follow = matches!(error, NodeError::NotFound { .. })
        && candidates.iter().any(|node| node.address.is_none());
    if !may_follow {
        findings.error(
            first.name.span,
            error,
            "the nodes are the sections [nodes.NAME]",
        );
    }
    None
}

/// The errors alone: what a warning says may follow from them.
fn report(file_name: &str, text: &str, findings: Findings) -> Report {
    let (errors, _) = findings.into_parts();
    Report::new(file_name, text, errors)
}
