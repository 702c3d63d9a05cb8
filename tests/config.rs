//! The configuration file: what is wrong is explained, what is right survives being shown, nothing
//! panics.
//!
//! `tests/config/NN-name.toml` are bad files and `tests/config/wNN-name.toml` files that deserve a
//! warning, each with the text that the user sees beside it. After a change on purpose
//! `FMC_LB_BLESS=1` writes those texts anew.

#[path = "config/schema_check.rs"]
mod schema_check;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use common::config::{
    Capacity, Config, FileFact, FileFacts, Objection, Severity, Viewpoint, Who, keys, schema,
};

const SHIPPED: [&str; 3] = [
    "configs/flatcarmicrocloud.toml",
    "configs/one-node.toml",
    "configs/two-nodes.toml",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("the repository holds the file")
}

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n";
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----\n";

/// Files that the golden configurations name.
fn facts(path: &Path) -> FileFact {
    let key = format!("1 {}\n", "5a".repeat(32));
    let (mode, text) = match path.to_str() {
        Some("/keys/good.key") => (0o600, key),
        Some("/keys/open.key") => (0o644, key),
        Some("/keys/malformed.key") => (0o640, format!("# made by hand\n{key}2 5a5a\n")),
        Some("/keys/good.pem") => (0o644, CERTIFICATE.to_owned()),
        Some("/keys/both.pem") => (0o600, format!("{CERTIFICATE}{PRIVATE_KEY}")),
        Some("/keys/open.pem") => (0o644, format!("{CERTIFICATE}{PRIVATE_KEY}")),
        Some("/lists/good.txt" | "/lists/more.txt") => {
            (0o644, "10.8.0.0/24\n192.0.2.7\n".to_owned())
        }
        Some("/lists/empty.txt") => (0o644, "# nobody\n".to_owned()),
        Some("/lists/bad.txt") => {
            let lines = "10.8.0.0/24\nvpn # of the office\n\n10.8.0.1/24\n::ffff:10.8.0.1\n";
            (0o644, format!("{lines}{}", "x\n".repeat(9)))
        }
        Some("/keys/folder") => return FileFact::Unusable("it is a folder".to_owned()),
        Some("/keys/secret.key") => {
            return FileFact::Unreadable("Permission denied (os error 13)".to_owned());
        }
        _ => return FileFact::Missing,
    };
    FileFact::Present { mode, text }
}

/// As of a machine without a folder `/logs/none`.
fn unwritable(path: &Path) -> Option<Objection> {
    path.starts_with("/logs/none").then(|| Objection {
        path: path.to_owned(),
        severity: Severity::Warning,
        why: "the folder /logs/none is not there".to_owned(),
        remedy: "make it".to_owned(),
    })
}

/// As of a machine where nobody may run `/programs/plain`.
fn not_executable(path: &Path) -> Option<Objection> {
    (path == Path::new("/programs/plain")).then(|| Objection {
        path: path.to_owned(),
        severity: Severity::Warning,
        why: "nobody may execute it".to_owned(),
        remedy: "chmod a+x".to_owned(),
    })
}

fn file_name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .expect("a golden file has a name")
}

/// What `check` says about a file: errors, or warnings.
fn findings(path: &Path) -> (Option<Config>, String) {
    let text = fs::read_to_string(path).expect("a golden file is readable");
    let name = file_name(path);
    let whose = Viewpoint {
        who: Who::Anybody,
        files: Some(FileFacts {
            look: &facts,
            // The golden certificates are none.
            try_client: &|_| Vec::new(),
            try_listener: &|_| Vec::new(),
            try_log: &unwritable,
            try_program: &not_executable,
        }),
        capacity: Some(Capacity {
            cores: 4,
            descriptors: 8_192,
            backlog: 4_096,
        }),
    };
    match Config::parse(name, &text, whose) {
        Ok(parsed) => (Some(parsed.config), parsed.warnings.to_string()),
        Err(report) => {
            let has_error = report
                .diagnostics()
                .iter()
                .any(|diagnostic| diagnostic.severity == Severity::Error);
            assert!(has_error, "{name} was refused without an error");
            (None, report.to_string())
        }
    }
}

