//! When certificates expire, by the wall clock. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use common::config::Backend;
use common::status::BackendStatus;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::clock::Clocks;

const DAY: i64 = 86_400;

/// The end of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expiry {
    /// Its last second, since 1970.
    pub(super) timestamp: u64,
    /// The same, RFC 3339 in UTC.
    pub(super) date: String,
    /// Whole days until then; negative = it has expired.
    pub(super) days_left: i64,
}

impl Expiry {
    /// `None` for what no certificate says: 0, or a year beyond 9999.
    pub(super) fn of(not_after: u64, clocks: Clocks) -> Option<Self> {
        let end = i64::try_from(not_after).ok().filter(|end| *end > 0)?;
        let date = OffsetDateTime::from_unix_timestamp(end).ok()?;
        let wall = clocks.epoch + Duration::from_nanos(clocks.now.as_nanos());
        let left = end.saturating_sub_unsigned(wall.as_secs());
        Some(Self {
            timestamp: not_after,
            date: date.format(&Rfc3339).ok()?,
            days_left: left.div_euclid(DAY),
        })
    }
}

/// Certificates of servers that have expired or will soon, those that end together in one.
pub(super) fn warnings(config: &Backend, status: &BackendStatus) -> Vec<String> {
    let tls = config.probe.as_ref().and_then(|probe| probe.kind.tls());
    let limit = tls.map_or(0, |tls| i64::from(tls.expiry_warning_days));
    let mut soon: BTreeMap<(i64, &str), Vec<&str>> = BTreeMap::new();
    for server in status.servers.iter().filter(|_| limit > 0) {
        if let Some(days) = server.certificate_days_left.filter(|days| *days < limit) {
            let end = (days, server.certificate_not_after.as_str());
            soon.entry(end).or_default().push(&server.address);
        }
    }
    let warning = |((days, date), servers): (&(i64, &str), &Vec<&str>)| {
        let servers = match servers.as_slice() {
            [first, others @ ..] if !others.is_empty() => {
                format!("{first} and {} more", others.len())
            }
            one => one.concat(),
        };
        let when = words(*days, date);
        format!(
            "backend {}: the certificate of {servers} {when}",
            config.name
        )
    };
    soon.iter().map(warning).collect()
}

/// What to say of a certificate with so many days left: "expires in 13 days".
pub(super) fn words(days_left: i64, date: &str) -> String {
    match days_left {
        ..0 => format!("expired on {date}"),
        0 => "expires today".to_owned(),
        1 => "expires tomorrow".to_owned(),
        days => format!("expires in {days} days"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use common::config::ProbeKind;
    use common::status::Status;

    use super::*;
    use crate::admin::fixture::{self, CLOCKS};
    use crate::admin::rates::Rates;
    use crate::admin::view::View;

    fn status(view: &View) -> Status {
        view.status(&Rates::default(), CLOCKS)
    }

    /// Noon of the fixture's day, 2026-05-01.
    const NOON: u64 = 1_777_636_800;

    #[test]
    fn days_are_counted_in_whole_ones() {
        let day = 86_400;
        for (not_after, days, said) in [
            (NOON + 14 * day, 14, "expires in 14 days"),
            (NOON + 14 * day - 1, 13, "expires in 13 days"),
            (NOON + 2 * day - 1, 1, "expires tomorrow"),
            (NOON + 5, 0, "expires today"),
            (NOON - 5, -1, "expired on 2026-05-01T11:59:55Z"),
        ] {
            let expiry = Expiry::of(not_after, CLOCKS).expect("a date");
            assert_eq!(expiry.days_left, days);
            assert_eq!(words(expiry.days_left, &expiry.date), said);
        }
        for none in [0, u64::MAX, 1 << 62] {
            assert_eq!(Expiry::of(none, CLOCKS), None);
        }
    }

    #[test]
    fn a_certificate_that_expires_soon_is_worth_a_warning() {
        let view = fixture::healthy();
        let slots = &view.boards.proxy.servers;
        let day = 86_400;
        slots[0].certificate_not_after.set(NOON + 14 * day);
        slots[3].certificate_not_after.set(NOON);
        assert_eq!(status(&view).warnings, Vec::<String>::new());
        slots[0].certificate_not_after.set(NOON + 14 * day - 1);
        slots[2].certificate_not_after.set(NOON + 14 * day - 1);
        slots[1].certificate_not_after.set(NOON - 5);
        assert_eq!(
            status(&view).warnings,
            [
                "backend k3s-api: the certificate of 10.17.4.22:6443 expired on 2026-05-01T11:59:55Z",
                "backend k3s-api: the certificate of 10.17.4.21:6443 and 1 more expires in 13 days",
            ]
        );
        let mut view = view;
        let mut config = fixture::config();
        let probe = config.backends[0].probe.as_mut().expect("it is probed");
        let ProbeKind::KubeApiserver(tls) = &mut probe.kind else {
            panic!("it is an API server");
        };
        tls.expiry_warning_days = 0;
        view.config = Arc::new(config);
        assert_eq!(status(&view).warnings, Vec::<String>::new());
    }
}
