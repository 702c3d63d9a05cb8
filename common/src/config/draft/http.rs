//! HTTP probes while they are checked.

use crate::config::value::{At, FromValue, Values};
use crate::config::{HttpVersion, StatusRange};

#[derive(Debug)]
pub(in crate::config) struct HttpDraft {
    pub(in crate::config) method: Option<At<String>>,
    pub(in crate::config) path: Option<String>,
    pub(in crate::config) host: Option<String>,
    pub(in crate::config) headers: Option<Vec<(String, String)>>,
    pub(in crate::config) version: Option<HttpVersion>,
    pub(in crate::config) expect_status: Option<Vec<StatusRange>>,
    pub(in crate::config) drain_status: Option<Vec<StatusRange>>,
    pub(in crate::config) expect_body: Option<At<String>>,
    pub(in crate::config) body_limit: Option<At<usize>>,
}

impl HttpDraft {
    pub(super) fn of(values: &Values) -> Self {
        let text = |key| values.get::<String>(key);
        Self {
            method: text("method"),
            path: text("path").map(|path| path.value),
            host: text("host").map(|host| host.value),
            headers: all(values, "headers"),
            version: values.get::<&str>("http_version").map(|word| {
                if word.value == HttpVersion::Http10.word() {
                    HttpVersion::Http10
                } else {
                    HttpVersion::Http11
                }
            }),
            expect_status: all(values, "expect_status"),
            drain_status: all(values, "drain_status"),
            expect_body: text("expect_body"),
            body_limit: values.get::<u64>("body_limit").and_then(|limit| {
                let bytes = usize::try_from(limit.value).ok()?;
                Some(limit.with(bytes))
            }),
        }
    }
}

fn all<T: FromValue>(values: &Values, key: &str) -> Option<Vec<T>> {
    let list = values.list::<T>(key)?.value;
    Some(list.into_iter().map(|one| one.value).collect())
}