fn golden_files(prefix: fn(char) -> bool) -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("tests/config")).expect("the folder is there");
    let mut files: Vec<PathBuf> = folder
        .map(|entry| entry.expect("the folder is readable").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .filter(|path| file_name(path).starts_with(prefix))
        .collect();
    files.sort();
    files
}

fn assert_golden(path: &Path, found: &str) {
    let golden = path.with_extension("stderr");
    if std::env::var_os("FMC_LB_BLESS").is_some() {
        fs::write(&golden, found).expect("the golden file can be written");
        return;
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert!(
        found == expected,
        "{} has changed; FMC_LB_BLESS=1 accepts it.\n--- expected\n{expected}\n--- found\n{found}",
        golden.display()
    );
}

#[test]
fn each_golden_has_a_number_of_its_own() {
    let files = golden_files(|first| first.is_ascii_digit() || first == 'w');
    let names = files.iter().map(|path| file_name(path));
    let mut numbers: Vec<_> = names.filter_map(|name| name.split('-').next()).collect();
    numbers.sort_unstable();
    let twice = numbers.windows(2).find(|two| two[0] == two[1]);
    assert_eq!(twice, None);
}

#[test]
fn every_bad_file_is_refused_with_its_explanation() {
    let files = golden_files(|first| first.is_ascii_digit());
    assert!(files.len() >= 30, "{} bad files", files.len());
    for path in files {
        let (config, found) = findings(&path);
        assert!(config.is_none(), "{} was accepted", path.display());
        assert_golden(&path, &found);
        assert_complete(&found);
    }
}

#[test]
fn doubtful_files_are_accepted_with_a_warning() {
    let files = golden_files(|first| first == 'w');
    assert!(!files.is_empty(), "there are no doubtful files");
    for path in files {
        let (config, found) = findings(&path);
        assert!(config.is_some(), "{} was refused:\n{found}", path.display());
        assert!(!found.is_empty(), "{} brought no warning", path.display());
        assert_golden(&path, &found);
        assert_complete(&found);
    }
}

/// Each finding has a place, a mark under the source line and a remedy.
fn assert_complete(rendered: &str) {
    for block in rendered.split("\n\n").filter(|block| !block.is_empty()) {
        let lines: Vec<&str> = block.trim_end().lines().collect();
        assert_eq!(lines.len(), 6, "{block}");
        assert!(lines[0].starts_with("error: ") || lines[0].starts_with("warning: "));
        assert!(
            lines[1].contains("--> ") && lines[1].matches(':').count() == 2,
            "{block}"
        );
        assert!(lines[4].contains('^'), "{block}");
        assert!(lines[5].contains("= help: "), "{block}");
    }
}

#[test]
fn what_is_shown_parses_to_the_same_configuration() {
    let full = root().join("tests/config/full.toml");
    let shipped = SHIPPED.iter().map(|path| root().join(path));
    let doubtful = golden_files(|first| first == 'w');
    for path in shipped.chain(doubtful).chain([full]) {
        let (config, report) = findings(&path);
        let config = config.unwrap_or_else(|| panic!("{report}"));
        let shown = config.to_toml();
        let again = Config::from_running(&shown).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(config, again, "{}", path.display());
        assert_eq!(config.effective_hash(), again.effective_hash());
    }
}

#[test]
fn everything_that_can_be_set_is_shown() {
    let (config, report) = findings(&root().join("tests/config/full.toml"));
    let shown = config.unwrap_or_else(|| panic!("{report}")).to_toml();
    let table: toml::Table = shown.parse().expect("what is shown is TOML");
    // Their values are shown elsewhere.
    let inherited = [("nodes", "priority"), ("vrrp", ""), ("timeouts", "")];
    for section in keys::SECTIONS {
        if inherited.contains(&(section.name, "")) {
            continue;
        }
        let values = table[section.name]
            .as_table()
            .expect("a section is a table");
        // One of a section's tables has it: an IPv4 VIP has no link-local address, an IPv6 one no password.
        let tables: Vec<_> = if section.shape == common::config::kind::Shape::Named {
            let named = values.values().filter_map(|value| value.as_table());
            named.collect()
        } else {
            vec![values]
        };
        for key in section.keys {
            let expected = !inherited.contains(&(section.name, key.name));
            assert_eq!(
                tables.iter().any(|table| table.contains_key(key.name)),
                expected,
                "{} {}",
                section.name,
                key.name
            );
        }
    }
}

#[test]
fn the_hash_sees_values_and_not_their_spelling() {
    let text = read(SHIPPED[0]);
    let hash = |text: &str| {
        Config::from_running(text)
            .unwrap_or_else(|report| panic!("{report}"))
            .effective_hash()
    };
    let same = text
        .replace("\"10s\"", "\"10000ms\"")
        .replace("preempt         = true\n", "# ");
    assert_ne!(text, same);
    assert_eq!(hash(&text), hash(&same));
    let other = text.replace("priority = 240", "priority = 239");
    assert_ne!(hash(&text), hash(&other));
}

#[test]
fn the_default_tunnel_timeout_gives_way_to_one_that_is_set() {
    let hour = Some(Duration::from_secs(3600));
    let tunnel = |more: &str| {
        let text = format!("{}\n{more}", read(SHIPPED[0]));
        let config = Config::from_running(&text).unwrap_or_else(|report| panic!("{report}"));
        config.listeners[0].tunnel_timeout
    };
    assert_eq!(tunnel(""), hour);
    assert_eq!(tunnel("[timeouts]\nclient = \"30s\""), None);
    assert_eq!(tunnel("[timeouts]\nserver = \"30s\""), None);
    assert_eq!(
        tunnel("[timeouts]\nclient = \"30s\"\ntunnel = \"1h\""),
        hour
    );
}

#[test]
fn the_shipped_files_fit_the_schema() {
    let schema = schema();
    let full = ["tests/config/full.toml"];
    for path in SHIPPED.iter().chain(&full) {
        let table: toml::Table = read(path).parse().expect("a shipped file is TOML");
        let value = serde_json::to_value(table).expect("TOML without dates is JSON");
        let problems = schema_check::problems(&schema, &value, path);
        assert!(problems.is_empty(), "{problems:#?}");
    }
}

#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    let schema = schema();
    for name in [
        "06-unknown-key",
        "16-wrong-types",
        "17-priority-254",
        "11-missing-keys",
    ] {
        let table: toml::Table = read(&format!("tests/config/{name}.toml"))
            .parse()
            .expect("the file is TOML");
        let value = serde_json::to_value(table).expect("TOML without dates is JSON");
        assert!(
            !schema_check::problems(&schema, &value, name).is_empty(),
            "{name}"
        );
    }
}

