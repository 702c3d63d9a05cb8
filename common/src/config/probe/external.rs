//! Probes that a program of the site makes.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A program that tells by its exit code whether a server is well, as HAProxy's `external-check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalProbe {
    pub program: PathBuf,
    /// With placeholders.
    pub arguments: Vec<String>,
}

/// A place in an argument where something of the server comes.
const PLACEHOLDERS: [&str; 3] = ["{backend}", "{address}", "{port}"];

impl ExternalProbe {
    /// The arguments for one server.
    pub fn arguments_for(&self, backend: &str, server: SocketAddr) -> Vec<String> {
        let (address, port) = (server.ip().to_string(), server.port().to_string());
        let arguments = self.arguments.iter().map(|argument| {
            let pieces = pieces(argument).into_iter().map(|piece| match piece {
                "{backend}" => backend,
                "{address}" => &address,
                "{port}" => &port,
                text => text,
            });
            pieces.collect()
        });
        arguments.collect()
    }
}

/// The text cut at its placeholders.
fn pieces(argument: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = argument;
    while let Some((at, found)) = PLACEHOLDERS
        .iter()
        .filter_map(|one| Some((rest.find(one)?, *one)))
        .min()
    {
        pieces.extend([&rest[..at], found]);
        rest = &rest[at + found.len()..];
    }
    pieces.push(rest);
    pieces
}

/// What stands in braces in an argument and is no placeholder.
pub(in crate::config) fn unknown_placeholder(argument: &str) -> Option<&str> {
    let mut rest = argument;
    while let Some(at) = rest.find('{') {
        rest = &rest[at..];
        let end = rest.find('}')?;
        let found = &rest[..=end];
        let is_word = found[1..end].bytes().all(|byte| byte.is_ascii_lowercase());
        if is_word && end > 1 && !PLACEHOLDERS.contains(&found) {
            return Some(found);
        }
        rest = &rest[1..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_the_server_and_the_rest_stays() {
        let probe = ExternalProbe {
            program: "/bin/true".into(),
            arguments: ["{address}:{port}", "-b{backend}", "{}", "{x", "plain"]
                .map(str::to_owned)
                .to_vec(),
        };
        let of = |server: &str| probe.arguments_for("{port}", server.parse().expect("an address"));
        assert_eq!(
            of("10.17.4.24:80"),
            ["10.17.4.24:80", "-b{port}", "{}", "{x", "plain"]
        );
        assert_eq!(of("[fd00::1]:80")[0], "fd00::1:80");
    }

    #[test]
    fn a_misspelt_placeholder_is_found() {
        assert_eq!(unknown_placeholder("a{ip}b"), Some("{ip}"));
        assert_eq!(unknown_placeholder("{address}{prot}"), Some("{prot}"));
        for good in [
            "",
            "{port}",
            "{}",
            "{",
            "}",
            "{ a }",
            "{\"a\": 1}",
            "{{port}",
        ] {
            assert_eq!(unknown_placeholder(good), None, "{good}");
        }
    }
}
