//! OpenSSL's own client and server against ours.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use common::board::TlsHandshake;

use super::peer::*;
use crate::harness::*;

/// A folder that is gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fmc-lb-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _it_is_temporary = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs `openssl s_client`, gives it a line and the end of its input.
fn s_client(proxy: &RunningProxy, authority: &str, more: &[&str]) -> Output {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &proxy.address.to_string()])
        .args(["-CAfile", authority, "-verify_return_error"])
        .args([
            "-servername",
            "b.example.org",
            "-verify_hostname",
            "b.example.org",
        ])
        // It ends with the server's close_notify, not with its own input.
        .args(["-ign_eof"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"hello\n").expect("a line");
    drop(input);
    child.wait_with_output().expect("it ends")
}

/// Whether the machine has openssl(1); the tests with rustls alone are elsewhere.
fn is_installed() -> bool {
    let found = Command::new("openssl").arg("version").output();
    found.is_ok_and(|output| output.status.success())
}

/// A server that answers a line with a line, and ends.
fn line_server() -> std::net::SocketAddr {
    server(|stream| {
        let mut line = String::new();
        let mut reader = std::io::BufReader::new(&stream);
        if std::io::BufRead::read_line(&mut reader, &mut line).is_ok() {
            let answer = format!("you said {line}");
            let _client_is_gone = (&stream).write_all(answer.as_bytes());
        }
    })
}

#[test]
fn openssl_agrees_with_the_listener_in_both_versions_and_resumes() {
    if !is_installed() {
        println!("skipped: there is no openssl(1) on this machine");
        return;
    }
    let folder = Folder::new("s-client");
    let mut setup = TlsSetup::new(&[line_server()]);
    setup.certificate("b.example.org");
    setup.tls().alpn = vec!["h2".to_owned()];
    let authority = folder.file("ca.pem");
    std::fs::write(&authority, setup.authority.pem()).expect("written");
    let (proxy, _) = setup.start();
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = folder.file(version);
        let run = |more: &[&str]| {
            let more = [&[version, "-alpn", "h2,http/1.1"], more].concat();
            let output = s_client(&proxy, &authority, &more);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{said}\n{errors}");
            assert!(said.contains("you said hello"), "{said}\n{errors}");
            assert!(said.contains(name), "{said}");
            assert!(said.contains("ALPN protocol: h2"), "{said}");
            said
        };
        let first = run(&["-sess_out", &session]);
        assert!(first.contains("New, "), "{first}");
        let second = run(&["-sess_in", &session]);
        assert!(second.contains("Reused, "), "{second}");
    }
    let handshakes = |how| counted(&proxy).handshake(how).get();
    assert_eq!(handshakes(TlsHandshake::Resumed12), 1);
    assert_eq!(handshakes(TlsHandshake::Resumed13), 1);
}