/// `FMC_LB_BLESS=1 cargo test --release -p fmc-lb --test config` writes the page anew.
#[test]
fn docs_configuration_md_is_what_the_table_of_keys_says() {
    let output = fmc_lb(&["schema", "--markdown"]);
    assert_eq!(output.status.code(), Some(0));
    let wanted = String::from_utf8(output.stdout).expect("text");
    let path = root().join("docs/configuration.md");
    if std::env::var_os("FMC_LB_BLESS").is_some_and(|value| value == "1") {
        fs::write(&path, &wanted).expect("docs/configuration.md can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/configuration.md is stale: FMC_LB_BLESS=1 cargo test --release -p fmc-lb --test config"
    );
}

fn fmc_lb(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fmc-lb"))
        .args(args)
        .current_dir(root())
        .output()
        .expect("the binary can be started")
}

#[test]
fn exit_codes_tell_good_doubtful_and_bad() {
    let code = |args: &[&str]| fmc_lb(args).status.code();
    for path in SHIPPED {
        let output = fmc_lb(&["check", path]);
        assert_eq!(output.status.code(), Some(0), "{path}");
        let line = String::from_utf8(output.stdout).unwrap();
        assert!(line.starts_with(&format!("{path}: valid: ")), "{line}");
        assert_eq!(line.lines().count(), 1);
    }
    assert_eq!(
        code(&["check", "--strict", "configs/one-node.toml"]),
        Some(0)
    );
    assert_eq!(
        code(&["check", "--strict", "tests/config/w05-unused-backend.toml"]),
        Some(1)
    );
    assert_eq!(code(&["check", "tests/config/01-empty.toml"]), Some(2));
    assert_eq!(code(&["check", "tests/config/none.toml"]), Some(2));
    assert_eq!(code(&["check", "tests/config"]), Some(2));
    assert_eq!(code(&["check", "/dev/zero"]), Some(2));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "measures how long a check takes")]
