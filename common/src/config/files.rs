//! The files that a configuration names. Facts about them come from the caller; what they mean is
//! decided here.

use std::path::Path;

use super::diagnostic::Findings;
use super::draft::{Draft, ProbeDraft};
use super::key::parse_key_file;
use super::value::At;

/// What is known of a file on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileFact {
    Missing,
    /// It may be there, but it cannot be read; the text says why.
    Unreadable(String),
    /// It is there and can be nothing that we use: a folder, no text, too long; the text says what.
    Unusable(String),
    Present {
        /// Permission bits (inode(7)).
        mode: u32,
        text: String,
    },
}

/// How facts about a file are asked for.
pub type FileFacts<'a> = &'a dyn Fn(&Path) -> FileFact;

/// Others may do anything with it, or the group may write it. The group may read: the processes can
/// share one.
const TOO_OPEN: u32 = 0o027;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    PairKey,
    PrivateKey,
    Certificates,
}

impl Holds {
    const fn words(self) -> &'static str {
        match self {
            Self::PairKey => "a key, as `fmc-lb keygen` makes it",
            Self::PrivateKey => "a private key as PEM",
            Self::Certificates => "certificates as PEM",
        }
    }
}

/// How bad it is that a file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfMissing {
    /// The file is checked for the node that this machine is.
    Error,
    /// It is checked elsewhere.
    Warn,
}

/// Checks every file that the draft names.
pub(super) fn check(
    draft: &Draft,
    facts: FileFacts<'_>,
    if_missing: IfMissing,
    findings: &mut Findings,
) {
    let probes = draft
        .backends
        .iter()
        .filter_map(|backend| backend.probe.as_ref()?.as_ref());
    let mut named: Vec<(&At<std::path::PathBuf>, Holds)> = Vec::new();
    named.extend(draft.pair.key_file.iter().map(|at| (at, Holds::PairKey)));
    for ProbeDraft {
        ca_file,
        cert_file,
        key_file,
        ..
    } in probes
    {
        named.extend(ca_file.iter().map(|at| (at, Holds::Certificates)));
        named.extend(cert_file.iter().map(|at| (at, Holds::Certificates)));
        named.extend(key_file.iter().map(|at| (at, Holds::PrivateKey)));
    }
    for (at, holds) in named {
        let name = at.value.display();
        match facts(&at.value) {
            FileFact::Missing => absent(
                at,
                if_missing,
                findings,
                Absent {
                    message: format!("`{name}` is not there"),
                    help: remedy_if_missing(holds),
                },
            ),
            FileFact::Unreadable(why) => absent(
                at,
                if_missing,
                findings,
                Absent {
                    message: format!("`{name}` cannot be read: {why}"),
                    help: "run this as root, or name a file that can be read",
                },
            ),
            FileFact::Unusable(why) => findings.error(
                at.span,
                format!("`{name}` cannot be used: {why}"),
                format!("name a file that holds {}", holds.words()),
            ),
            FileFact::Present { mode, text } => present(at, holds, (mode, &text), findings),
        }
    }
}

struct Absent {
    message: String,
    help: &'static str,
}

fn absent(
    at: &At<std::path::PathBuf>,
    if_missing: IfMissing,
    findings: &mut Findings,
    absent: Absent,
) {
    match if_missing {
        IfMissing::Error => findings.error(at.span, absent.message, absent.help),
        IfMissing::Warn => findings.warn(
            at.span,
            format!("{} on this machine", absent.message),
            absent.help,
        ),
    }
}

const fn remedy_if_missing(holds: Holds) -> &'static str {
    match holds {
        Holds::PairKey => "make it once with `fmc-lb keygen` and copy it to both nodes",
        Holds::PrivateKey | Holds::Certificates => {
            "copy it to both nodes; it must be there when the node starts"
        }
    }
}

fn present(
    at: &At<std::path::PathBuf>,
    holds: Holds,
    (mode, text): (u32, &str),
    findings: &mut Findings,
) {
    let name = at.value.display();
    let secret = matches!(holds, Holds::PairKey | Holds::PrivateKey);
    if secret && mode & TOO_OPEN != 0 {
        findings.error(
            at.span,
            format!(
                "`{name}` holds a secret and is open to other users (mode {:03o})",
                mode & 0o777
            ),
            format!("chmod 600 {name}"),
        );
    }
    match holds {
        Holds::PairKey => {
            if let Err(error) = parse_key_file(text) {
                findings.error(
                    at.span,
                    format!("`{name}` is no key file: {error}"),
                    "its lines are `ID HEX`, as `fmc-lb keygen` prints them",
                );
            }
        }
        Holds::PrivateKey if !text.contains("PRIVATE KEY-----") => findings.error(
            at.span,
            format!("`{name}` holds no private key"),
            "write the key as PEM, -----BEGIN … PRIVATE KEY-----",
        ),
        Holds::Certificates if !text.contains("-----BEGIN CERTIFICATE-----") => findings.error(
            at.span,
            format!("`{name}` holds no certificate"),
            "write it as PEM, -----BEGIN CERTIFICATE-----",
        ),
        Holds::PrivateKey | Holds::Certificates => {}
    }
}
