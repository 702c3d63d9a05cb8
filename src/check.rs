//! `fmc-lb check`, and the one way by which a configuration file is read. What is judged is pure
//! (`common::config`); here are the files, the terminal and the clock.
#![expect(
    clippy::disallowed_methods,
    reason = "certificates are valid at a time"
)]

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use common::config::{
    ClientFiles, Config, FileFact, FileFacts, ListenerFiles, Machine, NodeIndex, Objection, Paint,
    Report, Severity, Viewpoint, Who,
};
use thiserror::Error;

use crate::{bpf, output, program, rights, session_log};

/// Longest configuration file.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 20;
/// Longest file that one may name: a list of networks may be long.
pub(crate) const MAX_NAMED_BYTES: u64 = common::net_list::MAX_LIST_BYTES;

/// A configuration file that was read and found valid.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The text of the file, for the processes that parse it again.
    pub(crate) text: String,
    pub(crate) config: Config,
    pub(crate) warnings: Report,
}

/// What a file is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To say all that is wrong with it.
    Check,
    /// To start with it: what is wrong now and may be right by itself keeps no node from its start.
    Start,
}

/// Why a configuration file cannot be used.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    #[error("cannot read {path}: {reason}")]
    Unreadable { path: String, reason: String },
    /// Displayed as the rendered report, which ends with a line of its own.
    #[error("{0}")]
    Invalid(Box<Report>),
}

impl LoadError {
    /// What to print: a rendered report, coloured on a terminal, or one line.
    pub(crate) fn render(&self) -> String {
        match self {
            Self::Unreadable { .. } => format!("fmc-lb: {self}\n"),
            Self::Invalid(report) => report.render(paint()),
        }
    }
}

/// Reads a file for nobody in particular: files that it names and that are not here are warnings.
///
/// # Errors
/// The file cannot be read, or is not valid.
pub(crate) fn load(path: &Path) -> Result<Loaded, LoadError> {
    let (loaded, _) = load_as(path, Who::Anybody, Purpose::Check)?;
    Ok(loaded)
}

/// Reads a file for this machine as the node `wanted`, or as the node that it finds itself to be.
/// The files that it names must be here.
///
/// # Errors
/// The file cannot be read, is not valid, or this machine is none of its nodes.
pub(crate) fn load_for_node(
    path: &Path,
    wanted: Option<&str>,
    purpose: Purpose,
) -> Result<(Loaded, NodeIndex), LoadError> {
    let machine = this_machine();
    let who = Who::Node {
        wanted,
        machine: &machine,
    };
    let (loaded, node) = load_as(path, who, purpose)?;
    Ok((
        loaded,
        node.expect("a file that is valid for a node says which"),
    ))
}

fn load_as(
    path: &Path,
    who: Who<'_>,
    purpose: Purpose,
) -> Result<(Loaded, Option<NodeIndex>), LoadError> {
    let (_, text) = read_text(path, MAX_FILE_BYTES).map_err(|error| LoadError::Unreadable {
        path: path.display().to_string(),
        reason: error.to_string(),
    })?;
    let whose = Viewpoint {
        who,
        files: Some(FileFacts {
            look: &facts_of,
            try_client: &try_client,
            try_listener: &|files| try_listener(files, purpose),
            try_log: &session_log::objection,
            try_program: &program::objection,
        }),
        capacity: Some(rights::capacity()),
    };
    let parsed = Config::parse(&path.display().to_string(), &text, whose)
        .map_err(|report| LoadError::Invalid(Box::new(report)))?;
    let loaded = Loaded {
        text,
        config: parsed.config,
        warnings: parsed.warnings,
    };
    Ok((loaded, parsed.node))
}

/// A certificate that the proxy could not use would end it at each start, on both nodes at once.
fn try_client(files: &ClientFiles) -> Vec<Objection> {
    let errors = lb_proxy::check_files(files).into_iter();
    errors
        .filter_map(|error| objection(error, Severity::Error))
        .collect()
}

/// The same of a listener's certificate. One that has expired keeps no node from its start, where it
/// would take everything else with it.
fn try_listener(files: &ListenerFiles, purpose: Purpose) -> Vec<Objection> {
    let errors = lb_proxy::check_listener_files(files, unix_time()).into_iter();
    let severity = |error: &lb_proxy::TlsError| match purpose {
        Purpose::Start if error.is_of_time() => Severity::Warning,
        Purpose::Start | Purpose::Check => Severity::Error,
    };
    errors
        .filter_map(|error| {
            let severity = severity(&error);
            objection(error, severity)
        })
        .collect()
}

