//! Whether contents of watched files can be used.

use common::config::{Watched, WatchedKind, judge_list};

/// Gets the text of each file in the order of the paths, and the seconds since 1970 at which
/// certificates must be valid; without them that is not asked.
///
/// # Errors
/// Why not, in words.
pub(crate) fn judge(watched: &Watched, texts: &[String], now: Option<i64>) -> Result<(), String> {
    match &watched.holds {
        WatchedKind::Networks { needed } => {
            texts.iter().try_for_each(|text| judge_list(text, *needed))
        }
        WatchedKind::Tls(uses) => {
            let bytes = texts.iter().map(|text| text.clone().into_bytes());
            let files = watched.paths.iter().cloned().zip(bytes).collect();
            lb_proxy::check_tls_files(uses, &files, now)
                .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
        }
    }
}
