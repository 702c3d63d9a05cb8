//! What servers and the session log are told of a client's TLS.

use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion};
use x509_parser::parse_x509_certificate;

use crate::proxy_protocol::{ClientCertificate, ClientTls};

/// The common name in the certificate that a client has shown, in this handshake or in the one that it
/// resumes.
pub(crate) fn common_name(connection: &CommonState) -> Option<String> {
    let own = connection.peer_certificates()?.first()?;
    let (_, parsed) = parse_x509_certificate(own).ok()?;
    let name = parsed.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

/// The value of PP2_TYPE_SSL.
pub(crate) fn entry(connection: &CommonState, common_name: Option<&str>) -> Vec<u8> {
    let certificate = connection.peer_certificates().map(|_| ClientCertificate {
        earlier: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        common_name,
    });
    let suite = connection.negotiated_cipher_suite();
    let tls = ClientTls {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher: suite.map_or("", |suite| cipher(suite.suite())),
        certificate,
    };
    tls.encode()
}

/// OpenSSL's name, which receivers know; of what ring has.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "there are hundreds, and we speak nine"
)]
fn cipher(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        other => other.as_str().unwrap_or("unknown"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::default_provider;

    use super::*;

    #[test]
    fn every_cipher_that_is_spoken_has_openssls_name() {
        for suite in default_provider().cipher_suites {
            let name = cipher(suite.suite());
            let ours = suite.suite().as_str();
            assert_ne!(Some(name), ours, "no name of its own");
            assert!(!name.contains("WITH"), "{name}");
        }
    }
}
