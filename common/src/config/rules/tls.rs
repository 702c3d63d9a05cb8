//! TLS that the proxy itself speaks.

use crate::config::MAX_CERTIFICATES;
use crate::config::diagnostic::Findings;
use crate::config::draft::{
    CertificateDraft, Draft, ListenerDraft, ListenerTlsDraft, VersionsDraft,
};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let mut count = 0;
    for listener in &draft.listeners {
        let Some(Some(tls)) = &listener.tls else {
            continue;
        };
        versions(&tls.versions, findings);
        certificates(tls, findings);
        unspoken(listener, tls, findings);
        let own = tls.certificates.as_ref();
        count += own.map_or(0, |list| list.value.len());
        if let (Some(list), true) = (own, count > MAX_CERTIFICATES) {
            findings.error(
                list.span,
                format!(
                    "there are {count} certificates up to here, and {MAX_CERTIFICATES} is the most"
                ),
                "remove some: one certificate may have many names",
            );
            return;
        }
    }
}

fn versions(versions: &VersionsDraft, findings: &mut Findings) {
    if let (Some(min), Some(max)) = (&versions.min, &versions.max)
        && min.value > max.value
    {
        findings.error(
            if max.given { max.span } else { min.span },
            format!(
                "no version is from {} to {}",
                min.value.word(),
                max.value.word()
            ),
            "remove one of the two: the default is 1.2 to 1.3",
        );
    }
}

fn certificates(tls: &ListenerTlsDraft, findings: &mut Findings) {
    let Some(list) = &tls.certificates else {
        return;
    };
    if list.value.is_empty() {
        findings.error(
            list.span,
            "there is no certificate, so no handshake could succeed",
            "name at least one: [\"/etc/fmc-lb/tls/web.pem\"]",
        );
    }
    for (place, certificate) in list.value.iter().enumerate() {
        let same =
            |other: &CertificateDraft| other.cert_file.value == certificate.value.cert_file.value;
        if list.value[..place].iter().any(|other| same(&other.value)) {
            findings.error(
                certificate.value.cert_file.span,
                format!(
                    "`{}` is named twice",
                    certificate.value.cert_file.value.display()
                ),
                "remove one of the two",
            );
        }
    }
}

/// A client that is routed by a protocol expects it to be agreed on.
fn unspoken(listener: &ListenerDraft, tls: &ListenerTlsDraft, findings: &mut Findings) {
    let Some(alpn) = &tls.alpn else { return };
    for route in &listener.routes {
        let unknown = |name: &&String| !alpn.value.contains(*name);
        if let Some(name) = route.value.alpn.iter().find(unknown) {
            findings.warn(
                route.span,
                format!(
                    "this route is for clients that offer `{name}`, which `alpn` of listener `{}` \
                     does not have: they are refused, or speak something else",
                    listener.name.value
                ),
                format!("add \"{name}\" to `alpn` in its tls"),
            );
        }
    }
}
