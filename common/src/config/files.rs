//! The files that a configuration names. Facts about them come from the caller; what they mean is
//! decided here.

use std::path::{Path, PathBuf};

use super::diagnostic::{Findings, Severity, Span};
use super::draft::{CertificateDraft, Draft, ListenerTlsDraft};
use super::key::parse_key_file;
use super::value::At;
use super::watched::judge_list;

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

/// How facts about files are asked for.
#[derive(Clone, Copy)]
pub struct FileFacts<'a> {
    /// What is known of a file.
    pub look: &'a dyn Fn(&Path) -> FileFact,
    /// What whoever will use the files of a probe's TLS, or of a backend's, says against them.
    pub try_client: &'a dyn Fn(&ClientFiles) -> Vec<Objection>,
    /// What whoever will use a listener's files says against them.
    pub try_listener: &'a dyn Fn(&ListenerFiles) -> Vec<Objection>,
    /// Why the proxy could not append to a file, if that is known.
    pub try_log: &'a dyn Fn(&Path) -> Option<Objection>,
    /// Why a program could not be run, if that is known.
    pub try_program: &'a dyn Fn(&Path) -> Option<Objection>,
}

/// Path and content of a file.
pub type Content = (PathBuf, String);

/// Path and content of each file of TLS that we begin, of those that are here.
#[derive(Clone, Default)]
pub struct ClientFiles {
    pub ca_file: Option<Content>,
    pub cert_file: Option<Content>,
    pub key_file: Option<Content>,
}

/// The files of a listener's TLS, of those that are here.
#[derive(Clone, Default)]
pub struct ListenerFiles {
    pub certificates: Vec<CertificateContents>,
    pub client_ca_file: Option<Content>,
    pub client_crl_file: Option<Content>,
}

/// Path and content of a certificate and of its key, which may be in the same file.
#[derive(Clone, Default)]
pub struct CertificateContents {
    pub cert_file: Option<Content>,
    pub key_file: Option<Content>,
}

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    pub severity: Severity,
    pub path: PathBuf,
    pub why: String,
    pub remedy: String,
}

/// Others may do anything with it, or the group may write it. The group may read: the processes can
/// share one.
const TOO_OPEN: u32 = 0o027;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    PairKey,
    PrivateKey,
    Certificates,
    Revocations,
    /// Whether it names all the clients of a listener.
    Networks {
        needed: bool,
    },
    /// Both in one file.
    CertificateAndKey,
}

