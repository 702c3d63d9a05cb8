//! Which route a server name takes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use common::dns_name::{self, InvalidName};

/// Routes by server name: `api.example.org`, or `*.example.org` for exactly one label in front
/// (RFC 6125, section 6.4.3: neither `example.org` nor `a.b.example.org`). Case does not matter. An
/// exact name beats a wildcard, and since a wildcard stands for one label, at most one of them, the
/// longest, fits a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerNames<R> {
    exact: BTreeMap<String, R>,
    /// By what follows `*.`.
    wildcard: BTreeMap<String, R>,
}

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("`{pattern}` is no server name")]
    Invalid {
        pattern: String,
        #[source]
        source: InvalidName,
    },
    /// `*`, `a*.example.org`, `a.*.org`: it may stand only for a whole first label.
    #[error("`{0}`: a `*` stands for the whole first label, as in `*.example.org`")]
    Wildcard(String),
    #[error("`{0}` has two routes")]
    Duplicate(String),
}

impl<R> ServerNames<R> {
    /// Builds the routes.
    ///
    /// # Errors
    ///
    /// The first pattern that is no name, or that is there already.
    pub fn new<'a>(routes: impl IntoIterator<Item = (&'a str, R)>) -> Result<Self, PatternError> {
        let mut names = Self {
            exact: BTreeMap::new(),
            wildcard: BTreeMap::new(),
        };
        for (pattern, route) in routes {
            names.insert(pattern, route)?;
        }
        Ok(names)
    }

    fn insert(&mut self, pattern: &str, route: R) -> Result<(), PatternError> {
        let (table, name) = match pattern.strip_prefix("*.") {
            Some(suffix) => (&mut self.wildcard, suffix),
            None => (&mut self.exact, pattern),
        };
        if name.contains('*') {
            return Err(PatternError::Wildcard(pattern.into()));
        }
        let name = dns_name::normalize(name.as_bytes()).map_err(|source| {
            let pattern = pattern.into();
            PatternError::Invalid { pattern, source }
        })?;
        match table.insert(name, route) {
            None => Ok(()),
            Some(_) => Err(PatternError::Duplicate(pattern.into())),
        }
    }

    /// The route of a name, as [`super::ServerName::as_dns`] gives it.
    pub fn route(&self, name: &str) -> Option<&R> {
        let name = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(name.to_ascii_lowercase()),
            false => Cow::Borrowed(name),
        };
        self.exact.get(name.as_ref()).or_else(|| {
            let (label, suffix) = name.split_once('.')?;
            self.wildcard.get(suffix).filter(|_| !label.is_empty())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> ServerNames<u8> {
        let routes = [
            ("api.example.org", 1),
            ("*.example.org", 2),
            ("*.deep.example.org", 3),
            ("*.ORG.", 4),
            ("Localhost", 5),
        ];
        ServerNames::new(routes).expect("all are names")
    }

    #[test]
    fn exact_beats_wildcard_and_case_does_not_matter() {
        for name in ["api.example.org", "API.example.Org"] {
            assert_eq!(names().route(name), Some(&1));
        }
        assert_eq!(names().route("localhost"), Some(&5));
        assert_eq!(names().route("web.example.org"), Some(&2));
        assert_eq!(names().route("WEB.EXAMPLE.ORG"), Some(&2));
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        // `*.org`, not `*.example.org`.
        assert_eq!(names().route("example.org"), Some(&4));
        assert_eq!(names().route("deep.example.org"), Some(&2));
        assert_eq!(names().route("a.deep.example.org"), Some(&3));
        for name in [
            "a.b.deep.example.org",
            "a.api.example.org",
            "org",
            "a.com",
            "",
        ] {
            assert_eq!(names().route(name), None, "{name}");
        }
        assert_eq!(names().route(".example.org"), None);
        assert_eq!(names().route("xexample.org"), Some(&4));
    }

    #[test]
    fn patterns_are_checked() {
        let refused = |pattern: &str| ServerNames::new([(pattern, ())]).expect_err(pattern);
        for pattern in [
            "*",
            "a*.example.org",
            "*a.example.org",
            "a.*.org",
            "*.*.org",
        ] {
            assert_eq!(refused(pattern), PatternError::Wildcard(pattern.into()));
        }
        for (pattern, source) in [
            ("", InvalidName::LabelLength),
            ("*.", InvalidName::LabelLength),
            ("a b", InvalidName::Character),
            ("192.0.2.1", InvalidName::IpAddress),
        ] {
            let pattern = pattern.to_owned();
            assert_eq!(refused(&pattern.clone()), {
                PatternError::Invalid { pattern, source }
            });
        }
        let twice = [("a.org", 1), ("A.org.", 2)];
        assert_eq!(
            ServerNames::new(twice),
            Err(PatternError::Duplicate("A.org.".into()))
        );
    }
}
