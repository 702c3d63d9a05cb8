//! Whatever stands in a file: no panic, and either a configuration that survives being shown or an
//! explanation.

use common::config::{Capacity, Config, FileFact, FileFacts, Machine, Severity, Viewpoint, Who};
use proptest::prelude::*;
use proptest::sample::select;

const SHIPPED: &str = include_str!("../../configs/flatcarmicrocloud.toml");
const FULL: &str = include_str!("../../tests/config/full.toml");

/// Pieces that are likely to mean something somewhere.
const PIECES: &[&str] = &[
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "\n",
    "#",
    "\\u0000",
    "é",
    "\u{0}",
    "\u{feff}",
    "\r",
    "0",
    "-1",
    "254",
    "255",
    "256",
    "65536",
    "18446744073709551616",
    "1e400",
    "nan",
    "0x7f",
    "1979-05-27",
    "true",
    "false",
    "\"off\"",
    "\"0s\"",
    "\"10ms\"",
    "\"99h\"",
    "\"18446744073709551615h\"",
    "\"\"",
    "\"192.168.0.10/24\"",
    "\"192.168.0.11/32\"",
    "\"0.0.0.0/0\"",
    "\"::1/128\"",
    "\"[::]:80\"",
    "\"0.0.0.0:6443\"",
    "\"vips.api:6443\"",
    "\"vips.:1\"",
    "\"vips.web\"",
    "\"node:9600\"",
    "\"node:\"",
    "\"/etc/fmc-lb/pair.key\"",
    "[nodes.lb3]\n",
    "[vips.api.priority]\n",
    "[pair]\n",
    "[nodes]\n",
    "lb1 = 255\n",
    "priority = { lb1 = 1, lb2 = 255 }\n",
    "servers = []\n",
    "probe = {}\n",
    "keepalive = {}\n",
    "probe = { kind = \"kube-apiserver\" }\n",
    "mode = \"nat\"\n",
    "together = true\n",
    "[trackers.x]\n",
    "kind = \"gateway\"\n",
    "kind = \"script\"\n",
    "weight = -20\n",
    "vips = [\"api\"]\n",
    "allow_fast = true\n",
    "advert_interval = \"10ms\"\n",
    "runs = \"keepalived\"\n",
    "vrid = 51\n",
    "threads = 64\n",
];

#[derive(Debug, Clone)]
enum Mutation {
    Cut {
        at: usize,
        length: usize,
    },
    Insert {
        at: usize,
        piece: String,
    },
    /// Replaces the value of a line.
    Value {
        line: usize,
        piece: String,
    },
    Repeat {
        line: usize,
        to: usize,
    },
    Remove {
        line: usize,
    },
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(PIECES).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "\\PC{0,12}",
    ]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = || any::<prop::sample::Index>().prop_map(|index| index.index(10_000));
    prop_oneof![
        1 => (index(), 1..40_usize).prop_map(|(at, length)| Mutation::Cut { at, length }),
        2 => (index(), piece()).prop_map(|(at, piece)| Mutation::Insert { at, piece }),
        4 => (index(), piece()).prop_map(|(line, piece)| Mutation::Value { line, piece }),
        1 => (index(), index()).prop_map(|(line, to)| Mutation::Repeat { line, to }),
        2 => index().prop_map(|line| Mutation::Remove { line }),
    ]
}

fn mutate(text: &str, mutation: &Mutation) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let wrap = |index: usize, length: usize| index % length.max(1);
    let count = lines.len();
    match mutation {
        Mutation::Cut { at, length } => {
            let at = wrap(*at, chars.len());
            let end = (at + length).min(chars.len());
            chars.drain(at..end);
            return chars.into_iter().collect();
        }
        Mutation::Insert { at, piece } => {
            let at = wrap(*at, chars.len());
            chars.splice(at..at, piece.chars());
            return chars.into_iter().collect();
        }
        Mutation::Value { line, piece } => {
            let line = &mut lines[wrap(*line, count)];
            if let Some((key, _)) = line.split_once('=') {
                *line = format!("{key}= {piece}");
            }
        }
        Mutation::Repeat { line, to } => {
            let copy = lines[wrap(*line, count)].clone();
            lines.insert(wrap(*to, count), copy);
        }
        Mutation::Remove { line } => {
            lines.remove(wrap(*line, count));
        }
    }
    lines.join("\n")
}

/// What holds for every text.
fn check(text: &str, as_node: bool) -> Result<bool, TestCaseError> {
    let machine = Machine {
        host_name: "lb1".to_owned(),
        addresses: Vec::new(),
    };
    let who = if as_node {
        Who::Node {
            wanted: None,
            machine: &machine,
        }
    } else {
        Who::Anybody
    };
    let facts = FileFacts {
        look: &|_| FileFact::Missing,
        try_client: &|_| Vec::new(),
        try_listener: &|_| Vec::new(),
        try_log: &|_| None,
        try_program: &|_| None,
    };
    let whose = Viewpoint {
        who,
        files: Some(facts),
        capacity: Some(Capacity {
            cores: 2,
            descriptors: 4_096,
            backlog: 128,
        }),
    };
    match Config::parse("x.toml", text, whose) {
        Ok(parsed) => {
            let shown = parsed.config.to_toml();
            let again = Config::from_running(&shown);
            prop_assert_eq!(again.as_ref(), Ok(&parsed.config), "{}", shown);
            prop_assert_eq!(
                parsed.warnings.is_empty(),
                parsed.warnings.to_string().is_empty()
            );
            Ok(true)
        }
        Err(report) => {
            prop_assert!(!report.is_empty());
            prop_assert!(
                report
                    .diagnostics()
                    .iter()
                    .all(|d| d.severity == Severity::Error)
            );
            let remedies = report.to_string().matches("= help: ").count();
            prop_assert!(remedies >= report.diagnostics().len());
            Ok(false)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn a_changed_file_is_read_or_explained(
        full in any::<bool>(),
        as_node in any::<bool>(),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let start = if full { FULL } else { SHIPPED };
        let text = mutations.iter().fold(start.to_owned(), |text, m| mutate(&text, m));
        check(&text, as_node)?;
    }

    #[test]
    fn a_row_of_pieces_is_read_or_explained(pieces in prop::collection::vec(piece(), 0..60)) {
        check(&pieces.concat(), false)?;
    }

    #[test]
    fn any_text_is_read_or_explained(text in any::<String>()) {
        check(&text, true)?;
    }
}

/// The mutations must not only make rubbish: a good part of those on a single line stays valid.
#[test]
fn some_changed_files_stay_valid() {
    let lines = FULL.split('\n').count();
    let valid = (0..lines)
        .map(|line| mutate(FULL, &Mutation::Remove { line }))
        .filter(|text| check(text, false).expect("every text is read or explained"))
        .count();
    assert!(valid > lines / 3, "{valid} of {lines}");
}
