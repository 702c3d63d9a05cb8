//! `fmc-lb doctor`: looks at this machine with the eyes of somebody who has been called, and says what is wrong, what may
//! be, and what to do. It changes nothing, and runs beside a running node or without one.
//!
//! [`examine`] collects facts, [`judge`] and [`firewall`] judge them, [`traffic`] says what has to pass (pure).

mod examine;
mod firewall;
mod judge;
mod pools;
mod traffic;

use std::process::ExitCode;

use crate::check::{self, Purpose};
use crate::output;

/// How a finding is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    /// Could not be looked at.
    Unknown,
    /// Works, and may not always.
    Warning,
    /// Does not work.
    Bad,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    pub(crate) what: String,
    /// What to do about it; empty if it is good.
    pub(crate) remedy: String,
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Good,
            what: what.into(),
            remedy: String::new(),
        }
    }

    fn new(verdict: Verdict, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    fn render(&self) -> String {
        let line = format!("{:<8} {}\n", self.verdict.word(), self.what);
        if self.remedy.is_empty() {
            return line;
        }
        format!("{line}{:<8} -> {}\n", "", self.remedy)
    }
}

/// Exit code 0 if nothing is bad, 1 if something is, 2 if the file cannot be used.
pub(crate) fn run(args: &crate::cli::Doctor) -> anyhow::Result<ExitCode> {
    let wanted = args.node.as_deref();
    let (loaded, node) = match check::load_for_node(&args.config, wanted, Purpose::Check) {
        Ok(loaded) => loaded,
        Err(error) => {
            output::complain(&error.render());
            return Ok(ExitCode::from(2));
        }
    };
    let facts = examine::facts(&loaded.config, node, &args.runtime.runtime_dir);
    let mut findings = vec![match loaded.warnings.is_empty() {
        true => Finding::good("the configuration is valid for this machine"),
        false => Finding::new(
            Verdict::Warning,
            "the configuration is valid, with warnings",
            format!("fmc-lb check {}", args.config.display()),
        ),
    }];
    findings.extend(judge::findings(&loaded.config, node, &facts));
    let text: String = findings.iter().map(Finding::render).collect();
    output::print(&text)?;
    let bad = findings.iter().any(|one| one.verdict == Verdict::Bad);
    Ok(ExitCode::from(u8::from(bad)))
}
