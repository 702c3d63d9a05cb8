//! Metrics of the TLS that listeners end.

use std::collections::BTreeMap;

use common::board::TlsHandshake;
use common::status::{Status, TlsStatus};

use super::{Family, Page};

static HANDSHAKES: Family = Family::counter(
    "fmc_lb_listener_tls_handshakes_total",
    &["listener", "version", "resumed"],
    "Handshakes with clients that succeeded, by version of TLS and whether a session was resumed.",
);
static FAILURES: Family = Family::counter(
    "fmc_lb_listener_tls_failures_total",
    &["listener", "reason"],
    "Handshakes with clients that came to nothing (timeout, gone, not_tls, incompatible, name, protocol, refused, no_certificate, unknown_authority, expired_certificate, revoked_certificate, bad_certificate, misbehaved, other).",
);
static TRUNCATED: Family = Family::counter(
    "fmc_lb_listener_tls_truncated_total",
    &["listener"],
    "Sessions reset because a side ended its stream without close_notify: it may have been cut.",
);
static EXPIRY: Family = Family::gauge(
    "fmc_lb_listener_certificate_expiry_timestamp_seconds",
    &["listener", "file"],
    "When the certificate expires, in seconds since 1970.",
);

static SERVER_HANDSHAKES: Family = Family::counter(
    "fmc_lb_backend_tls_handshakes_total",
    &["backend", "version", "resumed"],
    "Handshakes with servers that succeeded, by version of TLS and whether a session was resumed.",
);
static SERVER_FAILURES: Family = Family::counter(
    "fmc_lb_backend_tls_failures_total",
    &["backend", "reason"],
    "Handshakes with servers that came to nothing, each a connect error of its server (timeout, gone, not_tls, incompatible, protocol, refused, unknown_authority, expired_certificate, revoked_certificate, wrong_name, bad_certificate, misbehaved, other).",
);

#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[
    &HANDSHAKES,
    &FAILURES,
    &TRUNCATED,
    &EXPIRY,
    &SERVER_HANDSHAKES,
    &SERVER_FAILURES,
];

pub(super) fn fill(page: &mut Page, status: &Status) {
    for listener in &status.listeners {
        if let Some(tls) = &listener.tls {
            fill_listener(page, &listener.name, tls);
        }
    }
    for backend in &status.backends {
        if let Some(tls) = &backend.tls {
            let families = (&SERVER_HANDSHAKES, &SERVER_FAILURES);
            fill_handshakes(
                page,
                &backend.name,
                families,
                (&tls.handshakes, &tls.failures),
            );
        }
    }
}

fn fill_handshakes(
    page: &mut Page,
    name: &str,
    (handshakes, failures): (&'static Family, &'static Family),
    counts: (&BTreeMap<String, u64>, &BTreeMap<String, u64>),
) {
    for how in TlsHandshake::ALL {
        let (version, resumed) = how.parts();
        let resumed = if resumed { "true" } else { "false" };
        let count = counts.0.get(how.word()).copied().unwrap_or(0);
        page.count(handshakes, &[name, version, resumed], count);
    }
    for (reason, count) in counts.1 {
        page.count(failures, &[name, reason], *count);
    }
}

fn fill_listener(page: &mut Page, listener: &str, tls: &TlsStatus) {
    let families = (&HANDSHAKES, &FAILURES);
    fill_handshakes(page, listener, families, (&tls.handshakes, &tls.failures));
    page.count(&TRUNCATED, &[listener], tls.truncated);
    for certificate in &tls.certificates {
        let expiry = certificate.not_after_timestamp.map(|end| end as f64);
        page.gauge_if_known(&EXPIRY, &[listener, &certificate.file], expiry);
    }
}

#[cfg(test)]
mod tests {
    use common::board::TlsFailure;

    use super::super::page as whole_page;
    use super::*;
    use crate::admin::fixture::{self, CLOCKS};
    use crate::admin::rates::Rates;

    #[test]
    fn every_handshake_and_failure_is_counted_under_its_labels() {
        let view = fixture::healthy();
        let slot = &view.boards.proxy.listeners[1].tls;
        for how in TlsHandshake::ALL {
            slot.handshake(*how).add(100 + *how as u64);
        }
        for why in TlsFailure::ALL {
            slot.failure(*why).add(200 + *why as u64);
        }
        slot.truncated.add(7);
        let text = whole_page(&view, &view.status(&Rates::default(), CLOCKS), CLOCKS);
        let has = |line: String| assert!(text.contains(&line), "no {line} in\n{text}");
        for how in TlsHandshake::ALL {
            let (version, resumed) = how.parts();
            has(format!(
                "_tls_handshakes_total{{listener=\"https\",resumed=\"{resumed}\",version=\"{version}\"}} {}\n",
                100 + *how as u64
            ));
        }
        for why in TlsFailure::ALL {
            has(format!(
                "_tls_failures_total{{listener=\"https\",reason=\"{}\"}} {}\n",
                why.word(),
                200 + *why as u64
            ));
        }
        let slot = &view.boards.proxy.server_tls[1];
        for how in TlsHandshake::ALL {
            slot.handshake(*how).add(300 + *how as u64);
        }
        for why in TlsFailure::ALL {
            slot.failure(*why).add(400 + *why as u64);
        }
        let text = whole_page(&view, &view.status(&Rates::default(), CLOCKS), CLOCKS);
        let of_backend = |line: String| assert!(text.contains(&line), "no {line} in\n{text}");
        of_backend("fmc_lb_backend_tls_handshakes_total{backend=\"traefik-https\",resumed=\"true\",version=\"1.3\"} 303\n".to_owned());
        of_backend("fmc_lb_backend_tls_failures_total{backend=\"traefik-https\",reason=\"wrong_name\"} 413\n".to_owned());
        assert!(!text.contains("fmc_lb_backend_tls_handshakes_total{backend=\"k3s-api\""));
        has("_tls_truncated_total{listener=\"https\"} 7\n".to_owned());
        has("_certificate_expiry_timestamp_seconds{file=\"/etc/fmc-lb/tls/web.pem\",listener=\"https\"} 1782820800\n".to_owned());
        // A listener that ends no TLS has none of these lines.
        assert!(!text.contains("_tls_truncated_total{listener=\"api\"}"));
    }
}
