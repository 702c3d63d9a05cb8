//! Whether files of TLS can be used, before anybody uses them.

use common::config::TlsUse;
use rustls::crypto::ring;

use super::Files;
use super::certificate::Certificate;
use super::files::{TlsError, authorities};

/// What is wrong with files that are used together; nothing is started. `now` = seconds since 1970, at
/// which certificates must be valid; without it that is not asked.
///
/// # Errors
///
/// The first fault.
pub fn check_tls_files(uses: &[TlsUse], files: &Files, now: Option<i64>) -> Result<(), TlsError> {
    let provider = ring::default_provider();
    for one in uses {
        match one {
            TlsUse::Certificate(pair) => {
                let certificate = Certificate::read(pair, files, &provider)?;
                let objection = now.and_then(|now| certificate.objection(pair, now));
                if let Some(objection) = objection {
                    return Err(objection);
                }
            }
            TlsUse::Authorities(path) => {
                authorities(path, files)?;
            }
        }
    }
    Ok(())
}