fn a_large_bad_file_is_refused_in_time() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("fmc-lb.toml");
    let keys: Vec<String> = (0..70_000).map(|key| format!("k{key} = 1\n")).collect();
    fs::write(&file, keys.concat()).expect("the folder is writable");
    let began = std::time::Instant::now();
    let output = fmc_lb(&["check", file.to_str().expect("the path is UTF-8")]);
    let took = began.elapsed();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(said.matches("error: ").count(), 100);
    assert!(
        said.contains("and 6990"), // and what an empty file lacks
        "{}",
        &said[said.len() - 200..]
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn files_that_cannot_be_used_are_found_with_the_other_errors() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = |name: &str| folder.path().join(name).display().to_string();
    // A certificate and a key as a copy that was cut short leaves them.
    let cut = |what: &str| format!("-----BEGIN {what}-----\nMIIB\n-----END {what}-----\n");
    for (name, text) in [
        ("ca.pem", cut("CERTIFICATE")),
        ("cert.pem", "-----BEGIN CERTIFICATE-----\n".to_owned()),
        ("key.pem", cut("PRIVATE KEY").replace("MIIB", "!!!!")),
    ] {
        fs::write(path(name), text).expect("the folder is writable");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(path(name), private).expect("the file is ours");
    }
    let probe = "kind = \"kube-apiserver\"";
    let text = read(SHIPPED[0]);
    assert!(text.contains(probe));
    let named = ["ca.pem", "cert.pem", "key.pem"].map(|name| {
        let key = name.replace(".pem", "_file");
        format!("{key} = \"{}\"", path(name))
    });
    let text = text.replace(probe, &format!("{probe}, {}", named.join(", ")));
    let file = path("fmc-lb.toml");
    fs::write(&file, format!("{text}\n[colours]\n")).expect("the folder is writable");
    let output = fmc_lb(&["check", &file]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("unknown section `colours`"), "{said}");
    let unusable: Vec<&str> = said
        .split("\n\n")
        .filter(|block| block.starts_with("error: this file cannot be used"))
        .collect();
    assert_eq!(unusable.len(), 3, "{said}");
    for (block, name) in unusable.iter().zip(["ca.pem", "cert.pem", "key.pem"]) {
        let marked = format!("\"{}\"", path(name));
        assert!(block.contains(&path(name)), "{block}");
        assert!(block.contains(&"^".repeat(marked.len().min(60))), "{block}");
        assert!(block.contains("= help: copy the file anew"), "{block}");
    }
}

#[test]
fn a_folder_as_key_file_has_another_remedy_than_root() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("fmc-lb.toml");
    let key = folder.path().to_str().expect("the path is UTF-8");
    let text = read("configs/two-nodes.toml").replace("/etc/fmc-lb/pair.key", key);
    fs::write(&file, text).expect("the folder is writable");
    let output = fmc_lb(&["check", file.to_str().expect("the path is UTF-8")]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot be used: it is a folder"), "{said}");
    assert!(!said.contains("root"), "{said}");
}

#[test]
fn a_missing_key_is_an_error_for_the_node_itself() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let key = folder.path().join("pair.key");
    let file = folder.path().join("fmc-lb.toml");
    let text = read("configs/two-nodes.toml").replace(
        "/etc/fmc-lb/pair.key",
        key.to_str().expect("the path is UTF-8"),
    );
    fs::write(&file, text).expect("the folder is writable");
    let file = file.to_str().expect("the path is UTF-8");
    let says = |args: &[&str]| {
        let output = fmc_lb(args);
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, text) = says(&["check", file]);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("warning: "), "{text}");
    let (code, text) = says(&["check", file, "--node", "lb1"]);
    assert_eq!(code, Some(2));
    assert!(text.starts_with("error: "), "{text}");
    fs::write(&key, fmc_lb(&["keygen"]).stdout).expect("the folder is writable");
    let set_mode = |mode| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("the file is ours");
    };
    set_mode(0o604);
    assert_eq!(says(&["check", file]).0, Some(2));
    set_mode(0o640);
    assert_eq!(
        says(&["check", file, "--node", "lb1", "--strict"]),
        (Some(0), String::new())
    );
    let (code, text) = says(&["check", file, "--node", "lb3"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("its nodes are lb1 and lb2"), "{text}");
}