impl Holds {
    const fn words(self) -> &'static str {
        match self {
            Self::PairKey => "a key, as `fmc-lb keygen` makes it",
            Self::PrivateKey => "a private key as PEM",
            Self::Certificates => "certificates as PEM",
            Self::Revocations => "lists of revoked certificates as PEM",
            Self::Networks { .. } => "one network or address to a line",
            Self::CertificateAndKey => "a certificate and its private key as PEM",
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
    let mut look = |at: &Option<At<PathBuf>>, holds| {
        let at = at.as_ref()?;
        let text = contents(at, holds, ((facts.look)(&at.value), if_missing), findings)?;
        Some((at.value.clone(), text))
    };
    look(&draft.pair.key_file, Holds::PairKey);
    let probes = draft
        .backends
        .iter()
        .filter_map(|backend| backend.probe.as_ref()?.as_ref());
    let probes = probes.map(|probe| {
        let named = [&probe.ca_file, &probe.cert_file, &probe.key_file];
        (named, probe.span)
    });
    let begun = draft
        .backends
        .iter()
        .filter_map(|backend| backend.tls.as_ref()?.as_ref());
    let begun = begun.map(|tls| ([&tls.ca_file, &tls.cert_file, &tls.key_file], tls.span));
    let mut looked = Vec::new();
    for (named, span) in probes.chain(begun) {
        let [ca_file, cert_file, key_file] = named;
        let files = ClientFiles {
            ca_file: look(ca_file, Holds::Certificates),
            cert_file: look(cert_file, Holds::Certificates),
            key_file: look(key_file, Holds::PrivateKey),
        };
        looked.push((named, span, files));
    }
    for listener in &draft.listeners {
        let needed = listener.allow.is_none();
        let files = &listener.files;
        look(&files.allow, Holds::Networks { needed });
        for file in [&files.deny, &files.drop, &files.exempt] {
            look(file, Holds::Networks { needed: false });
        }
    }
    let listeners = draft.listeners.iter();
    let ended = listeners.filter_map(|listener| listener.tls.as_ref()?.as_ref());
    let ended: Vec<_> = ended
        .map(|tls| (tls, listener_files(tls, &mut look)))
        .collect();
    for (named, span, files) in looked {
        let named: Vec<_> = named.into_iter().flatten().collect();
        for objection in (facts.try_client)(&files) {
            object((&named, span), &objection, findings);
        }
    }
    for (tls, files) in ended {
        let named: Vec<_> = certificates(tls)
            .flat_map(|one| std::iter::once(&one.cert_file).chain(&one.key_file))
            .chain(&tls.client_ca_file)
            .chain(&tls.client_crl_file)
            .collect();
        for objection in (facts.try_listener)(&files) {
            object((&named, tls.span), &objection, findings);
        }
    }
    for file in draft
        .listeners
        .iter()
        .filter_map(|listener| listener.session_log_file.as_ref())
    {
        if let Some(objection) = (facts.try_log)(&file.value) {
            unusable((file, "written"), &objection, if_missing, findings);
        }
    }
    let probes = draft.backends.iter();
    let probes = probes.filter_map(|backend| backend.probe.as_ref()?.as_ref());
    let trackers = draft.trackers.iter();
    let trackers = trackers.filter_map(|tracker| tracker.program.as_ref());
    let programs = probes.filter_map(|probe| probe.program.as_ref());
    for program in programs.chain(trackers) {
        if let Some(objection) = (facts.try_program)(&program.value) {
            unusable((program, "run"), &objection, if_missing, findings);
        }
    }
}

/// A node that cannot log its sessions serves them all the same, and so it does with servers that
/// cannot be probed.
fn unusable(
    (file, done): (&At<PathBuf>, &str),
    objection: &Objection,
    if_missing: IfMissing,
    findings: &mut Findings,
) {
    let here = match if_missing {
        IfMissing::Error => "",
        IfMissing::Warn => " on this machine",
    };
    let (name, why) = (file.value.display(), &objection.why);
    findings.warn(
        file.span,
        format!("`{name}` cannot be {done}{here}: {why}"),
        &objection.remedy,
    );
}

fn certificates(tls: &ListenerTlsDraft) -> impl Iterator<Item = &CertificateDraft> {
    let list = tls.certificates.iter().flat_map(|list| &list.value);
    list.map(|certificate| &certificate.value)
}

fn listener_files(
    tls: &ListenerTlsDraft,
    look: &mut impl FnMut(&Option<At<PathBuf>>, Holds) -> Option<Content>,
) -> ListenerFiles {
    let client_ca_file = look(&tls.client_ca_file, Holds::Certificates);
    let client_crl_file = look(&tls.client_crl_file, Holds::Revocations);
    let mut pair = |certificate: &CertificateDraft| {
        let cert_file = Some(certificate.cert_file.clone());
        match &certificate.key_file {
            Some(_) => CertificateContents {
                cert_file: look(&cert_file, Holds::Certificates),
                key_file: look(&certificate.key_file, Holds::PrivateKey),
            },
            None => {
                let both = look(&cert_file, Holds::CertificateAndKey);
                CertificateContents {
                    cert_file: both.clone(),
                    key_file: both,
                }
            }
        }
    };
    ListenerFiles {
        certificates: certificates(tls).map(&mut pair).collect(),
        client_ca_file,
        client_crl_file,
    }
}

/// At the key that names the file, or at the section.
fn object(
    (named, section): (&[&At<PathBuf>], Span),
    objection: &Objection,
    findings: &mut Findings,
) {
    let at = named.iter().find(|at| at.value == objection.path);
    let span = at.map_or(section, |at| at.span);
    match objection.severity {
        Severity::Error => findings.error(
            span,
            format!("this file cannot be used: {}", objection.why),
            &objection.remedy,
        ),
        Severity::Warning => findings.warn(
            span,
            format!("this file is doubtful: {}", objection.why),
            &objection.remedy,
        ),
    }
}

/// The content of a file that looks like what it should hold; what is wrong is reported.
fn contents(
    at: &At<PathBuf>,
    holds: Holds,
    (fact, if_missing): (FileFact, IfMissing),
    findings: &mut Findings,
) -> Option<String> {
    let name = at.value.display();
    match fact {
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
        FileFact::Present { mode, text } => {
            return present(at, holds, (mode, &text), findings).then_some(text);
        }
    }
    None
}

struct Absent {
    message: String,
    help: &'static str,
}

fn absent(at: &At<PathBuf>, if_missing: IfMissing, findings: &mut Findings, absent: Absent) {
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
        Holds::PrivateKey
        | Holds::Certificates
        | Holds::Revocations
        | Holds::CertificateAndKey
        | Holds::Networks { .. } => "copy it to both nodes; it must be there when the node starts",
    }
}

/// Whether the content is what it should be, as far as that can be seen without using it.
fn present(
    at: &At<PathBuf>,
    holds: Holds,
    (mode, text): (u32, &str),
    findings: &mut Findings,
) -> bool {
    let name = at.value.display();
    let secret = match holds {
        Holds::PairKey | Holds::PrivateKey => true,
        Holds::CertificateAndKey => has_key(text),
        Holds::Certificates | Holds::Revocations | Holds::Networks { .. } => false,
    };
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
    let (message, help) = match holds {
        Holds::PairKey => match parse_key_file(text) {
            Ok(_) => return true,
            Err(error) => (
                format!("`{name}` is no key file: {error}"),
                "its lines are `ID HEX`, as `fmc-lb keygen` prints them",
            ),
        },
        Holds::PrivateKey if !has_key(text) => (
            format!("`{name}` holds no private key"),
            "write the key as PEM, -----BEGIN … PRIVATE KEY-----",
        ),
        Holds::CertificateAndKey if !has_key(text) => (
            format!("`{name}` holds no private key, and there is no `key_file`"),
            "name the file of the key: { cert_file = …, key_file = … }",
        ),
        Holds::Certificates | Holds::CertificateAndKey
            if !text.contains("-----BEGIN CERTIFICATE-----") =>
        {
            (
                format!("`{name}` holds no certificate"),
                "write it as PEM, -----BEGIN CERTIFICATE-----",
            )
        }
        Holds::Revocations if !text.contains("-----BEGIN X509 CRL-----") => (
            format!("`{name}` holds no list of revoked certificates"),
            "write it as PEM, -----BEGIN X509 CRL-----",
        ),
        Holds::Networks { needed } => match judge_list(text, needed) {
            Ok(()) => return true,
            Err(why) => (
                format!("`{name}` is no list that can be used: {why}"),
                "write one network or address to a line, \"10.8.0.0/24\"; `#` begins a comment",
            ),
        },
        Holds::PrivateKey | Holds::Certificates | Holds::Revocations | Holds::CertificateAndKey => {
            return true;
        }
    };
    findings.error(at.span, message, help);
    false
}

fn has_key(text: &str) -> bool {
    text.contains("PRIVATE KEY-----")
}