fn objection(error: lb_proxy::TlsError, severity: Severity) -> Option<Objection> {
    Some(Objection {
        severity,
        path: error.path()?.to_owned(),
        remedy: error.remedy().to_owned(),
        why: format!("{:#}", anyhow::Error::from(error)),
    })
}

/// Seconds since 1970.
pub(crate) fn unix_time() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// What this machine is called, and the addresses of its interfaces.
pub(crate) fn this_machine() -> Machine {
    let host_name = nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let addresses = nix::ifaddrs::getifaddrs().map_or_else(
        |_| Vec::new(),
        |interfaces| {
            interfaces
                .filter_map(|interface| interface.address)
                .filter_map(|address| {
                    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
                    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
                })
                .collect()
        },
    );
    Machine {
        host_name,
        addresses,
    }
}

/// What is known of a file that the configuration names.
fn facts_of(path: &Path) -> FileFact {
    match read_text(path, MAX_NAMED_BYTES) {
        Ok((metadata, text)) => FileFact::Present {
            mode: metadata.mode() & 0o7777,
            text,
        },
        Err(ReadError::System(error)) if error.kind() == ErrorKind::NotFound => FileFact::Missing,
        Err(ReadError::System(error)) => FileFact::Unreadable(error.to_string()),
        Err(error @ (ReadError::NoFile(_) | ReadError::TooLong(_) | ReadError::NoText { .. })) => {
            FileFact::Unusable(error.to_string())
        }
    }
}

/// Why a file was not read; the path is named by who asks.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    System(#[from] io::Error),
    #[error("it is {0}")]
    NoFile(&'static str),
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    #[error("it is not UTF-8 in line {line}")]
    NoText { line: usize },
}

/// Reads a regular file of at most `most` bytes; a pipe or a device could hold us for ever.
///
/// # Errors
/// It cannot be read, or is no such text.
pub(crate) fn read_text(path: &Path, most: u64) -> Result<(Metadata, String), ReadError> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(ReadError::NoFile("a folder"));
    }
    if !metadata.is_file() {
        return Err(ReadError::NoFile("not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(ReadError::TooLong(most));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        ReadError::NoText { line }
    })?;
    Ok((metadata, text))
}

fn paint() -> Paint {
    if io::stderr().is_terminal() {
        Paint::Terminal
    } else {
        Paint::Plain
    }
}

/// Checks a file; exit code 0 = good, 1 = warnings with `--strict`, 2 = invalid.
pub(crate) fn run(args: &crate::cli::Check) -> anyhow::Result<ExitCode> {
    let loaded = match &args.node {
        Some(node) => load_for_node(&args.file, Some(node), Purpose::Check)
            .map(|(loaded, node)| (loaded, Some(node))),
        None => load(&args.file).map(|loaded| (loaded, None)),
    };
    let (loaded, node) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            output::complain(&error.render());
            return Ok(ExitCode::from(2));
        }
    };
    output::complain(&loaded.warnings.render(paint()));
    // The file is the same on both nodes, this machine is one of them.
    let lacking = node.map(|node| bpf::warning(&loaded.config, node));
    let lacking = lacking.unwrap_or_default();
    if !lacking.is_empty() && !loaded.warnings.is_empty() {
        output::complain("\n");
    }
    output::complain(&lacking);
    if args.show {
        output::print(&loaded.config.to_toml())?;
    } else {
        let (file, summary) = (args.file.display(), summary(&loaded.config));
        output::print(&format!("{file}: valid: {summary}\n"))?;
    }
    let failed = args.strict && !(loaded.warnings.is_empty() && lacking.is_empty());
    Ok(ExitCode::from(u8::from(failed)))
}

/// `2 nodes, 2 VIPs, 3 listeners, 3 backends, 9 servers`
fn summary(config: &Config) -> String {
    let count = |number: usize, one: &str| {
        let plural = if number == 1 { "" } else { "s" };
        format!("{number} {one}{plural}")
    };
    let names = config.names().count();
    let by_name =
        (names > 0).then(|| count(names, "name") + " of servers, which are not looked up here");
    [
        count(config.nodes.len(), "node"),
        count(config.vips.len(), "VIP"),
        count(config.listeners.len(), "listener"),
        count(config.backends.len(), "backend"),
        count(config.server_count(), "server"),
    ]
    .into_iter()
    .chain(by_name)
    .collect::<Vec<_>>()
    .join(", ")
}
