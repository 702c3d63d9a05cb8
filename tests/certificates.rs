//! Certificates of listeners: what `check` refuses, with the place in the file and the remedy.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

struct Pair {
    certificate: String,
    key: String,
}

/// Valid until the end of a year.
fn pair(last_year: i32) -> Pair {
    let mut params = CertificateParams::new(vec!["web.example.org".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(last_year, 12, 31);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("it signs itself");
    Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).expect("the folder is writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// Exit code and words of `check` on a listener with these files.
fn check(certificate: &str, key: Option<&str>) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = |name: &str| folder.path().join(name);
    let certificates = match key {
        Some(key) => {
            write(&path("web.crt"), certificate);
            write(&path("web.key"), key);
            let (cert, key) = (path("web.crt"), path("web.key"));
            format!("{{ cert_file = {cert:?}, key_file = {key:?} }}")
        }
        None => {
            write(&path("web.pem"), certificate);
            format!("{:?}", path("web.pem"))
        }
    };
    let text = format!(
        r#"[nodes.lb1]
address = "192.168.0.11"
[pair]
interface = "eth0"
[listeners.web]
bind = ["192.168.0.11:443"]
backend = "web"
tls = {{ certificates = [{certificates}] }}
[backends.web]
servers = ["10.17.4.24:80"]
"#
    );
    let file = path("fmc-lb.toml");
    write(&file, &text);
    let output = Command::new(env!("CARGO_BIN_EXE_fmc-lb"))
        .args(["check", file.to_str().expect("the path is UTF-8")])
        .output()
        .expect("the binary can be started");
    let said = String::from_utf8(output.stderr).expect("text");
    let folder = folder.path().display().to_string();
    (output.status.code(), said.replace(&folder, "/F"))
}

#[test]
fn a_certificate_with_its_key_is_taken_from_one_file_or_two() {
    let Pair { certificate, key } = pair(2090);
    assert_eq!(check(&certificate, Some(&key)), (Some(0), String::new()));
    let both = format!("{key}{certificate}");
    assert_eq!(check(&both, None), (Some(0), String::new()));
}

#[test]
fn what_clients_could_not_use_is_refused_where_the_file_is_named() {
    let (good, other, old) = (pair(2090), pair(2090), pair(2021));
    let cut = &good.certificate[..good.certificate.len() / 2];
    let cut_key = &good.key[..good.key.len() / 2];
    for (certificate, key, why, remedy) in [
        (
            good.certificate.as_str(),
            other.key.as_str(),
            "using /F/web.crt with its private key: keys may not be consistent: KeyMismatch",
            "name a certificate and the private key that belongs to it",
        ),
        (
            &old.certificate,
            &old.key,
            "/F/web.crt expired on 2021-12-31",
            "renew it: no client trusts it any more",
        ),
        (
            cut,
            &good.key,
            "/F/web.crt ends before its -----END CERTIFICATE-----",
            "copy the file anew",
        ),
        (
            &good.certificate,
            cut_key,
            "/F/web.key ends before its -----END PRIVATE KEY-----",
            "copy the file anew",
        ),
    ] {
        let (code, said) = check(certificate, Some(key));
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.starts_with(&format!("error: this file cannot be used: {why}")),
            "{said}"
        );
        assert!(said.contains("/fmc-lb.toml:8:"), "{said}");
        assert!(said.contains(&format!("= help: {remedy}")), "{said}");
    }
}
