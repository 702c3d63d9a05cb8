//! Places in a text of the file where something of a server comes: `{backend}`, `{address}`,
//! `{port}`.

use std::net::SocketAddr;

const KNOWN: [&str; 3] = ["{backend}", "{address}", "{port}"];

/// The text for one server.
pub(super) fn fill(text: &str, backend: &str, server: SocketAddr) -> String {
    let (address, port) = (server.ip().to_string(), server.port().to_string());
    let pieces = pieces(text).into_iter().map(|piece| match piece {
        "{backend}" => backend,
        "{address}" => &address,
        "{port}" => &port,
        text => text,
    });
    pieces.collect()
}

/// The text cut at its placeholders.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((at, found)) = KNOWN
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

/// What stands in braces, looks like a placeholder and is none.
pub(super) fn unknown(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        rest = &rest[at..];
        let end = rest.find('}')?;
        let found = &rest[..=end];
        let is_word = found[1..end].bytes().all(|byte| byte.is_ascii_lowercase());
        if is_word && end > 1 && !KNOWN.contains(&found) {
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
        let of =
            |text: &str, server: &str| fill(text, "{port}", server.parse().expect("an address"));
        for (text, filled) in [
            ("{address}:{port}", "10.17.4.24:80"),
            // What has come in is not looked at again.
            ("-b{backend}{port}", "-b{port}80"),
            ("{}{x", "{}{x"),
            ("plain", "plain"),
        ] {
            assert_eq!(of(text, "10.17.4.24:80"), filled);
        }
        assert_eq!(of("{address}", "[fd00::1]:80"), "fd00::1");
    }

    #[test]
    fn a_misspelt_placeholder_is_found() {
        assert_eq!(unknown("a{ip}b"), Some("{ip}"));
        assert_eq!(unknown("{address}{prot}"), Some("{prot}"));
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
            assert_eq!(unknown(good), None, "{good}");
        }
    }
}
